"""Question files in the MMAD layout, with the faults that real ones have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reason_iad.datasets.mmad import DETECTION, read_mmad
from reason_iad.errors import InputError

QUESTION = {"Question": "Is there a defect?", "Options": {"A": "Yes.", "B": "No."}, "Answer": "B", "type": DETECTION}


def write(root: Path, entries: dict, images: tuple[str, ...]) -> Path:
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    file = root / "questions.json"
    file.write_text(json.dumps(entries))
    return file


def test_an_entry_becomes_a_sample_with_its_questions_and_references(tmp_path):
    details = {**QUESTION, "type": "Object Details", "Options": {"A": "x", "B": "y", "C": "z"}, "Answer": "C"}
    entry = {
        "conversation": [QUESTION], "conversation_2": [details], "mask_path": "VisA/pcb/m.png",
        "random_templates": ["VisA/pcb/a.png"], "similar_templates": ["VisA/pcb/b.png"],
    }  # fmt: skip
    images = ("VisA/pcb/1.png", "VisA/pcb/a.png", "VisA/pcb/b.png", "VisA/pcb/m.png")
    found = read_mmad(tmp_path, write(tmp_path, {"VisA/pcb/1.png": entry}, images))
    (sample,) = found.samples
    assert (sample.dataset, sample.category, sample.name) == ("VisA", "pcb", "VisA/pcb/1.png")
    assert [(q.kind, q.target, q.number, q.yes) for q in sample.questions] == [
        (DETECTION, 1, 0, 0), ("Object Analysis", 2, 1, None)
    ]  # fmt: skip
    assert sample.templates("similar", 1) == (tmp_path / "VisA/pcb/b.png",)
    assert sample.mask == tmp_path / "VisA/pcb/m.png"
    assert found.faults == ()
    assert found.num_questions == 2


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({**QUESTION, "Answer": "C"}, "'C' is not among"),
        ({**QUESTION, "Options": {"A": "Yes.", "B": "Yes."}}, "different ones"),
        ({"Question": "?"}, "question 1, Options: cannot be asked: it is missing"),
        ("text", "cannot be asked"),
    ],
)
def test_a_question_that_cannot_be_asked_is_listed_and_the_others_stay(tmp_path, question, said):
    file = write(tmp_path, {"nut/1.png": {"conversation": [question, QUESTION]}}, ("nut/1.png",))
    found = read_mmad(tmp_path, file)
    assert [q.number for q in found.samples[0].questions] == [1]
    (fault,) = found.faults
    assert said in str(fault)
    assert fault.where == "nut/1.png, question 1"


def test_missing_files_are_listed_with_the_place_they_should_lie_at(tmp_path):
    entry = {"conversation": [QUESTION], "random_templates": ["nut/a.png", "nut/b.png"], "mask_path": "nut/m.png"}
    file = write(tmp_path, {"nut/1.png": entry, "nut/2.png": entry}, ("nut/1.png", "nut/b.png"))
    found = read_mmad(tmp_path, file)
    assert [sample.name for sample in found.samples] == ["nut/1.png"]
    assert found.samples[0].random_templates == (tmp_path / "nut/b.png",)
    said = " ".join(str(fault) for fault in found.faults)
    assert f"expected it at {tmp_path / 'nut/2.png'}" in said
    assert "reference nut/a.png is missing" in said
    assert "mask nut/m.png is missing" in said


def test_a_wrong_root_and_a_wrong_file_are_refused_with_the_remedy(tmp_path):
    file = write(tmp_path, {"nut/1.png": {"conversation": [QUESTION]}}, ())
    with pytest.raises(InputError, match="check --root"):
        read_mmad(tmp_path, file)
    file.write_text("[1]")
    with pytest.raises(InputError, match="maps images to entries"):
        read_mmad(tmp_path, file)
    file.write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        read_mmad(tmp_path, file)


def test_an_image_of_another_categorys_size_is_listed_as_perhaps_another_product(tmp_path):
    from PIL import Image

    entries = {}
    for category, size, count in (("pill", (80, 80), 20), ("metal_nut", (70, 70), 20)):
        for number in range(count):
            name = f"DS-MVTec/{category}/image/good/{number:03}.png"
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shown = (70, 70) if (category, number) == ("pill", 7) else size
            shown = (64, 64) if (category, number) == ("metal_nut", 3) else shown  # odd, but nobody else's size
            Image.new("RGB", shown).save(tmp_path / name)
            entries[name] = {"conversation": [QUESTION]}
    file = tmp_path / "mmad.json"
    file.write_text(json.dumps(entries))
    found = read_mmad(tmp_path, file)
    (fault,) = found.faults
    assert fault.where == "DS-MVTec/pill/image/good/007.png"
    assert "70 x 70 pixels as metal_nut has, not 80 x 80 as pill" in fault.what
    assert len(found.samples) == 40


@pytest.mark.data
def test_the_inspection_questions_are_read_without_a_fault(inspection_data):
    found = read_mmad(inspection_data, inspection_data / "questions_test.json")
    assert (len(found.samples), found.num_questions, found.faults) == (881, 3554, ())
    assert {q.kind for s in found.samples for q in s.questions} >= {DETECTION, "Defect Localization"}
