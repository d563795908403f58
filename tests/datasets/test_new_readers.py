"""Miniatures of newer benchmarks, laid out as their publishers do: what is read, what is missing and where it lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_robustmad import picture, robustmad

from reason_iad.datasets.questions import read_questions
from reason_iad.datasets.registry import read_dataset, recognize_layout
from reason_iad.datasets.robustmad import PAIR_WISE, TYPES, UNANSWERABLE
from reason_iad.errors import InputError


def test_robustmad_shows_the_reference_to_the_pair_wise_questions_alone(tmp_path):
    found = read_questions(tmp_path, robustmad(tmp_path))
    assert found.faults == ()
    assert found.num_questions == 16
    for sample in found.samples:
        kinds = {one.kind for one in sample.questions}
        assert (kinds == {PAIR_WISE}) == bool(sample.random_templates)
        assert sample.category == "bottle"
        assert all(len(one.options) == 5 and one.target == 2 for one in sample.questions)
    assert len({sample.id for sample in found.samples}) == 8
    assert {sample.dataset for sample in found.samples} == {"RobustMAD", "RobustMAD degraded"}


def test_robustmad_pairs_a_question_with_that_about_the_degraded_twin(tmp_path):
    found = read_questions(tmp_path, robustmad(tmp_path))
    by_dataset: dict = {}
    for sample in found.samples:
        by_dataset.setdefault(sample.dataset, set()).update((one.pair, one.kind) for one in sample.questions)
    assert by_dataset["RobustMAD"] == by_dataset["RobustMAD degraded"]
    assert len(by_dataset["RobustMAD"]) == 8


def test_what_is_missing_of_robustmad_is_said_with_its_place(tmp_path):
    file = robustmad(tmp_path, degraded=False)
    assert "RobustMAD_MCQ_low.json is missing beside it" in str(read_questions(tmp_path, file).faults[0])
    file = robustmad(tmp_path)
    (tmp_path / "MVTec-AD/bottle/test/broken/blur/000_blur.png").unlink()
    (tmp_path / "MVTec-AD/bottle/test/good/009.png").unlink()
    found = read_questions(tmp_path, file)
    said = " ".join(map(str, found.faults))
    assert "utils/generate_LoQ_images.py makes it" in said
    assert (
        "its reference MVTec-AD/bottle/test/good/009.png is missing; what compares with it is asked without it" in said
    )
    assert found.num_questions == 12


def test_a_bad_question_of_robustmad_is_named_by_file_line_and_field(tmp_path):
    file = robustmad(tmp_path)
    content = json.loads(file.read_text())
    content["images"][0]["questions"][1]["answer"] = "F"
    content["images"][1]["questions"][3] = None
    content["images"].append(7)
    file.write_text(json.dumps(content, indent=1))
    found = read_questions(tmp_path, file)
    lines = file.read_text().splitlines()
    answer, absent, entry = found.faults
    assert (answer.field, lines[answer.line - 1].strip()) == ("answer", '"answer": "F"')
    assert lines[absent.line - 1].strip() == "null"
    assert lines[entry.line - 1].strip() == "7"
    assert found.num_questions == 14


# VisA-D&R


def test_visa_dr_is_asked_for_defects_and_its_free_questions_are_counted(tmp_path):
    for name in ("VisA/pcb1/test/bad/0.JPG", "VisA/pcb1/test/good/1.JPG"):
        picture(tmp_path / name)
    entries = [
        {"image": "VisA/pcb1/test/bad/0.JPG", "anomaly": True, "questions": ["Is it broken?", "Why?", "What to do?"]},
        {"image": "VisA/pcb1/test/good/1.JPG", "anomaly": False, "questions": ["Is it broken?"]},
        {"image": "VisA/pcb1/test/good/2.JPG", "anomaly": False, "questions": []},
        {"image": "VisA/pcb1/test/good/1.JPG", "anomaly": "perhaps", "questions": []},
    ]
    file = tmp_path / "VisA/visa_dr.json"
    file.write_text(json.dumps(entries))
    found = read_questions(tmp_path, file)
    assert [(sample.category, sample.questions[0].target) for sample in found.samples] == [("pcb1", 0), ("pcb1", 1)]
    said = " ".join(map(str, found.faults))
    assert "4 questions in free words are not asked" in said
    assert "expected it at" in said
    assert "the text 'perhaps'; expected true or false" in said


def test_another_file_is_refused_with_what_was_expected(tmp_path):
    (tmp_path / "q.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="expected"):
        read_questions(tmp_path, tmp_path / "q.json")


# CrossDomainVAD-12


def cross_domain(root: Path) -> Path:
    for domain, place in (("D1_industrial", "MMAD/MVTec-AD"), ("D10_liver", "BMAD")):
        code, items = domain.partition("_")[0], []
        for number, (label, split) in enumerate([(0, "test"), (1, "test"), (1, "dev"), (0, "calibration")]):
            picture(root / "data" / place / f"{number}.png")
            picture(root / "data" / place / f"ref{number}.png")
            items.append({
                "item_id": f"{code}_{number:04}", "domain": "x", "domain_code": code, "label": label, "split": split,
                "query_path": f"{{DATA_ROOT}}/{place}/{number}.png", "category": "nut", "anomaly_type": "dent",
                "ref_paths": [f"{{DATA_ROOT}}/{place}/ref{number}.png", f"{{DATA_ROOT}}/{place}/ref0.png"],
            })  # fmt: skip
        (root / "manifests_v2").mkdir(exist_ok=True)
        (root / f"manifests_v2/{domain}_manifest.json").write_text(json.dumps(items))
    return root


def test_cross_domain_items_have_their_own_references_and_domains_are_categories(tmp_path):
    root = cross_domain(tmp_path)
    assert recognize_layout(root) == "cross_domain_vad"
    found = read_dataset(root)
    assert found.faults == ()
    assert found.categories == ("D1", "D10")
    assert [sample.defective for sample in found.queries("D10")] == [False, True]
    for sample in found.samples:
        assert len(sample.references) == 2
    assert found.taken[0] == "D1: 2 items of the split test, 1 anomalous, by D1_industrial_manifest.json"


def test_what_a_cross_domain_item_lacks_is_said(tmp_path):
    root = cross_domain(tmp_path)
    (root / "data/BMAD/1.png").unlink()
    (root / "data/MMAD/MVTec-AD/ref0.png").unlink()
    found = read_dataset(root)
    said = " ".join(map(str, found.faults))
    assert "D10_manifest" not in said
    assert "D10_liver_manifest.json, D10_0001, query_path: the image is missing; expected it at" in said
    assert "D1_0000, ref_paths: has no reference; there is nothing to compare it with: left out" in said
    assert [len(sample.references) for sample in found.queries("D1")] == [1]


# Kaputt


def kaputt(root: Path, tables: str = "datasets", prefix: str = "query-crop/") -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")

    queries, references = [], []
    for item in range(3):
        defect = item > 0
        path = f"data/test/query-data/crop/q{item}.jpg"
        picture(root / prefix / path)
        queries.append({
            "capture_id": f"q{item}", "item_identifier": f"i{item}", "defect": defect, "major_defect": item == 2,
            "defect_types": "penetration,deformation" if defect else "", "item_material": "cardboard",
            "query_crop": path, "query_image": path.replace("crop", "image"), "query_mask": "",
        })  # fmt: skip
        named = [f"data/test/reference-data/crop/r{item}{part}.jpg" for part in "ab"]
        for one in named:
            picture(root / prefix.replace("query", "reference") / one)
        shown = [",".join(named)] if item else named  # both ways that the README and the tables have it
        references += [{"item_identifier": f"i{item}", "reference_crop": one} for one in shown]
    (root / tables).mkdir(parents=True, exist_ok=True)
    for name, rows in (("query", queries), ("reference", references)):
        parquet.write_table(pyarrow.Table.from_pylist(rows), root / tables / f"{name}-test.parquet")
    return root


@pytest.mark.parametrize(("tables", "prefix"), [("datasets", "query-crop/"), ("", "")])
def test_kaputt_compares_each_item_with_its_own_references(tables, prefix, tmp_path):
    root = kaputt(tmp_path, tables, prefix)
    assert recognize_layout(root) == "kaputt"
    found = read_dataset(root)
    assert found.faults == ()
    assert found.categories == ("cardboard",)
    assert [(s.defective, s.defect_type, len(s.references), s.group) for s in found.queries("cardboard")] == [
        (False, None, 2, "i0"), (True, "deformation+penetration", 2, "i1"), (True, "deformation+penetration", 2, "i2")
    ]  # fmt: skip
    assert all(sample.masks == () for sample in found.samples)  # its masks show the item
    assert "(1 of them minor)" in found.taken[0]


def test_what_kaputt_lacks_is_said_with_its_place(tmp_path):
    root = kaputt(tmp_path)
    (root / "query-crop/data/test/query-data/crop/q1.jpg").unlink()
    for part in "ab":
        (root / f"reference-crop/data/test/reference-data/crop/r2{part}.jpg").unlink()
    found = read_dataset(root)
    assert len(found.samples) == 1
    said = " ".join(map(str, found.faults))
    assert "query-test.parquet, line 2, q1, query_crop: the image is missing" in said
    assert "its item i2 has no reference; left out" in said
    (tmp_path / "empty").mkdir()
    for layout, said in (("kaputt", "holds no query-test"), ("cross_domain_vad", "holds no manifests_v2")):
        with pytest.raises(InputError, match=said):
            read_dataset(tmp_path / "empty", layout)


def test_the_unanswerable_are_a_type_of_their_own():
    assert UNANSWERABLE in TYPES
