"""`inspect` with a panel: every model reports, reports are kept, and who is missing is said."""

from __future__ import annotations

import numpy as np
import pytest
from made_vision import PooledVision
from PIL import Image
from simulated_model import SimulatedModel

from reason_iad.cli import inspect as command
from reason_iad.cli.app import build_parser, guarded, main
from reason_iad.errors import ModelError
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.models.vision_cache import CachedVision
from reason_iad.types import InspectionReport


@pytest.fixture
def lot(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    rng = np.random.default_rng(0)
    base = rng.integers(60, 180, (64, 64, 3))
    for number in range(4):
        pixels = np.clip(base + rng.normal(0, 6, base.shape), 0, 240).astype(np.uint8)
        if number == 3:
            pixels[40:56, 8:30] = 255
        folder = tmp_path / ("good" if number < 2 else "lot")
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path


asked: list[tuple[str, str]] = []  # how the models of the last run were asked, and about good parts


def run(lot, loaded, capsys, *models, broken=(), more=("--reason", "always")):
    """The command with simulated models; gives its exit code, the reports, and what was said of errors."""
    vision = CachedVision(PooledVision())
    asked.clear()

    def load(args, tell):
        loaded.append(args.model)
        if args.model in broken:
            raise ModelError(f"{args.model} cannot be reached; check that it runs")
        asked.append((args.reason, args.offset))
        options = InspectorOptions(
            latents="off", injection="off", knowledge="none", model=args.model, reason=args.reason, offset=args.offset
        )
        return Inspector(options, SimulatedModel(args.model), vision, KnowledgeBase([]))

    flags = [flag for name in models for flag in ("--model", name)]
    args = build_parser().parse_args(
        ["inspect", str(lot / "lot"), "--reference", str(lot / "good"), *flags, "--knowledge", "none", "--json", *more]
    )  # fmt: skip
    code = guarded(lambda: command.run(args, load))
    out, err = capsys.readouterr()
    return code, [InspectionReport.from_json(line) for line in out.splitlines() if line.startswith("{")], err


def test_a_panel_reports_each_image_once_with_everybodys_voice(lot, capsys):
    code, reports, said = run(lot, [], capsys, "openai:a", "openai:b")
    assert code == 0, said
    assert [report.image for report in reports] == ["2.png", "3.png"]
    for report in reports:
        voices = next(a.voices for a in report.answers if a.voices)
        assert {voice.name for voice in voices} == {"openai:a", "openai:b", "the comparison with good parts"}
    assert reports[0].probability < reports[1].probability
    assert reports[1].verdict != "normal"


def test_a_model_that_fails_ends_the_panel_and_what_the_others_said_is_kept(lot, capsys):
    loaded: list[str] = []
    code, reports, err = run(lot, loaded, capsys, "openai:a", "openai:b", broken=("openai:b",))
    assert (code, reports) == (2, [])
    assert "openai:b cannot be reached" in err
    loaded.clear()
    code, reports, _ = run(lot, loaded, capsys, "openai:a", "openai:b")
    assert (code, len(reports)) == (0, 2)
    assert loaded == ["openai:b"]  # the other had reported on every image


def test_every_model_is_asked_about_every_image_and_about_known_good_parts(lot, capsys):
    code, _, said = run(lot, [], capsys, "openai:a", "openai:b", more=())
    assert code == 0, said
    assert asked == [("always", "on")] * 2
    code, _, _ = run(lot, [], capsys, "openai:a", "openai:b", more=("--reason", "never", "--offset", "off"))
    assert (code, asked) == (0, [("never", "off")] * 2)


def test_faithfulness_is_that_of_the_model_whose_words_the_report_has(lot, capsys):
    code, reports, said = run(lot, [], capsys, "openai:a", "openai:b", more=("--reason", "always", "--faithfulness"))
    assert code == 0, said
    assert all(report.faithfulness is not None and report.faithfulness.rows for report in reports)
    assert all(any("faithful the answer is was measured on that of openai:" in n for n in r.notes) for r in reports)


def test_what_a_panel_cannot_do_is_refused(lot, capsys):
    flags = ["--model", "openai:a", "--model", "openai:b", "--faithfulness", "--lot"]
    assert main(["inspect", str(lot / "lot"), *flags]) == 2
    assert "--faithfulness with --lot and the panel" in capsys.readouterr().err


def test_a_panel_of_one_model_twice_is_refused(lot, capsys):
    assert main(["inspect", str(lot / "lot"), "--model", "openai:a", "--model", "openai:a"]) == 2
    assert "name each once" in capsys.readouterr().err
