"""`reason-iad doctor`: what this machine has, how the bundled model computes on it, what is missing, what it takes."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reason_iad.languages import _, note, told, translatable

OK, PROBLEM = 0, 2
NEEDED_MEMORY = 1.6e9  # bytes that an inspection holds at most (benchmarks/nano.py)
NEEDED_ROOM = 0.6e9  # bytes of the graphs in the cache
PROMPT_TOKENS, STEPS = 350, 10  # of an inspection as it is in use: with knowledge and evidence, all steps of thinking
_NEEDED = {  # module: what pip calls it
    "torch": "torch", "onnxruntime": "onnxruntime", "onnx": "onnx", "tokenizers": "tokenizers", "scipy": "scipy",
    "safetensors": "safetensors", "PIL": "pillow", "transformers": "transformers", "fastapi": "fastapi",
    "sqlalchemy": "sqlalchemy",
}  # fmt: skip
_NO_GPU = "none; the bundled model needs none, an open one of 7 billion parameters does"
_OPTIONAL = {  # module: (what for, command)
    "sentence_transformers": (translatable("other sentence encoders"), "pip install 'reason-iad[encoders]'"),
    "faiss": (translatable("large banks of references"), "pip install 'reason-iad[faiss]'"),
    "ray": (translatable("benchmarks on many machines"), "pip install 'reason-iad[ray]'"),
    "psycopg": (translatable("the record on PostgreSQL"), "pip install 'reason-iad[postgresql]'"),
    "accelerate": (translatable("open models straight to a GPU"), "pip install accelerate"),
    "bitsandbytes": (translatable("open models in 4 or 8 bits"), "pip install bitsandbytes"),
}


@dataclass(frozen=True)
class Finding:
    """One line of the result.

    Attributes:
        name: what was looked at.
        value: what was found.
        remedy: what to do where something needed is missing; empty where nothing is.
    """

    name: str
    value: Any
    remedy: str = ""


@dataclass
class Findings:
    """What was found, in order."""

    lines: list[Finding] = field(default_factory=list)

    def add(self, name: str, value: Any, remedy: str = "") -> None:
        """Note one thing."""
        self.lines.append(Finding(name, value, remedy))

    @property
    def problems(self) -> list[Finding]:
        """What needs a remedy."""
        return [line for line in self.lines if line.remedy]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="say what this machine has, what is missing, and how long an inspection takes",
        description="Look at processor, memory, weights and parts, measure for a second, and say what is missing. "
        "Exit code 2 where something that is needed is, with the remedy.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, measure, print; 0 where nothing needed is missing, else 2."""
    from reason_iad.words import padded

    found = examine()
    if args.json:
        lines = {line.name: line.value for line in found.lines}
        problems = [dataclasses.asdict(problem) for problem in found.problems]
        print(json.dumps({**lines, "problems": problems}, indent=2))
    else:
        for line in found.lines:
            print(f"{padded(told(line.name), 15)} {_words(line.value)}")
        for problem in found.problems:
            note(_("missing: {name}: {remedy}", name=told(problem.name), remedy=told(problem.remedy)))
    return PROBLEM if found.problems else OK


def examine() -> Findings:
    """Look at everything.

    Raises:
        InputError: the override of the processor cannot be followed.
    """
    from reason_iad import processor

    found = Findings()
    arithmetic = processor.choose()
    abilities = [name for name, has in processor.abilities().items() if has]
    found.add(translatable("processor"), processor.model_name())
    found.add(translatable("cores"), {"cores": processor.cores(), "threads": processor.threads()})
    found.add(translatable("instructions"), abilities or [translatable("none of those that matter")])
    if given := os.environ.get(processor.OVERRIDE):
        found.add(translatable("held back"), f"{processor.OVERRIDE}={given}")
    found.add(translatable("arithmetic"), str(arithmetic))
    _look_at_memory(found)
    whole = _look_at_parts(found) and _look_at_weights(found)
    _look_at_room(found)
    _look_at_gpu(found)
    missing = {
        n: translatable(f"{what}: {how}") for n, (what, how) in _OPTIONAL.items() if importlib.util.find_spec(n) is None
    }
    found.add(translatable("optional parts"), missing or translatable("all there"))
    if whole:
        measured = measure()
        found.add(translatable("measured"), {name: round(seconds * 1000) for name, seconds in measured.items()})
        found.add(translatable("inspection"), expected(measured))
    else:
        found.add(translatable("inspection"), translatable("not measured: something needed is missing"))
    return found


def _look_at_memory(found: Findings) -> None:
    from reason_iad.models.memory import free_bytes

    free = free_bytes("cpu")
    value = None if free is None else round(free / 1e9, 1)
    short = free is not None and free < NEEDED_MEMORY
    remedy = translatable(f"{value} GB are free; an inspection holds {NEEDED_MEMORY / 1e9} GB: close other programs")
    found.add(translatable("memory"), {"free_gb": value}, remedy if short else "")


def _look_at_parts(found: Findings) -> bool:
    lacking = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    names = ("torch", "onnxruntime", "transformers")
    versions = {name: importlib.metadata.version(name) for name in names if name not in lacking}
    remedy = translatable(f"install them: pip install {' '.join(lacking)}")
    found.add(translatable("parts"), versions, remedy if lacking else "")
    return not lacking


def _look_at_weights(found: Findings) -> bool:
    """Weights and graphs, by every byte."""
    from reason_iad import weights
    from reason_iad.models import sources
    from reason_iad.models.graph_cache import faults

    statuses = {status.part.name: status for status in weights.verify()}
    states = {name: f"{status.state} {status.detail}".strip() for name, status in statuses.items()}
    bad = [name for name, status in statuses.items() if status.state != "cached"]
    remedy = translatable(f"fetch them: reason-iad weights fetch {' '.join(bad)}")
    found.add(translatable("weights"), states, remedy if bad else "")
    if bad:
        return False
    for source in sources.all_sources({name: statuses[part].path for name, part in sources.PARTS.items()}):
        fault = faults(source) if source.folder.is_dir() else None
        there = translatable("cached" if source.folder.is_dir() else "written when it is first needed")
        remedy = translatable(f"remove {source.folder}; it is then written again")
        found.add(source.name, fault or there, remedy if fault else "")
    return True


def _look_at_room(found: Findings) -> None:
    from reason_iad.files import home

    folder = home()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    written = any((folder / "graphs").glob("language-model-*/graph.json"))
    remedy = ""
    if not os.access(there, os.W_OK):
        why = f"{there} cannot be written: correct its permissions, or set REASON_IAD_HOME to another folder"
        remedy = translatable(why)
    elif free < NEEDED_ROOM and not written:
        remedy = translatable(f"{free / 1e9:.1f} GB are free in {there}; expected {NEEDED_ROOM / 1e9} GB: free some")
    found.add(translatable("cache"), {"folder": str(folder), "free_gb": round(free / 1e9, 1)}, remedy)


def _look_at_gpu(found: Findings) -> None:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        names.append("Apple, through mps")
    found.add(translatable("GPU"), names or translatable(_NO_GPU))


def measure() -> dict[str, float]:
    """Seconds of the parts of an inspection on this machine, each the shorter of two."""
    import numpy as np

    from reason_iad.models.base import Prefix
    from reason_iad.models.nano import NanoModel, vision_features
    from reason_iad.models.sources import begin

    begin("nano")
    model = NanoModel.load()
    text = model.tokenizer.decode(model.tokenize("part " * PROMPT_TOKENS)[:PROMPT_TOKENS])
    prefix = model.extend(Prefix(), [text])
    images = [np.random.default_rng(i).integers(0, 255, (256, 256, 3), dtype=np.uint8) for i in range(2)]
    candidates = model.embed([0] * 16).expand(5, -1, -1)
    return {
        "towers": _shorter(lambda: vision_features(images[:1], model.vision)),
        "prompt": _shorter(lambda: model.extend(Prefix(), [text])),
        "step": _shorter(lambda: model.logits(model.run_suffix(prefix, candidates).hidden[:, :5])),
    }


def _shorter(action: Callable[[], Any]) -> float:
    spent = []
    for _turn in range(2):
        started = time.perf_counter()
        action()
        spent.append(time.perf_counter() - started)
    return min(spent)


def expected(measured: dict[str, float]) -> dict[str, float]:
    """Seconds of an inspection: two images' worth of towers, the prompt, three short passes, and the steps."""
    plain = 2 * measured["towers"] + measured["prompt"] + measured["step"]
    return {
        "seconds_without_latents": round(plain, 2),
        "seconds_with_all_steps": round(plain + STEPS * measured["step"], 2),
    }


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{told(name)} {_words(found)}" for name, found in value.items())
    return ", ".join(map(_words, value)) if isinstance(value, list) else told(str(value))
