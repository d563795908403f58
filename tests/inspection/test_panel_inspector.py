"""A panel in an inspector's place: who said what, what is kept when a model drops out, what another process adds."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_vision import PooledVision
from simulated_model import SimulatedModel

from reason_iad.cli.app import build_parser
from reason_iad.cli.lot import Plan
from reason_iad.cli.watch import watch
from reason_iad.errors import ModelError, ModelUnavailableError
from reason_iad.images import encode_png
from reason_iad.inspection import panel_inspector
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.inspection.panel_inspector import PanelInspector, load_panel
from reason_iad.inspection.panel_memory import PanelMemory
from reason_iad.inspection.panel_weights import EVIDENCE
from reason_iad.inspection.session import DETECTION
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.models.vision_cache import CachedVision
from reason_iad.reporting.folder import ReportFolder
from reason_iad.server.job_handler import JobHandler, Task
from reason_iad.types import InspectionReport, InspectionRequest

OPTIONS = InspectorOptions(latents="off", injection="off", knowledge="none", model="openai:a + openai:b")


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.integers(60, 180, (64, 64, 3))
    return [np.clip(base + rng.normal(0, 6, base.shape), 0, 240).astype(np.uint8) for _ in range(count)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    return tmp_path


def panel_of(*names: str) -> PanelInspector:
    vision, knowledge = CachedVision(PooledVision()), KnowledgeBase([])
    members = {
        name: Inspector(
            InspectorOptions(latents="off", injection="off", knowledge="none", model=name),
            SimulatedModel(name), vision, knowledge,
        )
        for name in names
    }  # fmt: skip
    options = InspectorOptions(latents="off", injection="off", knowledge="none", model=" + ".join(names))
    return PanelInspector(options, members, PanelMemory.of({name: name for name in names}))


def request() -> InspectionRequest:
    one, other, inspected = pictures(3)
    return InspectionRequest(inspected, references=(one, other))


def broken(panel: PanelInspector, name: str, error: Exception, monkeypatch) -> None:
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(panel.members[name], "run", fail)


def test_the_report_says_who_said_what_and_nothing_is_left_waiting(home):
    found = panel_of("openai:a", "openai:b").run(request())
    voices = next(a.voices for a in found.report.answers if a.voices)
    assert {voice.name for voice in voices} == {"openai:a", "openai:b", EVIDENCE}
    assert found.anomaly_map is not None
    assert found.session is not None  # for questions that follow
    assert not list(home.rglob("waiting/*.json"))
    assert PanelMemory.of({"openai:a": "openai:a", "openai:b": "openai:b"}).count(DETECTION) == 1


def test_what_a_model_has_said_is_not_asked_again_after_another_dropped_out(home, monkeypatch):
    panel = panel_of("openai:a", "openai:b")
    broken(panel, "openai:b", ModelUnavailableError("the server is away"), monkeypatch)
    with pytest.raises(ModelUnavailableError, match="away"):
        panel.run(request())
    again = panel_of("openai:a", "openai:b")  # another process
    asked: list[str] = []
    for name, one in again.members.items():
        run = one.run
        monkeypatch.setattr(one, "run", lambda *a, name=name, run=run, **k: (asked.append(name), run(*a, **k))[1])
    found = again.run(request())
    assert asked == ["openai:b"]
    assert {voice.name for voice in next(a.voices for a in found.report.answers if a.voices)} >= {"openai:a"}


def test_what_was_said_beside_other_evidence_is_asked_again(home, monkeypatch):
    panel = panel_of("openai:a", "openai:b")
    broken(panel, "openai:b", ModelUnavailableError("away"), monkeypatch)
    with pytest.raises(ModelUnavailableError):
        panel.run(request())
    (kept,) = home.rglob("waiting/*.json")
    text = kept.read_text(encoding="utf-8")
    start = text.index('"anomaly_score"', text.index('"evidence"'))
    end = text.index(",", start)
    kept.write_text(f'{text[:start]}"anomaly_score": 0.123{text[end:]}', encoding="utf-8")
    found = panel_of("openai:a", "openai:b").run(request()).report
    said = next(a.voices for a in found.answers if a.voices)
    assert next(voice for voice in said if voice.name == EVIDENCE).probabilities[0] != 0.123


def test_a_model_that_cannot_answer_is_named_and_the_others_decide(home, monkeypatch):
    panel = panel_of("openai:a", "openai:b")
    broken(panel, "openai:b", ModelError("it refuses pictures of this kind"), monkeypatch)
    report = panel.run(request()).report
    assert "openai:b: it refuses pictures of this kind" in report.notes
    broken(panel, "openai:a", ModelError("neither does it"), monkeypatch)
    with pytest.raises(ModelError, match="neither"):
        panel.run(request())


def test_two_processes_remember_for_one_panel(home):
    one, other = (PanelMemory.of({"a": "1", "b": "2"}) for _ in range(2))
    for number, memory in enumerate((one, other, one)):
        memory.add(DETECTION, str(number), {"a": [0.9, 0.1], "b": [0.2, 0.8]})
        memory.save()
    assert set(PanelMemory.of({"a": "1", "b": "2"}).votes[DETECTION]) == {"0", "1", "2"}
    assert one.count(DETECTION) == 3


def test_an_inspector_of_several_models_is_a_panel_over_one_knowledge(home, monkeypatch):
    loaded: list[str] = []

    def first(options, say):
        loaded.append(options.model)
        return panel_of(options.model, "openai:x").members[options.model]

    monkeypatch.setattr(panel_inspector.Inspector, "load", staticmethod(first))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    panel = load_panel(OPTIONS, lambda _: None)
    assert loaded == ["openai:a"]
    assert list(panel.members) == ["openai:a", "openai:b"]
    assert panel.members["openai:b"].knowledge is panel.members["openai:a"].knowledge
    assert panel.members["openai:b"].model is not panel.members["openai:a"].model


def test_a_model_process_of_the_server_takes_a_panel_for_an_inspector(home):
    handler = JobHandler(panel_of("openai:a", "openai:b"))
    assert handler.facts["name"] == "openai:a + openai:b"
    one, other, inspected = pictures(3)
    sent: list[str] = []
    done = handler.inspect(
        Task("1", InspectionRequest(encode_png(inspected), references=(one, other), name="part.png")),
        lambda *message: sent.append(message[1]),
    )
    report = InspectionReport.from_json(done["report"])
    assert report.image == "part.png"
    assert any(note.startswith("The panel on a defect: openai:a") for note in report.notes)
    answer = handler.ask(Task("1", InspectionRequest(encode_png(inspected), question="What is it?")), lambda *_: None)
    assert answer["prepared"]
    assert sent.count("verdict") == 2


def test_a_hot_folder_is_inspected_by_a_panel(home, tmp_path):
    folder = tmp_path / "camera"
    folder.mkdir()
    one, other, *arrived = pictures(4)
    for number, pixels in enumerate(arrived):
        (folder / f"{number}.png").write_bytes(encode_png(pixels))
    args = build_parser().parse_args(["inspect", str(folder), "--out", str(tmp_path / "out"), "--watch"])
    looks = iter([None] * 3)

    def sleep(_: float) -> None:
        if next(looks, 0) == 0:
            raise KeyboardInterrupt

    plan = Plan(InspectionRequest("x", references=(one, other)))
    with ReportFolder.create(args.out, resume=True) as out:
        watch(args, plan, lambda *_: panel_of("openai:a", "openai:b"), out, None, sleep, 0.0)
    reports = [json.loads(path.read_text("utf-8")) for path in sorted((tmp_path / "out").rglob("*.json"))]
    voices = [report["answers"][0]["voices"] for report in reports if "answers" in report]
    assert [{voice["name"] for voice in one} for one in voices] == [{"openai:a", "openai:b", EVIDENCE}] * 2
