"""Labels from folders and exports: what is read, what is converted, and that nothing is left out in silence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_iad.errors import InputError
from reason_iad.naming.describe import fit_box
from reason_iad.naming.labels import read_labels


def picture(path: Path, size: tuple[int, int] = (40, 30), box: tuple[int, int, int, int] | None = None) -> Path:
    """A gray image, or a mask with one bright box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0]), np.uint8) if box else np.full((size[1], size[0]), 90, np.uint8)
    if box:
        pixels[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(pixels).save(path)
    return path


def boxes(labels) -> dict[str, list[tuple[str, tuple[float, ...] | None]]]:
    return {image.path.name: [(area.defect_type, area.box) for area in image.areas] for image in labels.images}


def coco(folder: Path, annotations: list[dict], names: dict[int, str] | None = None, **size: int) -> Path:
    stated = {"width": 40, "height": 30} | size
    found = {
        "images": [{"id": 1, "file_name": "a.png", **stated}, {"id": 2, "file_name": "gone.png", **stated}],
        "categories": [{"id": key, "name": name} for key, name in (names or {1: "scratch", 2: "凹み"}).items()],
        "annotations": annotations,
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(found), "utf-8")
    return path


def test_a_folder_of_types_gives_areas_by_their_masks_or_none(tmp_path):
    picture(tmp_path / "scratch" / "1.png")
    picture(tmp_path / "scratch" / "1_mask.png", box=(5, 6, 15, 9))
    picture(tmp_path / "dent" / "2.png")
    picture(tmp_path / "good" / "3.png")
    picture(tmp_path / "4.png")
    labels = read_labels(tmp_path)
    assert boxes(labels) == {"2.png": [("dent", None)], "1.png": [("scratch", (5.0, 6.0, 15.0, 9.0))]}
    assert any("'good', which is no defect: left out" in note for note in labels.notes)
    assert any("lie in no folder of a type: left out" in note for note in labels.notes)


def test_coco_boxes_and_polygons_are_read_and_missing_images_named(tmp_path):
    picture(tmp_path / "a.png")
    path = coco(
        tmp_path,
        [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 10, 3]},
            {"id": 2, "image_id": 1, "category_id": 2, "segmentation": [[1, 1, 9, 2, 5, 8]]},
            {"id": 3, "image_id": 2, "category_id": 1, "bbox": [0, 0, 5, 5]},
            {"id": 4, "image_id": 1, "category_id": 9, "bbox": [0, 0, 5, 5]},
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": ["x", 0, 5, 5]},
        ],
    )
    labels = read_labels(path)
    assert boxes(labels) == {"a.png": [("scratch", (4.0, 5.0, 14.0, 8.0)), ("凹み", (1.0, 1.0, 9.0, 8.0))]}
    notes = " | ".join(labels.notes)
    assert "1 image missing beside the export: gone.png: left out" in notes
    assert "drawn as polygons: the upright box around each is taken" in notes
    assert "does not list: left out" in notes
    assert "without a box that can be read: left out" in notes


def test_label_studio_percent_and_rotation_become_upright_boxes_in_pixels(tmp_path):
    picture(tmp_path / "b.png", (200, 100))
    value = {"x": 50, "y": 20, "width": 10, "height": 10, "rotation": 90, "rectanglelabels": ["crack"]}
    result = {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value}
    brush = {"type": "brushlabels", "value": {"rle": [1, 2], "brushlabels": ["crack"]}}
    tasks = [{"data": {"image": "/data/upload/1/0a1b2c3d-b.png"}, "annotations": [{"result": [result, brush]}]}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    labels = read_labels(tmp_path)
    kind, box = boxes(labels)["b.png"][0]
    # turned by 90 degrees about (50 %, 20 %): percent of width and height are mixed as the tool itself draws them
    assert kind == "crack"
    assert box is not None
    assert box[2] == pytest.approx(100.0)
    assert box[1] == pytest.approx(20.0)
    assert any("rotated boxes" in note for note in labels.notes)
    assert any("painted with a brush" in note for note in labels.notes)


def test_yolo_boxes_and_oriented_boxes_are_shares_of_the_image(tmp_path):
    picture(tmp_path / "images" / "train" / "c.png", (100, 50))
    (tmp_path / "labels" / "train").mkdir(parents=True)
    lines = "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.3 0.2 0.2 0.4 0.05 0.3\n7 0.5 0.5 0.1 0.1\nnonsense\n"
    (tmp_path / "labels" / "train" / "c.txt").write_text(lines)
    (tmp_path / "data.yaml").write_text("names: [pit, burr]\n")
    labels = read_labels(tmp_path)
    (pit, burr) = labels.images[0].areas
    assert (pit.defect_type, burr.defect_type) == ("pit", "burr")
    assert fit_box(pit.box, labels.images[0].labeled_hw, (50, 100)) == (40, 15, 60, 35)
    assert burr.box == (0.05, 0.1, 0.3, 0.4)
    notes = " | ".join(labels.notes)
    assert "2 areas on lines that are no YOLO label, or of a class without a name: left out" in notes
    assert "rotated boxes" in notes


def test_cvat_shapes_are_read_and_entities_refused(tmp_path):
    picture(tmp_path / "d.png")
    shapes = (
        '<box label="dent" xtl="2" ytl="3" xbr="12" ybr="7" rotation="90"/>'
        '<polygon label="cut" points="1,2;5,9;3,3"/><tag label="stain"/>'
    )
    text = f'<annotations><image name="d.png" width="40" height="30">{shapes}</image></annotations>'
    (tmp_path / "annotations.xml").write_text(text)
    labels = read_labels(tmp_path)
    found = dict(boxes(labels)["d.png"])
    assert found["dent"] == pytest.approx((5.0, 0.0, 9.0, 10.0))
    assert found["cut"] == (1.0, 2.0, 5.0, 9.0)
    assert found["stain"] is None
    (tmp_path / "annotations.xml").write_text(f'<!DOCTYPE a [<!ENTITY b "c">]>{text}')
    with pytest.raises(InputError, match="declares entities"):
        read_labels(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"images": [], "annotations": []}', "[1, 2]"])
def test_what_is_no_export_is_refused_with_what_was_expected(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=r"expected|export it again"):
        read_labels(tmp_path / "x.json")


def test_a_path_outside_the_export_leads_nowhere(tmp_path):
    picture(tmp_path / "secret.png")
    folder = tmp_path / "export"
    folder.mkdir()
    picture(folder / "a.png")
    path = coco(folder, [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 10, 3]}])
    found = json.loads(path.read_text("utf-8"))
    found["images"][0]["file_name"] = "../../../etc/passwd"
    path.write_text(json.dumps(found))
    with pytest.raises(InputError, match="passwd"):
        read_labels(path)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="a folder for each type of defect"):
        read_labels(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "nothing")


def test_boxes_are_cut_at_the_border_and_refused_outside():
    assert fit_box((-10, -10, 5, 5), None, (30, 40)) == (0, 0, 5, 5)
    assert fit_box((41, 0, 60, 5), None, (30, 40)) is None
    assert fit_box((10, 10, 10, 20), None, (30, 40)) is None


def test_an_image_of_the_same_name_in_the_folder_above_is_another_image(tmp_path):
    export = tmp_path / "export"
    export.mkdir()
    picture(export / "a.png")
    (tmp_path / "other").mkdir()
    picture(tmp_path / "other" / "gone.png")
    picture(tmp_path / "gone.png")
    path = coco(
        export,
        [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 5, 10, 3]},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [0, 0, 5, 5]},
        ],
    )
    labels = read_labels(path)
    assert list(boxes(labels)) == ["a.png"]
    assert any("gone.png" in note for note in labels.notes)
