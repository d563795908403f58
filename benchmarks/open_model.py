"""Memory and time of a published Qwen-VL size with random weights: what a machine needs before anything is downloaded.

    python benchmarks/open_model.py --release Qwen/Qwen2.5-VL-7B-Instruct --device cuda --dtype bfloat16

The model has the published dimensions and transformers' own classes; answers mean nothing, memory and time are real. It
reads the references and an image, asks a question, and thinks for a few steps with injection; then it inspects a few
more images of the product, with the product's part of the prompt processed once and with it processed again each time.
Nothing is fetched, and torch and transformers are enough. With --json the last line is one object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.initialization import no_init_weights
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from reason_iad.inspection.prompts import image_parts, product_parts, question_text
from reason_iad.models.base import ImageTokens, Prefix
from reason_iad.models.families import FAMILIES
from reason_iad.models.memory import gigabytes, need_of
from reason_iad.models.published import PUBLISHED, PublishedModel
from reason_iad.models.transformers_mllm import TransformersMLLM
from reason_iad.reasoning.answers import reader_for
from reason_iad.reasoning.injection import AttentionInjector
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import LatentReasoner, LatentResult, Surroundings
from reason_iad.reasoning.scoring import ask

RELEASES = [one.hub_id for one in PUBLISHED if one.family.startswith("qwen")]
MINIATURE = "miniature"  # of Qwen2.5-VL: what a processor can do in seconds
OPTIONS = ("Yes.", "No.")
QUESTION = "Is there any defect in the object?"
NOTES = tuple(f"A nut is brown and round, and its shell has no hole, number {i}." for i in range(4))  # about 60 tokens
LINE = "A strong change at the left."
MMAD_QUESTIONS, MMAD_IMAGES = 39_672, 8_366  # Jiang et al. (ICLR 2025)
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))  # the miniatures live with the tests


def build(
    published: PublishedModel, device: str, dtype: torch.dtype, max_image_tokens: int, layers: int | None
) -> TransformersMLLM:
    """The published dimensions with random weights; words are bytes, so the prompt's text is longer than in use."""
    from miniatures import build_miniature

    family = FAMILIES[published.family]
    small = build_miniature(published.family)
    config = published.config()
    config.image_token_id = small.config.image_token_id
    if layers is not None:
        config.get_text_config().num_hidden_layers = config.vision_config.depth = layers
        kinds = getattr(config.get_text_config(), "layer_types", None)
        if kinds is not None:
            config.get_text_config().layer_types = kinds[:layers]
    torch.set_default_dtype(dtype)
    with no_init_weights(), torch.device(device):
        model = getattr(transformers, family.architecture)(config)
    model.tie_weights()
    torch.set_default_dtype(torch.float32)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(std=0.02, generator=generator)
        else:
            parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)
    processor = Qwen2VLImageProcessorPil(patch_size=config.vision_config.patch_size)
    return TransformersMLLM(
        model, small.tokenizer, processor, family, name=published.hub_id, max_image_tokens=max_image_tokens
    )


def miniature(max_image_tokens: int) -> TransformersMLLM:
    """A small Qwen2.5-VL, in float32 on the processor: 8 layers of width 512."""
    from miniatures import Size, build_miniature

    size = Size(hidden_size=512, num_layers=8, num_heads=8, num_kv_heads=2)
    model: TransformersMLLM = build_miniature("qwen2_5_vl", size, max_image_tokens=max_image_tokens)
    return model


def peak_bytes(device: str) -> int:
    """Most memory held so far: of the device, or of the process."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(device: str, work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its seconds."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    result = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return result, time.perf_counter() - started


class Inspection:
    """One model, its references and its question: what an inspection of an image is made of."""

    def __init__(self, model: TransformersMLLM, references: int, steps: int) -> None:
        self.model, self.rng = model, np.random.default_rng(0)
        self.goods = [self.picture() for _ in range(references)]
        self.text = question_text(model.info, QUESTION, OPTIONS)
        self.reader = reader_for(model, OPTIONS)
        options = LatentOptions(num_steps=steps, sure_entropy=0.0, patience=steps)
        self.thinker = LatentReasoner(model, options, injector=AttentionInjector())

    def picture(self) -> np.ndarray:
        """An image that nobody has seen."""
        return self.rng.integers(0, 255, (1024, 1024, 3), dtype=np.uint8)

    def product(self) -> list[str | ImageTokens]:
        """The part of the prompt that all images of the product share."""
        return product_parts(self.model.info, NOTES, [self.model.encode_image(good) for good in self.goods])

    def context(self, shared: bool) -> Prefix:
        """A new image behind the product's part, from store or processed again."""
        parts = self.product()
        before = self.model.recall(parts) if shared else self.model.extend(Prefix(), parts)
        return self.model.extend(before, image_parts(self.model.encode_image(self.picture()), LINE))

    def ask(self, context: Prefix, think: bool) -> LatentResult | None:
        """One question: the plain answer, and the thoughts where asked for."""
        prefix, base = ask(self.model, context, self.text, self.reader)
        if not think:
            return None
        neutral = self.thinker.neutral_attention(prefix, self.reader)
        return self.thinker.run(prefix, self.reader, Surroundings(lambda: neutral), base)

    def ask_each(self, shared: bool, think: bool, images: int) -> None:
        """Ask about new images of one product, with or without its part of the prompt in store."""
        for _ in range(images):
            self.ask(self.context(shared), think)


def measure(one: Inspection, device: str, images: int) -> dict[str, float]:
    """Seconds of the parts of an inspection, medians over images that differ."""
    found: dict[str, list[float]] = {}
    for _ in range(images + 1):  # the first warms up
        picture = one.picture()
        tokens, encoding = timed(device, partial(one.model.encode_image, picture))
        parts = one.product()
        product, reading = timed(device, partial(one.model.extend, Prefix(), parts))
        own = image_parts(tokens, LINE)
        context, looking = timed(device, partial(one.model.extend, product, own))
        _, asking = timed(device, partial(one.ask, context, False))
        result, thinking = timed(device, partial(one.ask, context, True))
        steps = [step.milliseconds / 1000 for step in result.trace.steps]
        for name, seconds in (
            ("encode", encoding), ("product", reading), ("image", looking), ("ask", asking), ("think", thinking),
            ("step", statistics.median(steps)),
        ):  # fmt: skip
            found.setdefault(name, []).append(seconds)
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def rates(one: Inspection, device: str, images: int) -> dict[str, float]:
    """Images a second: new images of one product, each asked whether it has a defect, in four ways."""
    found = {}
    for think in (False, True):
        for shared in (True, False):
            one.context(shared)
            _, seconds = timed(device, partial(one.ask_each, shared, think, images))
            found[f"{'thinking' if think else 'plain'}, {'shared' if shared else 'not shared'}"] = images / seconds
    return found


def hours(parts: dict[str, float], shared: bool, think: bool) -> float:
    """Hours of all questions of MMAD: an image is read once, and every question extends it."""
    image = parts["encode"] + parts["image"] + (0.0 if shared else parts["product"])
    return (MMAD_IMAGES * image + MMAD_QUESTIONS * parts["think" if think else "ask"]) / 3600


def main() -> None:
    """Build, inspect, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", choices=[*RELEASES, MINIATURE], default="Qwen/Qwen2.5-VL-7B-Instruct")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--max-image-tokens", type=int, default=1280)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--layers", type=int, help="fewer layers of decoder and tower than published, to try it")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    published = next((one for one in PUBLISHED if one.hub_id == args.release), None)
    before = 0 if args.device.startswith("cuda") else peak_bytes(args.device)
    dtype = getattr(torch, args.dtype)

    def make() -> TransformersMLLM:
        if published is None:
            return miniature(args.max_image_tokens)
        return build(published, args.device, dtype, args.max_image_tokens, args.layers)

    model, building = timed(args.device, make)
    loaded = peak_bytes(args.device) - before
    one = Inspection(model, args.references, args.steps)
    parts = measure(one, args.device, args.images)
    found = rates(one, args.device, args.images)
    product = model.recall(one.product())
    whole = one.context(shared=True)
    peak = peak_bytes(args.device) - before
    where = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    share = product.length / whole.length
    need = "" if published is None else need_of(published.num_parameters, published.text, args.dtype)
    print(f"{args.release}, random weights, {args.dtype}, {where}, {args.references} references, n = {args.images}")
    print(f"printed before loading    {need}")
    print(f"after loading             {gigabytes(loaded)} ({building:.1f} s)")
    print(f"measured at most          {gigabytes(peak)} with {whole.length:,} tokens, of which keys and values "
          f"{gigabytes(sum(s.num_bytes for s in whole.segments))}")  # fmt: skip
    print(f"the product's part        {parts['product']:.3f} s, {product.length:,} tokens, {share:.0%} of the prompt")
    print(f"an image                  {parts['encode']:.3f} s encoding, {parts['image']:.3f} s in the prompt, "
          f"{whole.length - product.length:,} tokens")  # fmt: skip
    print(f"a question                {parts['ask']:.3f} s plain, {parts['think']:.3f} s with {args.steps} steps of "
          f"{parts['step'] * 1000:.0f} ms")  # fmt: skip
    first = parts["encode"] + parts["product"] + parts["image"]
    print(f"second image / first      {(first - parts['product']) / first:.2f} of the prompt's time")
    for name, rate in found.items():
        print(f"images a second           {rate:.2f} ({name})")
    mmad = {
        f"{'thinking' if think else 'plain'}, {'shared' if shared else 'not shared'}": hours(parts, shared, think)
        for think in (False, True)
        for shared in (True, False)
    }
    for name, spent in mmad.items():
        print(f"MMAD, {MMAD_QUESTIONS:,} questions   {spent:.1f} h ({name})")
    if args.json:
        print(json.dumps({
            "release": args.release, "dtype": args.dtype, "device": where, "references": args.references,
            "images": args.images, "steps": args.steps, "tokens": whole.length, "shared_tokens": product.length,
            "seconds": parts, "images_per_second": found, "mmad_hours": mmad, "loaded_bytes": loaded,
            "peak_bytes": peak,
        }))  # fmt: skip


if __name__ == "__main__":
    main()
