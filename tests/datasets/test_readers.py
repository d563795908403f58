"""Tiny trees of each layout, as the data sets publish them: what is read, and what is said to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_iad.datasets.registry import READERS, read_dataset, recognize_layout
from reason_iad.errors import InputError


def picture(path: Path, marked: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((16, 24), dtype=np.uint8)
    pixels[4:8, 4:12] = 255 if marked else 0
    Image.fromarray(pixels).save(path)
    return path


def tree(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name, marked="mask" in name or "label" in name or "GT" in name or "ground_truth" in name)
    return root


def mvtec_ad(root):
    return tree(
        root, "nut/train/good/0.png", "nut/train/good/1.png", "nut/test/good/0.png", "nut/test/bent/0.png",
        "nut/ground_truth/bent/0_mask.png",
    )  # fmt: skip


def mvtec_loco(root):
    return tree(
        root, "bag/train/good/0.png", "bag/validation/good/0.png", "bag/test/good/0.png",
        "bag/test/logical_anomalies/0.png", "bag/ground_truth/logical_anomalies/0/000.png",
        "bag/ground_truth/logical_anomalies/0/001.png",
    )  # fmt: skip


def mvtec_ad_2(root):
    return tree(
        root, "can/train/good/000_regular.png", "can/train/good/001_regular.png", "can/validation/good/000_regular.png",
        "can/test_public/good/000_regular.png", "can/test_public/bad/000_overexposed.png",
        "can/test_public/ground_truth/bad/000_overexposed_mask.png",
    )  # fmt: skip


def autovi(root):
    tree(
        root, "pipe_clip/train/good/0000.png", "pipe_clip/train/good/0001.png", "pipe_clip/test/good/0000.png",
        "pipe_clip/test/operator/0000.png", "pipe_clip/ground_truth/operator/0000/0000.png",
    )  # fmt: skip
    (root / "pipe_clip/defects_config.json").write_text("[]")
    return root


def visa(root):
    return tree(
        root, "pcb/train/good/0.JPG", "pcb/train/good/1.JPG", "pcb/test/good/2.JPG", "pcb/test/bad/3.JPG",
        "pcb/ground_truth/bad/3.png",
    )  # fmt: skip


def visa_raw(root):
    tree(
        root, "pcb/Data/Images/Normal/0.JPG", "pcb/Data/Images/Normal/1.JPG", "pcb/Data/Images/Normal/2.JPG",
        "pcb/Data/Images/Anomaly/0.JPG", "pcb/Data/Masks/Anomaly/0.png",
    )  # fmt: skip
    lines = ["object,split,label,image,mask"]
    lines += [f"pcb,{s},normal,pcb/Data/Images/Normal/{i}.JPG," for i, s in enumerate(("train", "train", "test"))]
    lines += ["pcb,test,anomaly,pcb/Data/Images/Anomaly/0.JPG,pcb/Data/Masks/Anomaly/0.png"]
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text("\n".join(lines))
    return root


def real_iad(root):
    tree(
        root, "realiad_1024/jack/OK/S1/0.jpg", "realiad_1024/jack/OK/S2/0.jpg", "realiad_1024/jack/OK/S3/0.jpg",
        "realiad_1024/jack/NG/AK/S4/0.jpg", "realiad_1024/jack/NG/AK/S4/0_mask.png",
    )  # fmt: skip

    def entry(kind, path, mask=None):
        return {"category": "jack", "anomaly_class": kind, "image_path": path, "mask_path": mask}

    listed = {
        "meta": {"prefix": "jack/", "normal_class": "OK"},
        "train": [entry("OK", "OK/S1/0.jpg"), entry("OK", "OK/S2/0.jpg")],
        "test": [entry("OK", "OK/S3/0.jpg"), entry("AK", "NG/AK/S4/0.jpg", "NG/AK/S4/0_mask.png")],
    }
    (root / "realiad_jsons").mkdir()
    (root / "realiad_jsons/jack.json").write_text(json.dumps(listed))
    return root


def btad(root):
    return tree(
        root, "01/train/ok/0.bmp", "01/train/ok/1.bmp", "01/test/ok/0.bmp", "01/test/ko/1.bmp",
        "01/ground_truth/ko/1.png",
    )  # fmt: skip


def kolektor_sdd(root):
    for item in ("kos01", "kos02"):
        for part in ("Part0", "Part1"):
            picture(root / item / f"{part}.jpg")
            picture(root / item / f"{part}_label.bmp", marked=(item, part) == ("kos02", "Part1"))
    return root


def kolektor_sdd2(root):
    for split, number, marked in (("train", 1, False), ("train", 2, False), ("test", 3, False), ("test", 4, True)):
        picture(root / split / f"{number}.png")
        picture(root / split / f"{number}_GT.png", marked)
    return root


def goods_ad(root):
    return tree(
        root, "box/train/good/0.jpg", "box/train/good/1.jpg", "box/test/good/0.jpg", "box/test/opened/1.jpg",
        "box/ground_truth/opened/1.png",
    )  # fmt: skip


def folder(root):
    return tree(root, "reference/0.png", "reference/1.png", "good/0.png", "scratch/1.png", "masks/scratch/1.png")


def manifest(root):
    tree(root, "a/0.png", "a/1.png", "a/2.png", "a/3.png", "a/mask.png")
    lines = ["image,category,split,label,defect_type,mask,boxes,group"]
    lines += ["a/0.png,nut,train,normal,,,,g0", "a/1.png,nut,train,normal,,,,g1", "a/2.png,nut,test,normal,,,,g2"]
    lines += ['a/3.png,nut,test,defective,dent,a/mask.png,"[[1, 2, 5, 6]]",g3']
    (root / "manifest.csv").write_text("\n".join(lines))
    return root


TREES = {
    "mvtec_ad": mvtec_ad, "mvtec_ad_2": mvtec_ad_2, "autovi": autovi, "mvtec_loco": mvtec_loco, "visa": visa,
    "visa_raw": visa_raw, "real_iad": real_iad, "mpdd": mvtec_ad, "btad": btad, "kolektor_sdd": kolektor_sdd,
    "kolektor_sdd2": kolektor_sdd2, "goods_ad": goods_ad, "manifest": manifest, "folder": folder,
}  # fmt: skip


def test_every_reader_has_a_tree_here():
    assert set(TREES) | {"kaputt", "cross_domain_vad"} == set(READERS)  # these in test_new_readers


@pytest.mark.parametrize("layout", TREES)
def test_a_tree_is_read_as_its_data_set_means_it(layout, tmp_path):
    found = read_dataset(TREES[layout](tmp_path / "data"), layout)
    assert found.faults == ()
    assert len(found.categories) == 1
    category = found.categories[0]
    assert len(found.references(category)) == 2
    labels = sorted((sample.defective, len(sample.masks)) for sample in found.queries(category))
    if layout == "kolektor_sdd":  # both parts of the second item are test images
        assert labels == [(False, 0), (True, 1)]
    else:
        assert labels == [(False, 0), (True, 2 if layout == "mvtec_loco" else 1)]
    assert all(sample.image.is_file() and "\\" not in sample.name for sample in found.samples)
    assert all((sample.defect_type is not None) == sample.defective for sample in found.samples)


@pytest.mark.parametrize("layout", [name for name in TREES if name != "mpdd"])
def test_a_layout_is_told_from_what_lies_there(layout, tmp_path):
    assert recognize_layout(TREES[layout](tmp_path / "data")) == layout


def test_the_folder_of_one_category_is_enough(tmp_path):
    found = read_dataset(mvtec_ad(tmp_path / "data") / "nut")
    assert found.categories == ("nut",)
    assert found.samples[0].name == "nut/train/good/0.png"


@pytest.mark.parametrize(
    ("layout", "gone", "said"),
    [
        ("mvtec_ad", "nut/ground_truth/bent/0_mask.png", "MVTec AD keeps it under"),
        ("mvtec_loco", "bag/ground_truth/logical_anomalies/0/*", "MVTec LOCO keeps it under"),
        ("mvtec_ad_2", "can/test_public/ground_truth/bad/*", "keeps it under"),
        ("mvtec_ad_2", "can/train/good/*", "MVTec AD 2 keeps normal training images there"),
        ("autovi", "pipe_clip/ground_truth/operator/0000/0000.png", "AutoVI keeps it under"),
        ("btad", "01/ground_truth/ko/1.png", "BTAD keeps it under"),
        ("visa_raw", "pcb/Data/Masks/Anomaly/0.png", "its mask is missing; expected it at"),
        ("visa_raw", "pcb/Data/Images/Normal/0.JPG", "the image is missing; expected it at"),
        ("real_iad", "realiad_1024/jack/OK/S1/0.jpg", "the image is missing; expected it at"),
        ("kolektor_sdd", "kos01/Part0_label.bmp", "Part0_label.bmp is missing beside it"),
        ("kolektor_sdd2", "test/4_GT.png", "4_GT.png is missing beside it"),
        ("mvtec_ad", "nut/train/good/*", "keeps normal training images there"),
        ("manifest", "a/mask.png", "its mask is missing"),
        ("folder", "reference/*", "no normal training image"),
    ],
)
def test_what_is_missing_is_named_with_the_place_it_should_lie_at(layout, gone, said, tmp_path):
    root = TREES[layout](tmp_path / "data")
    for path in list(root.glob(gone)):
        path.unlink()
    found = read_dataset(root, layout)
    assert any(said in str(fault) for fault in found.faults), [str(fault) for fault in found.faults]


@pytest.mark.parametrize("layout", TREES)
def test_an_empty_folder_is_refused_with_the_layout_that_was_expected(layout, tmp_path):
    with pytest.raises(InputError, match=r"expected|keeps"):
        read_dataset(tmp_path, layout)


def test_images_that_are_published_without_labels_are_named_and_left_out(tmp_path):
    root = mvtec_ad_2(tmp_path / "data")
    for name in ("test_private/000.png", "test_private_mixed/000.png"):
        picture(root / "can" / name)
    found = read_dataset(root)
    assert len(found.queries("can")) == 2
    assert [str(fault) for fault in found.faults] == [
        f"can/{name}: 1 images without labels; left out" for name in ("test_private", "test_private_mixed")
    ]


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="one of auto, mvtec_ad"):
        read_dataset(tmp_path, "mvtec")
    with pytest.raises(InputError, match="is no folder"):
        read_dataset(tmp_path / "nothing")


def test_unreadable_boxes_and_columns_are_named(tmp_path):
    root = manifest(tmp_path / "data")
    text = (root / "manifest.csv").read_text()
    (root / "manifest.csv").write_text(text.replace('"[[1, 2, 5, 6]]"', "somewhere"))
    found = read_dataset(root)
    assert "its boxes 'somewhere' cannot be read" in str(found.faults[0])
    (root / "manifest.csv").write_text("file,class\n1,2\n")
    with pytest.raises(InputError, match="expected \\['category'"):
        read_dataset(root)


@pytest.mark.data
def test_the_inspection_images_are_read_without_a_fault(inspection_data):
    found = read_dataset(inspection_data)
    assert (len(found.samples), len(found.categories), found.faults) == (1947, 9, ())
