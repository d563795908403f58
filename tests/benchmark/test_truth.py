"""What is right stands apart from what was answered: corrected, moved, repeated and malformed data, by command."""

from __future__ import annotations

import json

import pytest
from made_robustmad import robustmad
from made_solver import MadeSolver, write_questions

from reason_iad.benchmark.solver import InspectorSolver
from reason_iad.cli.app import main


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(InspectorSolver, "load", classmethod(lambda cls, *_: MadeSolver()))
    write_questions(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def ask(data, tmp_path, capsys):
    """Runs the command; gives its exit code, its summary and what it said besides."""

    def run(*more, shots="0", file="questions.json"):
        options = ["--root", str(data), "--questions", str(data / file), "--out", str(tmp_path / "run")]
        code = main(["benchmark", "mmad", *options, "--shots", shots, "--json", *more])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return run


@pytest.fixture
def edit(data):
    """Rewrites the question file."""

    def change(how, file="questions.json"):
        path = data / file
        entries = json.loads(path.read_text())
        path.write_text(json.dumps(how(entries) or entries, indent=1))

    return change


def turn_answers(entries):
    for entry in entries.values():
        for question in entry["conversation"]:
            question["Answer"] = "B" if question["Answer"] == "A" else "A"


def test_corrected_answers_count_at_once_and_nothing_is_asked_again(ask, edit):
    _, before, _ = ask()
    edit(turn_answers)
    code, after, said = ask()
    assert code == 0
    assert "0 questions asked" in said
    for kind, value in before["accuracy"].items():
        assert after["accuracy"][kind] == pytest.approx(1 - value)


def test_a_report_reads_the_question_file_anew(ask, edit, tmp_path, capsys):
    _, before, _ = ask()
    edit(turn_answers)
    assert main(["benchmark", "report", str(tmp_path / "run"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["macro"] == pytest.approx(1 - before["macro"], abs=1e-5)
    assert any("has changed since the run" in note for note in found["notes"])


def test_a_corrected_type_moves_the_question_and_nothing_is_asked_again(ask, edit):
    ask()

    def rename(entries):
        for entry in entries.values():
            entry["conversation"][1]["type"] = "Defect Description"

    edit(rename)
    _, found, said = ask()
    assert "0 questions asked" in said
    assert set(found["accuracy"]) == {"Anomaly Detection", "Defect Description", "Object Analysis"}


def test_a_moved_image_is_not_asked_again_and_counts_once(ask, edit, data):
    _, before, _ = ask()
    (data / "nut/moved").mkdir()
    (data / "nut/test/bad/002.png").rename(data / "nut/moved/two.png")
    edit(lambda e: {("nut/moved/two.png" if k == "nut/test/bad/002.png" else k): v for k, v in e.items()})
    _, after, said = ask()
    assert "0 questions asked" in said
    assert (after["n"], after["images"]) == (36, 12)
    assert after["macro"] == before["macro"]


def test_an_image_moved_to_another_category_counts_once_where_the_category_is_told(ask, edit, data):
    ask("--category", "given")
    (data / "bolt/test/bad/two.png").write_bytes((data / "nut/test/bad/002.png").read_bytes())
    (data / "nut/test/bad/002.png").unlink()
    edit(lambda e: {("bolt/test/bad/two.png" if k == "nut/test/bad/002.png" else k): v for k, v in e.items()})
    _, found, said = ask("--category", "given")
    assert "3 questions asked" in said  # another category was told
    assert (found["n"], found["left_plan"]) == (36, 3)


def test_repeated_questions_and_copied_images_are_counted_as_often_as_they_stand(ask, edit, data):
    (data / "nut/test/bad/copy.png").write_bytes((data / "nut/test/bad/002.png").read_bytes())

    def repeat(entries):
        first = entries["nut/test/bad/002.png"]
        entries["nut/test/bad/copy.png"] = first
        entries["nut/test/bad/004.png"]["conversation"].append(entries["nut/test/bad/004.png"]["conversation"][0])

    edit(repeat)
    code, found, said = ask()
    assert code == 0
    assert (found["n"], found["duplicates"], found["images"]) == (40, 4, 12)  # a copy is no new image
    assert "36 questions asked" in said
    assert "each time is counted" in said


def test_an_image_that_stands_twice_in_the_file_keeps_both_entries(ask, data):
    text = (data / "questions.json").read_text()
    entry = json.dumps(json.loads(text)["nut/test/bad/002.png"])
    (data / "questions.json").write_text(text.rstrip()[:-1] + f', "nut/test/bad/002.png": {entry}}}')
    _, found, said = ask()
    assert (found["n"], found["duplicates"]) == (39, 3)
    assert "stands for the 2. time" in said


def test_what_left_the_file_is_reported_and_not_counted(ask, edit):
    ask()
    edit(lambda entries: {k: v for k, v in entries.items() if k != "nut/test/bad/002.png"})
    _, found, said = ask()
    assert (found["n"], found["left_plan"]) == (33, 3)
    assert any("3 records are no longer in the plan" in note for note in found["notes"])
    assert "0 questions asked" in said


MALFORMED = {
    "mask_list": ("mask_path", ["m.png"]),
    "mask_number": ("mask_path", 7),
    "templates_null": ("random_templates", [None]),
    "templates_text": ("random_templates", "nut/train/good/0.png"),
    "templates_object": ("random_templates", {"a": "b"}),
    "templates_nested": ("similar_templates", [["nut/train/good/0.png"]]),
    "conversation_text": ("conversation", "Is there a defect?"),
    "conversation_null": ("conversation", None),
    "options_list": ("Options", ["A: Yes", "B: No"]),
    "options_null": ("Options", None),
    "option_null": ("Options", {"A": None, "B": "No."}),
    "option_nested": ("Options", {"A": {"x": 1}, "B": "No."}),
    "options_empty": ("Options", {}),
    "options_many": ("Options", {str(number): f"option {number}" for number in range(40)}),
    "answer_list": ("Answer", ["A"]),
    "answer_unknown": ("Answer", "a"),
    "question_number": ("Question", 3),
    "question_empty": ("Question", " "),
    "type_null": ("type", None),
    "type_list": ("type", ["Anomaly Detection"]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_entry_is_listed_with_file_line_and_field_and_ends_no_run(name, ask, edit, data):
    field, value = MALFORMED[name]

    def spoil(entries):
        entry = entries["nut/test/bad/004.png"]
        target = entry if field in ("mask_path", "random_templates", "similar_templates", "conversation") else None
        (entry["conversation"][1] if target is None else target)[field] = value

    edit(spoil)
    code, found, said = ask(shots="1")
    assert code == 0
    assert found["n"] in (33, 35, 36)
    fault = next(line for line in said.splitlines() if "data fault" in line)
    lines = (data / "questions.json").read_text().splitlines()
    number = int(fault.split("line ")[1].split(",")[0])
    assert fault.startswith("reason-iad: data fault: questions.json, line ")
    assert "nut/test/bad/004.png" in fault
    if field != "conversation":
        assert f", {field}: " in fault
        assert f'"{field}"' in "".join(lines[number - 3 : number])
    assert not any(word in fault for word in ("TypeError", "NoneType", "object has no attribute"))


@pytest.mark.parametrize("entry", [None, [], "text", 3, {}, {"mask_path": ""}])
def test_an_entry_that_is_none_is_listed_and_ends_no_run(entry, ask, edit):
    edit(lambda entries: entries.update({"nut/test/bad/004.png": entry}))
    code, found, said = ask()
    assert (code, found["n"]) == (0, 33)
    assert "line 60" in said or "questions.json, line" in said


@pytest.mark.parametrize("name", ["../outside.png", "/etc/hostname", "a\0b.png", "x" * 5000, ""])
def test_a_name_that_no_image_can_have_is_listed_and_ends_no_run(name, ask, edit):
    edit(lambda entries: entries.update({name: entries["nut/test/bad/004.png"]}))
    code, found, said = ask()
    assert (code, found["n"]) == (0, 36)
    assert "the image is missing" in said


def test_other_knowledge_profiles_or_version_is_another_run(ask, tmp_path, monkeypatch):
    from reason_iad.knowledge import base

    assert ask()[0] == 0
    (base.default_base()).mkdir(parents=True, exist_ok=True)
    (base.default_base() / "more.jsonl").write_text(
        json.dumps({"id": "nut/other/1", "category": "nut", "kind": "normal", "text": "A nut.", "source": "me"}) + "\n"
    )
    code, _, said = ask()
    assert code == 2
    assert "the knowledge base (then" in said
    assert ask("--knowledge", "none", "--out", str(tmp_path / "plain"))[0] == 0
    (base.default_base() / "more.jsonl").unlink()
    assert ask("--knowledge", "none", "--out", str(tmp_path / "plain"))[0] == 0  # it does not depend on it
    profile = tmp_path / "home/profiles/nut"
    profile.mkdir(parents=True)
    (profile / "profile.json").write_text(json.dumps({"version": 1, "members": []}))
    code, _, said = ask()
    assert code == 2
    assert "the learned categories (then none" in said


def test_other_weights_under_one_name_are_another_run(ask, tmp_path, monkeypatch):
    from reason_iad.models.fingerprint import of_model

    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"one")
    assert ask("--model", str(model))[0] == 0
    (model / "model.safetensors").write_bytes(b"two")
    code, _, said = ask("--model", str(model))
    assert code == 2
    assert "the model's weights (then" in said
    monkeypatch.setattr("reason_iad.models.fingerprint.WHOLE", 8)
    monkeypatch.setattr("reason_iad.models.fingerprint._BLOCK", 4)
    (model / "model.safetensors").write_bytes(b"0" * 400)
    first = of_model(str(model))
    (model / "model.safetensors").write_bytes(b"0" * 200 + b"1" * 200)
    assert of_model(str(model)) != first


def test_a_run_of_0_1_0_is_read_by_the_report_and_refused_by_the_command(ask, tmp_path, capsys):
    ask()
    run = tmp_path / "run"
    facts = json.loads((run / "run.json").read_text())
    rows = [json.loads(line) for line in (run / "plan-0-of-1.jsonl").read_text().splitlines()[1:]]
    truth = {row.pop("key"): row for row in rows}
    records = [json.loads(line) for line in (run / "records-0-of-1.jsonl").read_text().splitlines()]
    (run / "records-0-of-1.jsonl").write_text("".join(json.dumps({**r, **truth[r["key"]]}) + "\n" for r in records))
    (run / "plan-0-of-1.jsonl").unlink()
    old = {"task": "mmad", "setting": facts["setting"], "model": "x", "version": "0.1.0"}
    (run / "run.json").write_text(json.dumps(old))
    code, _, said = ask()
    assert code == 2
    assert "holds a run of reason-iad 0.1.0" in said
    assert "`benchmark report` still reads" in said
    assert main(["benchmark", "report", str(run), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["n"] == 36
    assert any("older version" in note for note in found["notes"])


def test_shards_of_one_run_have_one_plan(ask):
    ask("--shard", "0/2")
    _, found, _ = ask("--shard", "1/2")
    assert (found["n"], found["unasked"]) == (36, 0)
    _, found, said = ask()
    assert (found["n"], found["unasked"]) == (36, 0)
    assert "0 questions asked" in said


def test_a_run_that_was_stopped_says_what_was_not_asked_yet(ask):
    code, found, _ = ask("--limit", "4")
    assert (code, found["n"]) == (0, 12)
    code, found, _ = ask("--minutes", "0.0000001")
    assert found["unasked"] == 36 - found["n"] > 0


def test_a_missing_reference_gives_its_place_to_the_next_and_none_left_is_no_error(ask, edit):
    def lose(entries):
        for entry in entries.values():
            entry["random_templates"] = ["nut/train/good/999.png"]

    edit(lose)
    code, found, said = ask(shots="1")
    assert (code, found["n"], found["unreadable"]) == (0, 36, 0)
    assert "no other is listed, so it is asked without one" in said


def test_robustmad_is_scored_by_its_rule_and_twins_are_compared(data, tmp_path, capsys):
    file = robustmad(tmp_path / "robust")
    options = ["--root", str(tmp_path / "robust"), "--questions", str(file), "--out", str(tmp_path / "run")]
    assert main(["benchmark", "mmad", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 16
    records = [json.loads(line) for line in (tmp_path / "run/records-0-of-1.jsonl").read_text().splitlines()]
    plan = [json.loads(line) for line in (tmp_path / "run/plan-0-of-1.jsonl").read_text().splitlines()[1:]]
    given = {record["key"]: record["answer"] for record in records}
    right = {(row["pair"], row["dataset"]): given[row["key"]] == row["target"] for row in plan}
    pairs = sorted({pair for pair, _ in right})
    change = sum(right[pair, "RobustMAD degraded"] - right[pair, "RobustMAD"] for pair in pairs) / len(pairs)
    assert found["twins"]["all"]["difference"] == pytest.approx(change)
    assert (found["twins"]["all"]["n"], found["twins"]["degraded by blur"]["n"]) == (8, 8)
    assert main(["benchmark", "mmad", *options]) == 0
    shown = capsys.readouterr().out
    assert "unanswerable questions:" in shown
    assert "twins, all:" in shown
