"""Memory and time of a published Qwen-VL size with random weights: what a machine needs before anything is downloaded.

    python benchmarks/open_model.py --release Qwen/Qwen2.5-VL-7B-Instruct --device cuda --dtype bfloat16

The model has the published dimensions and transformers' own classes; answers mean nothing, memory and time are real. It
reads one reference and one image, asks one question, and thinks for a few steps with injection.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.initialization import no_init_weights
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.base import Prefix
from reason_iad.models.families import FAMILIES
from reason_iad.models.memory import gigabytes, need_of
from reason_iad.models.published import PUBLISHED, PublishedModel
from reason_iad.models.transformers_mllm import TransformersMLLM
from reason_iad.reasoning.answers import reader_for
from reason_iad.reasoning.injection import AttentionInjector
from reason_iad.reasoning.latents import LatentOptions, LatentReasoner

RELEASES = [one.hub_id for one in PUBLISHED if one.family.startswith("qwen")]
OPTIONS = ("Yes.", "No.")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))  # the miniatures live with the tests


def build(published: PublishedModel, device: str, dtype: torch.dtype, max_image_tokens: int) -> TransformersMLLM:
    """The published dimensions with random weights; words are bytes, so the prompt's text is longer than in use."""
    from miniatures import build_miniature

    family = FAMILIES[published.family]
    small = build_miniature(published.family)
    config = published.config()
    config.image_token_id = small.config.image_token_id
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


def peak_bytes(device: str) -> int:
    """Most memory held so far: of the device, or of the process."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def timed(device: str, work):
    """A result and its seconds."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    result = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return result, time.perf_counter() - started


def main() -> None:
    """Build, inspect once, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", choices=RELEASES, default="Qwen/Qwen2.5-VL-7B-Instruct")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--max-image-tokens", type=int, default=1280)
    parser.add_argument("--steps", type=int, default=4)
    args = parser.parse_args()
    published = next(one for one in PUBLISHED if one.hub_id == args.release)
    before = 0 if args.device.startswith("cuda") else peak_bytes(args.device)
    model, building = timed(
        args.device, lambda: build(published, args.device, getattr(torch, args.dtype), args.max_image_tokens)
    )
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (1024, 1024, 3), dtype=np.uint8) for _ in range(2)]
    loaded = peak_bytes(args.device) - before
    (good, image), encoding = timed(args.device, lambda: [model.encode_image(picture) for picture in pictures])
    seen = peak_bytes(args.device) - before
    parts = context_parts(model.info, image, ["A nut is brown."], "Calm.", [good])
    context, reading = timed(args.device, lambda: model.extend(Prefix(), parts))
    question = question_text(model.info, "Is there any defect in the object?", OPTIONS)
    prefix, asking = timed(args.device, lambda: model.extend(context, [question]))
    reader = reader_for(model, OPTIONS)
    options = LatentOptions(num_steps=args.steps, sure_entropy=0.0, patience=args.steps)
    thinker = LatentReasoner(model, options, injector=AttentionInjector())
    neutral = thinker.neutral_attention(prefix, reader)
    result, thinking = timed(args.device, lambda: thinker.run(prefix, reader, lambda: neutral))
    steps = [step.milliseconds for step in result.trace.steps]
    need = need_of(published.num_parameters, published.text, args.dtype)
    cache = sum(segment.num_bytes for segment in prefix.segments)
    print(f"{args.release}, random weights, {args.dtype}, {args.device}, {torch.get_num_threads()} threads")
    print(f"printed before loading    {need}")
    print(f"after loading             {gigabytes(loaded)}, after two images {gigabytes(seen)}")
    print(f"measured at most          {gigabytes(peak_bytes(args.device) - before)} with {prefix.length:,} tokens, of "
          f"which keys and values {gigabytes(cache)}")  # fmt: skip
    print(f"random weights            {building:.1f} s")
    print(f"an image                  {encoding / 2:.2f} s, {image.embeds.shape[0]} tokens")
    print(f"the shared prompt         {reading:.2f} s, {context.length:,} tokens")
    print(f"a question                {asking:.2f} s, {prefix.length - context.length} tokens")
    print(f"thinking                  {thinking:.2f} s, {len(steps)} steps of {statistics.median(steps):.0f} ms")


if __name__ == "__main__":
    main()
