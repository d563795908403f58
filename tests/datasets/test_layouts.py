"""Folders as people lay them out: in any case, nested, of one category or many, masks named in any usual way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_iad.datasets.registry import read_dataset


def picture(path: Path, marked: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((16, 24), np.uint8)
    pixels[4:8, 4:12] = 255 if marked else 40
    Image.fromarray(pixels).save(path)


def lay(root: Path, *names: str) -> Path:
    """Images with these names; what has "mask" or "truth" in its name is one."""
    for name in names:
        picture(root / name, marked="mask" in name.lower() or "truth" in name.lower())
    return root


@pytest.mark.parametrize("normal", ["good", "Good", "OK", "ok", "normal", "Normal", "nominal", "PASS", "non-defective"])
@pytest.mark.parametrize("shape", ["split", "plain"])
def test_a_folder_of_good_parts_is_known_in_any_spelling(normal, shape, tmp_path):
    if shape == "split":
        names = [f"nut/train/{normal}/0.png", f"nut/test/{normal}/1.png", "nut/test/bent/2.png"]
    else:
        names = ["reference/0.png", f"{normal}/1.png", "bent/2.png"]
    found = read_dataset(lay(tmp_path / "data", *names))
    (category,) = found.categories
    assert len(found.references(category)) == 1
    assert [(s.defective, s.defect_type) for s in found.queries(category)] == [(True, "bent"), (False, None)] or [
        (s.defective, s.defect_type) for s in found.queries(category)
    ] == [(False, None), (True, "bent")]


@pytest.mark.parametrize("bad", ["not_good", "NG", "no_good", "abnormal", "unusual", "goodish", "ok_but_scratched"])
def test_a_folder_that_only_sounds_good_is_a_defect_type(bad, tmp_path):
    found = read_dataset(lay(tmp_path / "data", "nut/train/good/0.png", "nut/test/good/1.png", f"nut/test/{bad}/2.png"))
    assert [s.defect_type for s in found.queries("nut") if s.defective] == [bad]


@pytest.mark.parametrize(
    "mask",
    [
        "nut/ground_truth/bent/001_mask.png", "nut/ground_truth/bent/001_MASK.PNG",
        "nut/ground_truth/bent/001.mask.png",
        "nut/ground_truth/bent/001-mask.png", "nut/ground_truth/bent/001.png", "nut/Ground_Truth/Bent/001_mask.bmp",
        "nut/ground_truth/bent/001.jpg.png", "nut/ground_truth/bent/001/000.png", "nut/masks/bent/001.png",
        "nut/masks/001.png", "nut/test/bent/001_mask.png", "nut/test/bent/001.MASK.png", "nut/test/bent/masks/001.png",
        "nut/test/ground_truth/bent/001_mask.png", "nut/GT/bent/001_gt_mask.png", "ground_truth/nut/bent/001_mask.png",
    ],
)  # fmt: skip
def test_the_mask_of_an_image_is_found_wherever_it_usually_lies(mask, tmp_path):
    names = ["nut/train/good/000.jpg", "nut/test/good/001.jpg", "nut/test/bent/001.jpg", mask]
    found = read_dataset(lay(tmp_path / "data", *names))
    assert found.faults == ()
    queries = {sample.name: sample for sample in found.queries("nut")}
    assert set(queries) == {"nut/test/good/001.jpg", "nut/test/bent/001.jpg"}  # the mask is no image
    assert [str(path.relative_to(tmp_path / "data")) for path in queries["nut/test/bent/001.jpg"].masks] == [mask]
    assert queries["nut/test/good/001.jpg"].masks == ()


def test_images_in_nested_folders_have_the_label_of_the_folder_above_and_masks_in_the_same_ones(tmp_path):
    found = read_dataset(
        lay(
            tmp_path / "data", "nut/train/good/monday/0.png", "nut/train/good/tuesday/early/0.png",
            "nut/test/good/monday/0.png", "nut/test/bent/monday/0.png", "nut/test/bent/tuesday/0.png",
            "nut/ground_truth/bent/monday/0_mask.png", "nut/ground_truth/bent/tuesday/0_mask.png",
        )
    )  # fmt: skip
    assert found.faults == ()
    assert len(found.references("nut")) == 2
    bent = [sample for sample in found.queries("nut") if sample.defective]
    assert {sample.defect_type for sample in bent} == {"bent"}
    for sample in bent:
        assert sample.masks[0].parent.name == sample.image.parent.name


def test_folders_that_only_group_others_are_looked_into(tmp_path):
    found = read_dataset(
        lay(tmp_path / "data", "nut/train/good/0.png", "nut/test/lot1/OK/1.png", "nut/test/lot1/bent/2.png",
            "nut/test/lot2/OK/1.png", "nut/test/lot2/cut/2.png")
    )  # fmt: skip
    assert sorted((s.defect_type or "") for s in found.queries("nut")) == ["", "", "bent", "cut"]


def test_a_mask_that_two_images_could_own_is_given_to_neither(tmp_path):
    root = lay(
        tmp_path / "data", "nut/train/good/0.png", "nut/test/good/0.png", "nut/test/bent/1.png", "nut/test/cut/1.png",
        "nut/masks/1_mask.png",
    )  # fmt: skip
    found = read_dataset(root)
    assert all(sample.masks == () for sample in found.queries("nut"))
    assert len([fault for fault in found.faults if "its mask is missing" in fault.what]) == 2


@pytest.mark.parametrize("deep", ["", "data/", "sets/mine/"])
def test_plain_folders_of_many_categories_are_many_categories(deep, tmp_path):
    names = [
        f"{deep}{category}/{rest}"
        for category in ("nut", "cookie")
        for rest in ("reference/0.png", "good/1.png", "bent/2.png", "masks/bent/2.png")
    ]
    found = read_dataset(lay(tmp_path / "root", *names))
    assert found.categories == ("cookie", "nut")
    for category in found.categories:
        assert len(found.references(category)) == 1
        assert sorted(len(sample.masks) for sample in found.queries(category)) == [0, 1]


def test_splits_above_the_categories_are_read_alike(tmp_path):
    names = [
        f"{split}/{category}/{rest}"
        for category in ("nut", "cookie")
        for split, rest in (("train", "good/0.png"), ("test", "good/1.png"), ("test", "bent/2.png"))
    ] + ["ground_truth/nut/bent/2_mask.png", "ground_truth/cookie/bent/2_mask.png"]
    found = read_dataset(lay(tmp_path / "root", *names))
    assert found.categories == ("cookie", "nut")
    for category in found.categories:
        assert len(found.references(category)) == 1
        assert sorted(len(sample.masks) for sample in found.queries(category)) == [0, 1]


def test_two_categories_of_one_name_are_told_apart_by_their_folders(tmp_path):
    names = [f"{line}/nut/{rest}" for line in ("a", "b") for rest in ("train/good/0.png", "test/good/1.png")]
    assert read_dataset(lay(tmp_path / "root", *names)).categories == ("a/nut", "b/nut")


def test_what_systems_leave_behind_is_no_image(tmp_path):
    root = lay(
        tmp_path / "root", "nut/train/good/0.png", "nut/test/good/1.png", "nut/test/good/.thumbs/1.png",
        "nut/test/good/._1.png", "__MACOSX/nut/test/good/1.png", "nut/test/.ipynb_checkpoints/1.png",
    )  # fmt: skip
    (root / "nut/test/good/Thumbs.db").write_bytes(b"x")
    (root / "nut/test/good/loop").symlink_to(root / "nut/test/good", target_is_directory=True)
    found = read_dataset(root)
    assert found.categories == ("nut",)
    assert [sample.name for sample in found.queries("nut")] == ["nut/test/good/1.png"]


def test_everything_says_what_it_was_taken_for(tmp_path):
    root = lay(
        tmp_path / "root", "nut/train/Good/0.png", "nut/train/bent/9.png", "nut/test/Good/1.png", "nut/test/3.png",
        "nut/test/bent/2.png", "nut/ground_truth/bent/2_mask.png",
    )  # fmt: skip
    found = read_dataset(root)
    assert found.taken == ("nut: 1 references; 1 normal test images (folder Good), 1 defective (bent 1), 1 with masks",)
    assert {sample.taken for sample in found.samples} == {
        "a reference, by its folder Good", "normal, by its folder Good", "defective, bent, by its folder bent",
    }  # fmt: skip
    said = " ".join(map(str, found.faults))
    assert "nut/train/bent: 1 training images that are not good; they are no references" in said
    assert "nut/test: 1 images lie in no folder that says what they are; left out: 3.png" in said


@pytest.mark.parametrize(
    ("label", "defective"),
    [("normal", False), ("Good", False), ("OK", False), ("nominal", False), ("0", False), ("defective", True),
     ("NG", True), ("scratch", True), ("1", True)],
)  # fmt: skip
def test_a_label_of_a_list_is_read_in_any_spelling(label, defective, tmp_path):
    root = lay(tmp_path / "root", "a/0.png", "a/1.png")
    text = f"image,category,split,label\na/0.png,nut,Train,Normal\na/1.png,nut,TEST,{label}\n"
    (root / "manifest.csv").write_text(text, encoding="utf-8-sig")
    found = read_dataset(root)
    assert [sample.defective for sample in found.queries("nut")] == [defective]
    assert len(found.references("nut")) == 1
    assert found.faults == ()


def test_a_bad_line_of_a_list_is_named_and_ends_nothing(tmp_path):
    root = lay(tmp_path / "root", "a/0.png", "a/1.png")
    lines = ["image,category,split,label", "a/0.png,nut,train,normal", "a/1.png,nut", "a/1.png,nut,someday,normal",
             "a/1.png,nut,test,", "../secret.png,nut,test,normal", ",nut,test,normal"]  # fmt: skip
    (root / "manifest.csv").write_text("\n".join(lines))
    found = read_dataset(root)
    assert [(sample.name, sample.split) for sample in found.samples] == [("a/0.png", "train"), ("a/1.png", "test")]
    assert [(fault.line, fault.field) for fault in found.faults] == [
        (3, "split"), (4, "split"), (5, "label"), (6, "image"), (7, "image")
    ]  # fmt: skip
