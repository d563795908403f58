"""Named defects: adding, correcting, moving, taking back; on disk by versions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reason_iad.errors import InputError
from reason_iad.naming import store
from reason_iad.naming.describe import LENGTH
from reason_iad.naming.examples import MOST_PER_TYPE, DefectExample, DefectExamples, clean_type


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REASON_IAD_HOME", str(tmp_path))
    return tmp_path


def example(kind: str, image: str = "a", box=(0, 0, 10, 10), views: int = 1) -> DefectExample:
    vector = np.random.default_rng(len(kind) + len(image)).normal(size=(views, LENGTH)).astype(np.float32)
    return DefectExample(kind, f"{image}.png", image * 8, (100, 100), box, vector, b"jpeg", "2026-05-12", "folder")


def test_contradicting_labels_of_one_area_are_named_and_left_out():
    both = [example("scratch", "a"), example("dent", "a", (1, 0, 10, 10)), example("pit", "b")]
    examples, notes = DefectExamples("tile").add(both)
    assert examples.counts == {"pit": 1}
    assert notes == ("a.png: one area is called dent and scratch; expected one name: left out",)
    with pytest.raises(InputError, match=r"a\.png: one area is called"):
        DefectExamples("tile").add(both[:2])


def test_a_new_name_of_a_known_area_is_a_correction():
    examples, _ = DefectExamples("tile").add([example("scratch")])
    examples, notes = examples.add([example("dent")])
    assert examples.counts == {"dent": 1}
    assert notes == ("a.png: scratch becomes dent",)


def test_two_areas_of_one_image_may_have_two_types():
    examples, notes = DefectExamples("tile").add([example("a"), example("b", box=(50, 50, 60, 60))])
    assert examples.counts == {"a": 1, "b": 1}
    assert notes == ()


def test_of_ten_thousand_examples_the_newest_of_each_type_are_kept():
    many = [example("pit", f"i{number}") for number in range(2 * MOST_PER_TYPE)]
    examples, notes = DefectExamples("tile").add(many)
    assert examples.counts == {"pit": MOST_PER_TYPE}
    assert examples.examples[-1] is many[-1]
    assert notes == (f"pit: 1,000 examples; the newest {MOST_PER_TYPE} are kept",)


def test_a_type_may_be_named_in_any_script_but_must_be_a_name():
    assert clean_type(" Kratzer\t groß ") == "Kratzer groß"
    assert clean_type("خدش") == "خدش"
    assert clean_type("e\u0301") == "é"
    for wrong in ("", "  ", "...", "\u200b", "x" * 81):
        with pytest.raises(InputError, match="expected a name"):
            clean_type(wrong)


def test_what_was_saved_is_read_back_and_changes_can_be_taken_back():
    first, _ = DefectExamples("bracket").add([example("Kratzer", "a", views=2), example("凹み", "b")])
    store.save_examples(first)
    read = store.load_examples("bracket")
    assert read.counts == {"Kratzer": 1, "凹み": 1}
    assert [one.views.shape for one in read.examples] == [(2, LENGTH), (1, LENGTH)]
    np.testing.assert_allclose(read.examples[0].views, first.examples[0].views, atol=2e-3)
    assert read.examples[1].picture_jpeg == b"jpeg"
    store.save_examples(read.move(read.examples[0].id[:6], "Riss"))
    store.save_examples(store.load_examples("bracket").without(read.examples[1].id))
    assert store.load_examples("bracket").counts == {"Riss": 1}
    assert store.undo("bracket").counts == {"Riss": 1, "凹み": 1}
    assert store.load_examples("bracket").version == 4
    assert len(store.load_examples("bracket").history) == 4


def test_only_the_next_version_is_written(home):
    first, _ = DefectExamples("bracket").add([example("a")])
    store.save_examples(first)
    with pytest.raises(InputError, match="another change came first"):
        store.save_examples(first)


def test_old_versions_go_and_their_pictures_with_them(home):
    examples = DefectExamples("bracket")
    for number in range(8):
        examples, _ = examples.add([example("pit", f"i{number}")])
        if number:
            examples = DefectExamples("bracket", examples.examples[-1:], examples.version, examples.history)
        store.save_examples(examples)
    folder = store.examples_folder("bracket")
    assert sorted(path.stem for path in (folder / "versions").glob("*.json")) == [
        "0004",
        "0005",
        "0006",
        "0007",
        "0008",
    ]
    assert len(list((folder / "pictures").iterdir())) == 5


def test_damaged_files_are_refused_with_their_name(home):
    first, _ = DefectExamples("bracket").add([example("a")])
    folder = store.save_examples(first)
    pack = next((folder / "packs").iterdir())
    pack.write_bytes(b"no tensors")
    with pytest.raises(InputError, match=pack.name):
        store.load_examples("bracket")
    facts = json.loads((folder / "versions" / "0001.json").read_text())
    (folder / "versions" / "0001.json").write_text(json.dumps(facts | {"description_version": 99}))
    with pytest.raises(InputError, match="name the defects again"):
        store.load_examples("bracket")


def test_an_id_must_lead_to_one_example():
    examples, _ = DefectExamples("tile").add([example("a"), example("b", "b")])
    for wrong in ("", "zz"):
        with pytest.raises(InputError, match="expected one"):
            examples.find(wrong)
