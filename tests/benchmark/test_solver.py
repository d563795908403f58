"""The inspector itself as it answers the benchmark, on the miniature model: every stage real, no weights."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_vision import PooledVision
from PIL import Image

from reason_iad.benchmark.ablation import PLAIN
from reason_iad.benchmark.plan import plan
from reason_iad.benchmark.pool import answer_here
from reason_iad.benchmark.record_log import read_records, same_content
from reason_iad.benchmark.runner import run_units
from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.solver import InspectorSolver
from reason_iad.benchmark.summary import summarize
from reason_iad.datasets.mmad import DETECTION, TYPES, MmadQuestion, read_mmad
from reason_iad.errors import ModelUnavailableError
from reason_iad.inspection.inspector import Inspector
from reason_iad.inspection.options import InspectorOptions
from reason_iad.knowledge.entries import load_categories
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.models.openai_compatible import Connection, OpenAICompatible
from reason_iad.models.vision_cache import CachedVision
from reason_iad.types import InspectionRequest

FULL = Setting(num_steps=2, latents="on", injection="on")
GIVEN = replace(FULL, category="given")


class FlatEncoder:
    """All texts alike: retrieval without weights."""

    name = "flat"

    def encode(self, texts):
        return np.full((len(texts), 8), 8**-0.5, dtype=np.float32)


@pytest.fixture(scope="module")
def solver(tiny_nano):
    categories = load_categories()
    entries = [e for c in categories for e in c.entries() if c.category in ("hazelnut", "any_product")]
    knowledge = KnowledgeBase(entries, FlatEncoder(), categories)
    inspector = Inspector(InspectorOptions(), tiny_nano, CachedVision(PooledVision()), knowledge)
    return InspectorSolver(inspector)


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    base = rng.integers(60, 160, (48, 48, 3))
    for name in ("test/good/0.png", "test/bad/1.png", "train/good/2.png", "train/good/3.png"):
        path = root / "hazelnut" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(base + rng.normal(0, 8, base.shape), 0, 255).astype(np.uint8)).save(path)
    asked = [
        {"Question": "Any defect?", "Options": {"A": "No.", "B": "Yes."}, "Answer": "A", "type": DETECTION},
        {"Question": "What?", "Options": {"A": "Nut.", "B": "Bolt.", "C": "Pin."}, "Answer": "A", "type": "Object"},
    ]  # fmt: skip
    templates = ["hazelnut/train/good/2.png", "hazelnut/train/good/3.png"]
    entry = {"conversation": asked, "random_templates": templates, "similar_templates": templates[::-1]}
    names = ("hazelnut/test/good/0.png", "hazelnut/test/bad/1.png")
    (root / "q.json").write_text(json.dumps(dict.fromkeys(names, entry)))
    return read_mmad(root, root / "q.json")


def answers(solver, questions, *settings):
    """Records joined with what is right, as a summary reads them."""
    found = []
    for unit in plan(questions.samples, dict.fromkeys(settings, "m")):
        truth = {job.key: unit.truth(job) for job in unit.jobs}
        found += [{**record, **truth[record["key"]]} for record in solver.answer(unit)]
    return found


def test_a_record_says_what_was_answered_how_and_at_what_cost(solver, questions):
    records = answers(solver, questions, GIVEN)
    assert len(records) == 4
    assert not [record for record in records if "error" in record]
    for record in records:
        assert sum(record["probabilities"]) == pytest.approx(1)
        assert record["answer"] == int(np.argmax(record["probabilities"]))
        assert record["evidence"] is not None
        assert record["recognized"] == "hazelnut"
        assert {"read", "evidence", "knowledge", "prefix"} <= set(record["image_milliseconds"])
    json.dumps(records, allow_nan=False)
    assert summarize(records).n == 4


def test_detection_answers_by_the_fused_probability_whatever_the_order_of_yes_and_no(solver, questions):
    record = answers(solver, questions, GIVEN)[0]
    assert record["yes"] == 1
    view = solver.inspector.with_options(GIVEN.inspector_options(plan_image(questions)))
    sample = questions.samples[0]
    session = view.open(InspectionRequest(sample.image, "hazelnut", sample.templates("random", 1)))
    assert record["probabilities"][1] == pytest.approx(session.probability(record["model"][1]), abs=1e-6)
    other = answers(solver, questions, GIVEN)[1]
    assert other["probabilities"] == pytest.approx(other["model"], abs=1e-6)  # both are rounded to 7 digits


def plan_image(questions):
    return next(iter(plan(questions.samples, {GIVEN: "m"}))).image_sha256


def test_settings_side_by_side_answer_as_each_does_alone(solver, questions):
    settings = (GIVEN, replace(GIVEN, latents="off", injection="off"), replace(GIVEN, injection="off"), PLAIN)
    together = answers(solver, questions, *settings)
    for setting in settings:
        alone = answers(solver, questions, setting)
        keys = {record["key"] for record in alone}
        assert same_content(alone) == same_content(r for r in together if r["key"] in keys)


def test_the_plain_setting_is_the_plain_answer_of_the_same_prompt(solver, questions):
    plain = answers(solver, questions, replace(GIVEN, latents="off", injection="off"))
    thought = answers(solver, questions, GIVEN)
    assert [record["base"] for record in plain] == [record["base"] for record in thought]
    assert all(record["model"] == record["base"] for record in plain)


def test_the_order_of_images_changes_no_record(solver, questions):
    turned = replace(questions, samples=questions.samples[::-1])
    key = lambda record: record["key"]  # noqa: E731
    first = same_content(sorted(answers(solver, questions, GIVEN), key=key))
    assert first == same_content(sorted(answers(solver, turned, GIVEN), key=key))


def test_the_noise_differs_between_images_and_seeds():
    seeds = {Setting(seed=seed).inspector_options(image).seed for seed in range(3) for image in ("a", "b")}
    assert len(seeds) == 6


def test_without_references_nothing_speaks_for_them(solver, questions):
    for record in answers(solver, questions, replace(GIVEN, shots=0)):
        assert record["evidence"] is None


def test_an_image_that_changes_during_the_run_is_noticed(solver, questions):
    units = list(plan(questions.samples[:1], {PLAIN: "m"}))
    stale = replace(units[0], image_sha256="0" * 64)
    assert all("changed during the run" in record["error"] for record in solver.answer(stale))


def test_an_image_with_fewer_references_than_asked_is_compared_with_those_it_has(solver, questions):
    more = answers(solver, questions, replace(GIVEN, shots=4))
    assert [record.get("references") for record in more] == [2] * len(more)
    assert all(record["evidence"] is not None for record in more)


def test_an_image_without_references_is_asked_about_alone_and_the_record_says_so(solver, questions):
    bare = replace(questions, samples=tuple(replace(s, random_templates=()) for s in questions.samples))
    records = answers(solver, bare, GIVEN)
    assert [(record["references"], record["evidence"]) for record in records] == [(0, None)] * 4


def test_a_reference_that_cannot_be_read_is_passed_over_as_if_it_were_missing(solver, questions, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    sample = questions.samples[0]
    mixed = replace(sample, random_templates=(broken, *sample.random_templates))
    whole = answers(solver, replace(questions, samples=(replace(sample),)), GIVEN)
    found = answers(solver, replace(questions, samples=(mixed,)), replace(GIVEN, shots=2))
    assert [record["references"] for record in found] == [1, 1]
    assert [record["probabilities"] for record in found] == [record["probabilities"] for record in whole]


@pytest.fixture
def served(monkeypatch):
    """The solver over a model on a real HTTP server, which answers the last option that is listed."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            words = " ".join(part.get("text", "") for part in body["messages"][-1]["content"])
            letter = max(letter for letter in "ABCDEFGH" if f"{letter}." in words or f"{letter})" in words)
            top = [{"token": letter, "logprob": -0.1}, {"token": "A", "logprob": -3.0}]
            token = {"token": letter, "logprob": -0.1, "top_logprobs": top}
            message = {"role": "assistant", "content": letter}
            answer = {"choices": [{"index": 0, "message": message, "logprobs": {"content": [token]}}]}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    categories = load_categories()
    entries = [e for c in categories for e in c.entries() if c.category in ("hazelnut", "any_product")]
    model = OpenAICompatible.from_environment("x")
    knowledge = KnowledgeBase(entries, FlatEncoder(), categories)
    options = InspectorOptions(model="openai:x", latents="off", injection="off")
    yield InspectorSolver(Inspector(options, model, CachedVision(PooledVision()), knowledge))
    server.shutdown()
    server.server_close()


def test_a_model_on_a_server_answers_every_type_of_question(served, questions):
    kinds = (*TYPES, "Unanswerable or Misleading Query Detection")
    asked = []
    for number, kind in enumerate(kinds):
        options = ("No.", "Yes.") if kind == DETECTION else tuple(f"choice {i}" for i in range(2 + number % 4))
        asked.append(MmadQuestion(kind, f"{kind}?", options, 0, number))
    sample = replace(questions.samples[0], questions=tuple(asked))
    setting = Setting(model="openai:x", latents="off", injection="off", category="given")
    records = answers(served, replace(questions, samples=(sample,)), setting, replace(setting, shots=0))
    assert len(records) == 2 * len(kinds)
    assert [record.get("error") for record in records] == [None] * len(records)
    for record in records:
        assert record["model"][-1] == max(record["model"])
        assert record["stopped"] == "off"
    assert summarize(records).n == len(records)


def test_a_server_that_is_away_is_no_wrong_answer_but_the_end_of_the_run_for_now(served, questions, tmp_path):
    setting = Setting(model="openai:x", latents="off", injection="off", shots=0)
    client = served.inspector.model._client
    there, client._connection = client._connection, Connection("http://127.0.0.1:9/v1", retries=0)
    units, pool = list(plan(questions.samples, {setting: "m"})), functools.partial(answer_here, lambda: served)
    with pytest.raises(ModelUnavailableError, match="cannot be reached"):
        run_units(units, {setting: tmp_path}, pool, "0")
    assert not read_records(tmp_path).records
    client._connection = there
    assert run_units(units, {setting: tmp_path}, pool, "0").asked == 4
    assert not [record for record in read_records(tmp_path).records if "error" in record]


@pytest.mark.parametrize("name", ["vllm", "says:The answer is B.", "thought", "apart", "reasoning"])
def test_a_server_that_answers_in_prose_or_thinks_first_is_read(served, questions, name):
    """The chat server of the tests of served models, as a process of its own."""
    command = [sys.executable, Path(__file__).parent.parent / "models" / "chat_server.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            served.inspector.model = OpenAICompatible(name, Connection(url))
            setting = Setting(model="openai:x", latents="off", injection="off", shots=0)
            records = answers(served, questions, setting)
        finally:
            server.terminate()
    assert [record.get("error") for record in records] == [None] * 4
    if name != "reasoning":  # whose samples differ
        assert [record["model"][1] == max(record["model"]) for record in records] == [True] * 4


def test_the_questions_of_an_image_are_read_in_one_pass(solver, questions, monkeypatch):
    passes, run = [], solver.inspector.model.layers.run
    layers = solver.inspector.model.layers
    monkeypatch.setattr(layers, "run", lambda *given, **named: passes.append(given[1].shape) or run(*given, **named))
    unit = next(iter(plan(questions.samples, {PLAIN: "m"})))
    next(iter(solver.answer(unit)))
    opened = len(passes)
    assert len(list(solver.answer(unit))) == 2
    assert len(passes) == opened + 2  # the image's own part, which ends the stored prompt, and all of its questions


def test_what_was_answered_before_changes_no_record(solver, questions):
    unit = next(iter(plan(questions.samples, {GIVEN: "m"})))
    whole = {record["key"]: record for record in solver.answer(unit)}
    for job in unit.jobs:
        assert same_content(solver.answer(unit.keep([job]))) == same_content([whole[job.key]])
