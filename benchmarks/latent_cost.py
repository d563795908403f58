"""What latent reasoning costs, beside the plain answer and beside the published loop.

    python benchmarks/latent_cost.py [--model nano|qwen2_5_vl] [--tokens 1000] [--repeat 3] [--json]
    python benchmarks/latent_cost.py --growth [--json]
    python benchmarks/latent_cost.py --layouts [--json]
    python benchmarks/latent_cost.py --details [--json]

Every part runs in a process of its own on the same prompt: an image, notes up to `--tokens` prefix tokens, a question
with four options. `plain` and `latent` answer it from nothing (vision tower and prompt included), `latent` with 10
steps of 4 candidates and injection, early stop off; the `report` pair also writes 80 tokens. `published` is the loop
of the only public code, written as it is: every step runs the vision tower and the whole prompt with the attention
weights of all layers, then the whole prompt again, one sample, nothing stored, all rows through the vocabulary. `own
1` and `own 4` are our phase at 10 steps of 1 sample and of 4 candidates. `five` asks five questions about the image.
`--growth` shows how a step grows with the prefix beside the time that its suffix's own multiplications would take at
the speed of a large matrix product; `--layouts` compares ways to share the prefix among candidates; `--details` times
a step of 4 candidates without and with the anchored reward's facts, over none, one and three details, and the reading
of a detail, all as the tool itself runs the bundled model. The miniature `qwen2_5_vl` has random weights: its times
are real, its answers are not. With --json the last line is one object.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reason_iad.evidence.looks import Look
from reason_iad.inspection.open_dialog import OpenDialog
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.prompts import context_parts, question_text
from reason_iad.models.base import Prefix
from reason_iad.models.nano import NanoModel
from reason_iad.reasoning.anchors import facts_of
from reason_iad.reasoning.answers import reader_for
from reason_iad.reasoning.details import GoodPlace, SalientDetails, Views, cut, places_of
from reason_iad.reasoning.latent_options import LatentOptions
from reason_iad.reasoning.latents import step_generator
from reason_iad.reasoning.optimizers import Policy, Reinforce
from reason_iad.reasoning.rewards import REWARDS, EntropyReward, RewardWeights, truncated_entropy
from reason_iad.reasoning.scoring import SuffixScorer
from reason_iad.reasoning.thought import Scorers, read_detail

QUESTION = "Which description fits the defect best?"
CHOICES = (
    "A small, elongated region, darker than its surroundings.",
    "A small, compact region, brighter than its surroundings.",
    "A large, compact region, darker than its surroundings.",
    "A tiny, elongated region, about as bright as its surroundings.",
)
NOTE = "The surface is even and gray; fine grinding marks run along it and a bright line across them is a scratch. "
FULL = LatentOptions(sure_entropy=0.0, patience=10_000)  # 10 steps x 4 candidates, early stop off
STEPS, WRITTEN = 10, 80
PARTS = ("plain", "latent", "report plain", "report latent", "published", "own 1", "own 4", "five plain", "five latent")
KEYS = {
    "plain": "plain_ms", "latent": "latent_ms", "report plain": "report_plain_ms", "report latent": "report_latent_ms",
    "published": "published_phase_ms", "own 1": "own_phase_1_ms", "own 4": "own_phase_4_ms",
    "five plain": "five_questions_ms", "five latent": "five_questions_latent_ms",
}  # fmt: skip
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "models"))  # the miniatures live with the tests


@dataclasses.dataclass(frozen=True)
class Given(InspectorOptions):
    """Settings whose latent loop is given whole."""

    loop: LatentOptions = FULL

    def latent_options(self) -> LatentOptions:
        """The loop."""
        return self.loop


WITH_PATCHES = functools.partial(Given, latents="on", injection="on")


class Scene:
    """A loaded model, an image and notes that make the prefix as long as asked."""

    def __init__(self, name: str, tokens: int, as_in_use: bool = False) -> None:
        self.model: Any = NanoModel.load() if as_in_use and name == "nano" else load(name)
        info = self.model.info
        self.model._info = dataclasses.replace(
            info, context_length=8192, template=dataclasses.replace(info.template, end="")
        )  # nothing ends the writing, so that every part writes the same number of tokens
        self.pixels = picture(896 if name == "nano" else 256)  # 256: about 1,000 tokens of a miniature
        image = self.model.encode_image(self.pixels)
        spare = tokens - len(image.embeds) - 60
        per_note = len(self.model.tokenize(NOTE))
        self.notes = [NOTE * 4] * max(0, round(spare / (4 * per_note + 2)))

    def context(self) -> Prefix:
        """Image and notes, from the pixels on."""
        parts = context_parts(self.model.info, self.model.encode_image(self.pixels), self.notes)
        prefix: Prefix = self.model.extend(Prefix(), parts)
        return prefix

    def dialog(self, latents: LatentOptions | None) -> OpenDialog:
        """Ready for questions; None answers plainly."""
        options = InspectorOptions(latents="off", injection="off") if latents is None else WITH_PATCHES(loop=latents)
        return OpenDialog(self.model, self.context(), options)


def plain_nano() -> Any:
    """The bundled model with its decoder in transformers' own class, in float32: what the published loop needs."""
    from transformers import AutoModelForCausalLM

    from reason_iad import weights
    from reason_iad.models.nano import NanoModel, read_adapter
    from reason_iad.models.smollm import SmolLM
    from reason_iad.models.sources import default_adapter
    from reason_iad.models.torch_layers import TorchLayers

    model = NanoModel.load(exact=True)
    tensors, settings = read_adapter(default_adapter())
    merged = SmolLM(default_adapter(), tensors, float(settings["lora_scale"]))
    decoder = AutoModelForCausalLM.from_pretrained(weights.resolve("smollm2-135m"), dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in decoder.named_parameters():
            parameter.copy_(torch.from_numpy(merged.matrix(key)))
    model.layers = TorchLayers.from_transformers(decoder.model, decoder.lm_head)
    return model


def load(name: str) -> Any:
    """The bundled model, or a miniature of a family with random weights and about 1,000 image tokens."""
    if name == "nano":
        return plain_nano()
    from miniatures import Size, build_miniature
    from transformers import AutoTokenizer

    from reason_iad.weights import resolve

    # The bundled words: over bytes a question would be four times as long as it is for the real models. Width and depth
    # leave the vocabulary a fifth of the weights: it is a tenth in a real model of 3B, three quarters in a tiny one.
    words = AutoTokenizer.from_pretrained(resolve("smollm2-135m"))
    room = len(words) + 64  # for the family's special tokens
    size = Size(hidden_size=1024, num_layers=24, num_heads=16, num_kv_heads=2, vocab_size=room)
    model = build_miniature(name, size)
    words.add_tokens(list(model.tokenizer.added_tokens_encoder), special_tokens=True)
    model.tokenizer = words
    return model


def picture(side: int) -> np.ndarray:
    """A fixed gray surface with a bright line: (side, side, 3)."""
    rng = np.random.default_rng(0)
    pixels = rng.normal(128, 12, (side, side, 1)).repeat(3, axis=2)
    pixels[side // 3 : side // 3 + 4, side // 4 : -side // 4] += 80
    return pixels.clip(0, 255).astype(np.uint8)


def answer(scene: Scene, think: bool, questions: int = 1, write: bool = False) -> None:
    """From the pixels to the answers, and the written explanation."""
    dialog = scene.dialog(FULL if think else None)
    for number in range(questions):
        dialog.choose(f"{QUESTION} ({number + 1})" if questions > 1 else QUESTION, CHOICES)
    if write:
        dialog.tell("Describe the defect and what it leads to.", WRITTEN)


def own_phase(scene: Scene, candidates: int) -> Callable[[], None]:
    """Our loop alone, after the prompt has been processed; one sample is the published optimizer."""
    changes: dict[str, Any] = {"num_candidates": candidates}
    if candidates == 1:
        changes |= {"mode": "paper", "weights": RewardWeights.paper()}
    dialog = scene.dialog(dataclasses.replace(FULL, **changes))
    dialog._neutral_attention()
    times: list[float] = []

    def phase() -> None:
        trace = dialog.choose(QUESTION, CHOICES).trace
        assert len(trace.steps) == STEPS
        times.append(trace.milliseconds)

    phase.times = times  # type: ignore[attr-defined]
    return phase


def published_phase(scene: Scene) -> Callable[[], None]:
    """The published loop: two whole prompts a step, all attention weights, all rows through the vocabulary."""
    model = scene.model
    text = question_text(model.info, QUESTION, CHOICES)
    cue = model.embed(model.tokenize(model.info.template.cue))
    head = context_parts(model.info, model.encode_image(scene.pixels), scene.notes)

    def whole(latents: Tensor, patches: Tensor) -> tuple[Tensor, Any]:
        parts = [model.embed(model.tokenize(p)) if isinstance(p, str) else p.embeds for p in [*head, text]]
        embeds = torch.cat([*parts, latents, patches, cue])[None]
        output = model.layers.text_model(inputs_embeds=embeds, use_cache=False, output_attentions=True)
        return torch.softmax(model.logits(output.last_hidden_state[0]).float(), -1), output.attentions

    @torch.no_grad()
    def phase() -> None:
        kept = model.layers.text_model.config._attn_implementation
        model.layers.text_model.config._attn_implementation = "eager"
        try:
            policy = Policy(model.initial_latents(4), 0.1 * model.embedding_rms)
            patches = model.embed([0, 0])
            for step in range(STEPS):
                model.encode_image(scene.pixels)  # pixel values go into the first forward of every step
                _, attentions = whole(policy.mean, patches[:0])
                torch.stack(attentions).mean((0, 1, 2))
                candidate = Reinforce(2).candidates(policy, step_generator(0, step))[0]
                probabilities, _ = whole(candidate, patches)
                reward = 1 - truncated_entropy(probabilities[-5 - len(cue) :][:4].clamp_min(1e-12).log(), 10).mean()
                policy = Policy(policy.mean + 0.1 * reward * (candidate - policy.mean), policy.sigma * 0.95)
        finally:
            model.layers.text_model.config._attn_implementation = kept

    return phase


def part(scene: Scene, name: str) -> Callable[[], None]:
    """What is timed."""
    actions: dict[str, Callable[[], Callable[[], None]]] = {
        "plain": lambda: lambda: answer(scene, False),
        "latent": lambda: lambda: answer(scene, True),
        "report plain": lambda: lambda: answer(scene, False, write=True),
        "report latent": lambda: lambda: answer(scene, True, write=True),
        "five plain": lambda: lambda: answer(scene, False, 5),
        "five latent": lambda: lambda: answer(scene, True, 5),
        "published": lambda: published_phase(scene),
        "own 1": lambda: own_phase(scene, 1),
        "own 4": lambda: own_phase(scene, 4),
    }
    return actions[name]()


def run_part(args: argparse.Namespace) -> dict[str, float]:
    """Time one part in this process: median milliseconds, and memory above what the loaded model takes, in MB."""
    scene = Scene(args.model, args.tokens)
    loaded = peak_mb()
    action = part(scene, args.part)
    repeats = 1 if args.part == "published" else args.repeat + 1  # the first warms up
    spent = []
    for _ in range(repeats):
        started = time.monotonic()
        action()
        spent.append((time.monotonic() - started) * 1000)
    spent = getattr(action, "times", spent)
    prefix = scene.context().length
    kept = spent[1:] or spent
    return {"ms": statistics.median(kept), "peak_mb": peak_mb(), "above_model_mb": peak_mb() - loaded, "tokens": prefix}


def peak_mb() -> float:
    """Largest memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(args: argparse.Namespace, name: str) -> dict[str, float]:
    """One part in a fresh process."""
    command = [sys.executable, __file__, "--model", args.model, "--tokens", str(args.tokens), "--part", name]
    command += ["--repeat", str(args.repeat)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def compare(args: argparse.Namespace) -> dict[str, Any]:
    """All parts, a table, and the ratios that matter."""
    found: dict[str, dict[str, float]] = {}
    for name in PARTS:
        print(f"\r{name} ...            ", end="", file=sys.stderr, flush=True)
        found[name] = child(args, name)
    print("\r", end="", file=sys.stderr)
    print(f"{args.model}, {found['plain']['tokens']:.0f} prefix tokens, {torch.get_num_threads()} threads")
    for name, values in found.items():
        print(f"{name:14} {values['ms']:10.0f} ms   peak {values['peak_mb']:6.0f} MB")
    ms = {name: values["ms"] for name, values in found.items()}
    ratios = {
        "published / own 1": ms["published"] / ms["own 1"],
        "published / own 4": ms["published"] / ms["own 4"],
        "latent / plain": ms["latent"] / ms["plain"],
        "report latent / report plain": ms["report latent"] / ms["report plain"],
        "five questions / one": ms["five plain"] / ms["plain"],
        "five questions / one, latent": ms["five latent"] / ms["latent"],
    }
    for name, ratio in ratios.items():
        print(f"{name:30} {ratio:6.2f}")
    summary: dict[str, Any] = {KEYS[name]: round(values["ms"], 1) for name, values in found.items()}
    summary["peak_mb"] = {name: round(values["peak_mb"]) for name, values in found.items()}
    summary["ratios"] = {name: round(ratio, 3) for name, ratio in ratios.items()}
    return summary


@torch.no_grad()
def growth(args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of one step of 4 candidates and the mean, at four lengths of the prefix."""
    found, speed = {}, 0.0
    for tokens in (500, 1000, 2000, 4000):
        scene = Scene(args.model, tokens)
        rows, spent = time_step(scene, args.repeat)
        maps = {
            n: t for n, t in scene.model.layers.text_model.state_dict().items() if t.dim() == 2 and "embed" not in n
        }
        speed = speed or product_speed(next(iter(maps.values())).dtype)
        limit = 2 * sum(t.numel() for t in maps.values()) * rows / speed
        length = scene.context().length
        found[str(tokens)] = {"ms": round(spent * 1e3, 1), "limit_ms": round(limit * 1e3, 1), "prefix": length}
        shown = f"a step of {rows} rows {spent * 1e3:7.1f} ms; its own products {limit * 1e3:7.1f} ms"
        print(f"{length:5} prefix tokens: {shown}")
    return {"growth": found, "gflops": round(speed / 1e9, 1)}


def product_speed(dtype: torch.dtype, side: int = 2048) -> float:
    """Operations a second of a large square product in the type of the weights."""
    square = torch.ones(side, side, dtype=dtype)
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    return 2 * side**3 / fastest(lambda: multiply(square, square), 5)


def time_step(scene: Scene, repeat: int) -> tuple[int, float]:
    """Rows and seconds of one step with two patches and attention read."""
    scorer, latents = step_scorer(scene)
    rows = latents.shape[0] * scorer.suffix(latents, (1, 2)).shape[1]
    return rows, fastest(lambda: scorer.score(latents, (1, 2), attend=True), repeat + 2)


@torch.no_grad()
def layouts(args: argparse.Namespace) -> dict[str, Any]:
    """One step's pass in three layouts: a batch over one stored prefix, one packed row, and a copied prefix."""
    scene = Scene(args.model, args.tokens)
    scorer, latents = step_scorer(scene)
    model, prefix = scene.model, scorer.prefix
    embeds = scorer.suffix(latents, ())
    count, length, width = embeds.shape
    block = torch.kron(torch.eye(count), torch.ones(length, length).tril()).bool()
    offsets = torch.arange(length).repeat(count)
    packed = embeds.reshape(1, count * length, width)
    copied = dataclasses.replace(prefix, segments=tuple(_copies(s, count) for s in prefix.segments))
    found = {
        "shared": fastest(lambda: model.run_suffix(prefix, embeds), args.repeat + 2),
        "packed": fastest(lambda: model.run_suffix(prefix, packed, offsets, block), args.repeat + 2),
        "copied": fastest(lambda: expanded(model, copied, embeds), args.repeat + 2),
    }
    for name, seconds in found.items():
        print(f"{name:8} {seconds * 1e3:7.1f} ms")
    return {"layouts_ms": {name: round(seconds * 1e3, 1) for name, seconds in found.items()}}


@torch.no_grad()
def details(args: argparse.Namespace) -> dict[str, Any]:
    """A step of 4 candidates under either reward over no, one and three details, and the reading of one."""
    scene = Scene(args.model, args.tokens, as_in_use=True)
    model, pixels, reader = scene.model, scene.pixels, reader_for(scene.model, CHOICES)
    prefix = model.extend(scene.context(), [question_text(model.info, QUESTION, CHOICES)])
    views = Views(pixels, lambda box: GoodPlace(0, box, 0.0, cut(pixels[::-1], box)), has_good=True)
    saliency = np.ones((8, 8), np.float32)
    saliency[1, 1], saliency[6, 2], saliency[4, 6] = 9.0, 8.0, 7.0
    chosen = places_of(SalientDetails(), views, saliency)
    policy = Policy(model.initial_latents(4), 0.1 * model.embedding_rms)
    latents = torch.cat([Reinforce(4).candidates(policy, step_generator(0, 0)), policy.mean[None]])
    facts = facts_of(Look("top left", "tiny", "elongated", "darker than", "of the same hue"))
    found = {}
    for name, weights in REWARDS.items():
        scorers = Scorers(model, prefix, reader, EntropyReward(weights), 0, facts, True)
        for count in (0, 1, 3):
            scorer = [scorers.over(chosen[:n]) for n in range(count + 1)][-1]
            action = functools.partial(scorer.score, latents, attend=True)
            found[f"{name}, {count} details"] = fastest(action, args.repeat + 2)
    found["reading a detail"] = fastest(lambda: read_detail(model, prefix, chosen[0]), args.repeat)
    for name, seconds in found.items():
        print(f"{name:22} {seconds * 1e3:7.1f} ms")
    return {"details_ms": {name: round(seconds * 1e3, 1) for name, seconds in found.items()}}


def expanded(model: Any, prefix: Prefix, embeds: Tensor) -> Tensor:
    """The usual way: every candidate with a copy of the stored keys and values, by transformers' own cache."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(len(prefix.segments[0].keys)):
        keys = torch.cat([s.keys[layer] for s in prefix.segments], 2)
        cache.update(keys, torch.cat([s.values[layer] for s in prefix.segments], 2), layer)
    kept = model.layers.text_model.config._attn_implementation
    model.layers.text_model.config._attn_implementation = "sdpa"
    try:
        result: Tensor = model.layers.text_model(
            inputs_embeds=embeds, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return result
    finally:
        model.layers.text_model.config._attn_implementation = kept


def _copies(segment: Any, count: int) -> Any:
    return dataclasses.replace(
        segment,
        keys=tuple(k.repeat(count, 1, 1, 1) for k in segment.keys),
        values=tuple(v.repeat(count, 1, 1, 1) for v in segment.values),
    )


def step_scorer(scene: Scene) -> tuple[SuffixScorer, Tensor]:
    """A scorer after the question, and the latents of 4 candidates and the mean."""
    model = scene.model
    reader = reader_for(model, CHOICES)
    prefix = model.extend(scene.context(), [question_text(model.info, QUESTION, CHOICES)])
    policy = Policy(model.initial_latents(4), 0.1 * model.embedding_rms)
    latents = torch.cat([Reinforce(4).candidates(policy, step_generator(0, 0)), policy.mean[None]])
    return SuffixScorer(model, prefix, reader, EntropyReward(RewardWeights())), latents


def fastest(action: Callable[[], Any], repeat: int) -> float:
    """Seconds of the fastest of some runs: the one least disturbed."""
    times = []
    for _ in range(repeat):
        started = time.monotonic()
        action()
        times.append(time.monotonic() - started)
    return min(times)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, or a family that has a miniature, such as qwen2_5_vl")
    parser.add_argument("--tokens", type=int, default=1000, help="prefix tokens, about")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--layouts", action="store_true")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(run_part(args)))
        return
    chosen = [
        one for name, one in (("growth", growth), ("layouts", layouts), ("details", details)) if getattr(args, name)
    ]
    summary = (chosen or [compare])[0](args)
    if args.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
