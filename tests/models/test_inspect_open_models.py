"""The inspector over open models and over a server: every stage real, random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from miniatures import build_miniature
from PIL import Image

from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.knowledge.entries import load_categories
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.models.openai_compatible import Connection, OpenAICompatible
from reason_iad.models.vision import BundledVision
from reason_iad.models.vision_cache import CachedVision
from reason_iad.types import InspectionRequest


class Letters:
    """Counts of letters as vectors, so that retrieval runs without weights."""

    name = "letters"

    def encode(self, texts):
        counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-6)


@pytest.fixture(scope="module")
def parts():
    categories = load_categories()
    entries = [entry for c in categories for entry in c.entries() if c.category == "hazelnut"]
    return CachedVision(BundledVision.random()), KnowledgeBase(entries, Letters(), categories)


@pytest.fixture(scope="module")
def goods():
    rng = np.random.default_rng(3)
    base = rng.integers(60, 200, (90, 70, 3))
    return [np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8) for _ in range(2)]


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "internvl", "gemma3"])
def test_an_open_model_inspects_with_references_latents_and_injection(family, parts, goods) -> None:
    model = build_miniature(family)
    inspector = Inspector(InspectorOptions(num_steps=2, latents="on", injection="on"), model, *parts)
    odd = goods[0].copy()
    odd[50:80, 8:40] = 255
    found = inspector.run(InspectionRequest(odd, "hazelnut", goods, "Is it whole?", ("It is whole.", "It is broken.")))
    assert len(found.session.dialog.prefix.images) == 3
    assert found.report.versions[model.info.name] == "random"
    assert found.report.answers[0].text in ("It is whole.", "It is broken.")
    assert found.report.trace.steps
    for patch in found.report.trace.patches:
        x0, y0, x1, y1 = patch.box_xyxy
        assert 0 <= x0 < x1 <= 70
        assert 0 <= y0 < y1 <= 90


def test_a_server_inspects_and_the_report_says_what_was_off(parts, goods) -> None:
    command = [sys.executable, Path(__file__).with_name("chat_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        inspector = Inspector(InspectorOptions(latents="on"), OpenAICompatible("open", Connection(url)), *parts)
        try:
            request = InspectionRequest(goods[0], "hazelnut", goods[1:], "Is it whole?", ("Whole.", "Broken."))
            found = inspector.run(request)
        finally:
            server.terminate()
    report = found.report
    assert any("gives no access to its inside: latent reasoning and injection" in note for note in report.notes)
    assert report.trace.mode == "off"
    assert report.citations
    assert report.evidence.num_references == 1
    assert report.answers[0].text == "Broken."
    assert report.versions["open"].startswith("server 127.0.0.1:")
    assert found.session.dialog.under(InspectorOptions(latents="off")) is found.session.dialog


def test_a_served_model_that_is_away_ends_the_command_with_2_and_says_so(parts, tmp_path, monkeypatch, capsys) -> None:
    from reason_iad.cli.app import build_parser, guarded
    from reason_iad.cli.inspect import run

    model = OpenAICompatible("away", Connection("http://127.0.0.1:9/v1", retries=0))
    inspector = Inspector(InspectorOptions(latents="off"), model, *parts)
    path = tmp_path / "part.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    args = build_parser().parse_args(["inspect", str(path), "--model", "openai:away"])
    assert guarded(lambda: run(args, lambda *_: inspector)) == 2
    assert "the server 127.0.0.1:9 cannot be reached" in capsys.readouterr().err
