"""Inspectors for the model process of a test server: one that answers from a script at once, and a miniature model."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS / "reporting"))


class Scripted:
    """Reads the image; its name says what happens: slow_, stuck_, crash_, fault_, refuse_, normal_, uncertain_."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.model = SimpleNamespace(info=SimpleNamespace(name="scripted", version="1"))
        self.vision = None
        self.seconds = seconds

    def run(self, request, on_stage=lambda name: None) -> Any:
        from made_report import make_map, make_report

        from reason_iad.errors import InputError
        from reason_iad.images import read_image

        image, category = read_image(request.image, name=request.name), request.category

        for stage in ("read", "recognize", "knowledge", "prefix", "verdict"):
            on_stage(stage)
        time.sleep(3600 if "stuck_" in image.name else 2.0 if "slow_" in image.name else self.seconds)
        if "crash_" in image.name:
            os._exit(9)
        if "fault_" in image.name:
            raise RuntimeError("a planted fault")
        if "refuse_" in image.name:
            raise InputError("found a part that is refused; expected another")
        verdict = next((v for v in ("normal", "uncertain") if f"{v}_" in image.name), "defective")
        report = make_report(
            image=image.name,
            image_hw=image.image_hw,
            image_sha256=image.sha256,
            verdict=verdict,
            probability={"normal": 0.03, "uncertain": 0.5, "defective": 0.968}[verdict],
            category=category or "metal plate",
            milliseconds={"evidence": 160.5, "prefix": 310.0, "verdict": 260.0},  # a normal one is not asked about
        )
        if verdict == "normal":
            report = make_report(
                image=image.name, image_hw=image.image_hw, image_sha256=image.sha256, verdict="normal",
                probability=0.03, category=category or "metal plate", regions=(), defect_type=None, consequence=None,
                description="No defect was found on the part.",
            )  # fmt: skip
        session = SimpleNamespace(dialog=Dialog(), choose=Dialog().choose)
        goods = tuple(image.pixels for _ in range(2))
        return SimpleNamespace(
            report=report, pixels=image.pixels, anomaly_map=make_map(), reference_pixels=goods, session=session
        )

    def open(self, request) -> Any:
        return SimpleNamespace(dialog=Dialog(), choose=Dialog().choose)


class Dialog:
    def choose(self, question, options, kind=None, think=True) -> Any:
        from reason_iad.types import Answer, OptionProbability

        pairs = tuple(OptionProbability(o, 1 / len(options)) for o in options)
        return SimpleNamespace(answer=Answer(question, options[0], pairs, 1.0))

    def tell(self, question, max_new_tokens=64, on_text=None) -> Any:
        from reason_iad.types import Answer

        if "stuck" in question:
            time.sleep(3600)
        for piece in ("It looks ", "scratched."):
            if on_text is not None:
                on_text(piece)
        return SimpleNamespace(answer=Answer(question, "It looks scratched."))


def load_scripted(method: Any, progress: Any) -> Scripted:
    progress("loading model scripted")
    return Scripted(method.get("seconds", 0.0) if isinstance(method, dict) else 0.0)


def load_slowly(method: Any, progress: Any) -> Scripted:
    """Takes longer to load than an inspection may take; what an inspection imports is imported before."""
    importlib.import_module("made_report")
    importlib.import_module("reason_iad.reporting.pictures")
    time.sleep(5)
    return Scripted()


def load_never(method: Any, progress: Any) -> Scripted:
    progress("loading model that takes long")
    time.sleep(600)
    raise AssertionError


def load_miniature(method: Any, progress: Any) -> Any:
    """A random model of the bundled one's structure: everything real but what it has learned."""
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.inspection.options import InspectorOptions
    from reason_iad.models.vision_cache import CachedVision

    spec = importlib.util.spec_from_file_location("shared_fixtures", TESTS / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.tiny_nano
    nano = getattr(made, "__wrapped__", None) or made._get_wrapped_function()
    model = nano()
    return Inspector(InspectorOptions(num_steps=1), model, CachedVision(model.vision), load_knowledge())


def load_served(method: Any, progress: Any) -> Any:
    """The real inspector over a model on a server that nobody runs."""
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.inspection.options import InspectorOptions
    from reason_iad.models.openai_compatible import Connection, OpenAICompatible
    from reason_iad.models.vision import BundledVision
    from reason_iad.models.vision_cache import CachedVision

    model = OpenAICompatible("away", Connection("http://127.0.0.1:9/v1", retries=0))
    return Inspector(InspectorOptions(latents="off"), model, CachedVision(BundledVision.random()), load_knowledge())


def load_knowledge() -> Any:
    """Starter knowledge with bags of words as vectors: no weights."""
    import hashlib

    import numpy as np

    from reason_iad.knowledge.entries import load_categories
    from reason_iad.knowledge.retrieve import KnowledgeBase

    class Hashing:
        name = "hashing"

        def encode(self, texts):
            vectors = np.zeros((len(texts), 64), dtype=np.float32)
            for row, text in enumerate(texts):
                for word in text.lower().split():
                    vectors[row, hashlib.blake2b(word.encode(), digest_size=1).digest()[0] % 64] += 1
            return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)

    categories = load_categories()
    entries = [e for c in categories for e in c.entries()]
    return KnowledgeBase(entries, Hashing(), categories)
