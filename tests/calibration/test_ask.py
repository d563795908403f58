"""`reason-iad calibrate` as a user types it, with a simulated model: what is asked, kept, fitted and found again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_vision import PooledVision
from PIL import Image
from simulated_model import SimulatedModel

from reason_iad.calibration.rows import dataset_cases, labeled_split
from reason_iad.cli import calibrate as command
from reason_iad.cli.app import main
from reason_iad.datasets.registry import read_dataset
from reason_iad.errors import ModelError
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.models.fits import all_fits, settings_of
from reason_iad.models.vision_cache import CachedVision


class DyingModel(SimulatedModel):
    """Answers so many questions, then is gone."""

    def __init__(self, name, answers, **settings):
        super().__init__(name, **settings)
        self.left = answers

    def choose(self, parts, num_options, options=()):
        self.left -= 1
        if self.left < 0:
            raise ModelError("the server cannot be reached; check that it runs")
        return super().choose(parts, num_options, options)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    rng = np.random.default_rng(0)
    base = rng.integers(60, 180, (48, 48, 3))
    for folder, count in (("train/good", 5), ("test/good", 6), ("test/broken", 6)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(base + rng.normal(0, 6, base.shape), 0, 240).astype(np.uint8)
            if folder.endswith("broken"):
                pixels[30:42, 4:20] = 255
            Image.fromarray(pixels).save(tmp_path / "data" / folder / f"{number}.png")
    return tmp_path / "data"


@pytest.fixture
def asking(monkeypatch):
    """Let the command ask a simulated model, with towers that cost nothing."""
    vision = CachedVision(PooledVision())

    def use(model):
        options = InspectorOptions(latents="off", injection="off", knowledge="none", model="openai:sim")
        monkeypatch.setattr(command, "_unfitted", lambda args: Inspector(options, model, vision, KnowledgeBase([])))

    return use


def test_images_are_asked_about_beside_references_that_are_none_of_them(data):
    dataset = read_dataset(data)
    assert labeled_split(dataset) == "test"
    cases = list(dataset_cases(dataset, (2, 0), limit=4))
    assert len(cases) == 2 * 8
    for case in cases:
        assert case.image not in case.references
        assert all("train" in str(reference) for reference in case.references)
    assert len({case.references for case in cases}) == 2  # one set a number of references, so that prompts are shared


def test_a_model_that_dies_leaves_what_it_said_and_the_same_command_goes_on(data, tmp_path, asking, capsys):
    args = ["calibrate", str(data), "--model", "openai:sim", "--shots", "2", "--out", str(tmp_path / "out")]
    asking(DyingModel("sim", 8, bias=2.0, skill=1.0, noise=1.0))
    assert main(args) == 2
    assert "cannot be reached" in capsys.readouterr().err
    (kept,) = (tmp_path / "home" / "calibrations").glob("*-answers.jsonl")
    said = kept.read_text().splitlines()
    assert 1 < len(said) < 12
    assert not all_fits()
    model = SimulatedModel("sim", bias=2.0, skill=1.0, noise=1.0)
    asking(model)
    assert main(args) == 0
    assert kept.read_text().splitlines()[: len(said)] == said
    assert len(kept.read_text().splitlines()) == 12
    fusion = settings_of("openai:sim", model.fingerprint)["fusion"]
    assert fusion["with_evidence"]["note"].startswith("Platt scaling")
    assert "not calibrated in this form" in fusion["without_evidence"]["note"]
    assert (tmp_path / "out" / "reliability.svg").read_text().startswith("<svg")
    assert "with references | 12 | after" in (tmp_path / "out" / "calibration.md").read_text()
    row = json.loads(said[0])
    assert row["offset"] is not None
    assert row["references"] == 2


def test_images_without_labels_give_the_offset_alone(data, asking, capsys):
    model = SimulatedModel("sim", bias=3.0, skill=0.5)
    asking(model)
    assert main(["calibrate", str(data / "train" / "good"), "--model", "openai:sim"]) == 0
    found = settings_of("openai:sim", model.fingerprint)["fusion"]["without_evidence"]
    assert found["bias"] == pytest.approx(-2.5, abs=1e-3)
    assert "taken for good parts" in capsys.readouterr().out


def test_a_fit_of_another_model_is_not_taken_over(data, tmp_path, asking, capsys):
    asking(SimulatedModel("sim", bias=3.0))
    assert main(["calibrate", str(data / "train" / "good"), "--model", "openai:sim"]) == 0
    (made,) = (tmp_path / "home" / "calibrations").glob("*[0-9a-f].json")
    asking(SimulatedModel("another"))
    assert main(["calibrate", "--use", str(made), "--model", "openai:sim"]) == 2
    assert "another model or another version" in capsys.readouterr().err
