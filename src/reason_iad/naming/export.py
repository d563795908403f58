"""Labels and areas for other tools: COCO, and Label Studio, where unnamed areas come as predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reason_iad.naming.examples import Box

ExportFormat = Literal["coco", "label-studio"]
FORMATS: tuple[ExportFormat, ...] = ("coco", "label-studio")
UNNAMED = "unnamed defect"


@dataclass(frozen=True)
class ExportedArea:
    """One area: what it is called, by whom, and how sure that is.

    Attributes:
        defect_type: its name; None where nothing is sure enough.
        box_xyxy: where it is.
        by_person: whether a person named it.
        score: probability of the name, or strength of the area, in [0, 1].
    """

    defect_type: str | None
    box_xyxy: Box
    by_person: bool
    score: float


@dataclass(frozen=True)
class ExportedImage:
    """One image with its areas; `file` is its name beside the export."""

    file: str
    image_hw: tuple[int, int]
    areas: tuple[ExportedArea, ...]


def as_coco(images: Sequence[ExportedImage]) -> dict[str, Any]:
    """The content of a COCO file: boxes, whether a person named each, and the score of the others."""
    names = sorted({area.defect_type or UNNAMED for image in images for area in image.areas})
    numbers = {name: number for number, name in enumerate(names, 1)}
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        for area in image.areas:
            left, top, right, bottom = area.box_xyxy
            width, height = right - left, bottom - top
            one = {
                "id": len(annotations) + 1, "image_id": image_id, "category_id": numbers[area.defect_type or UNNAMED],
                "bbox": [left, top, width, height], "area": width * height, "iscrowd": 0,
                "attributes": {"by_person": area.by_person},
            }  # fmt: skip
            if not area.by_person:
                one["score"] = round(area.score, 4)
            annotations.append(one)
    return {
        "images": [
            {"id": number, "file_name": image.file, "height": image.image_hw[0], "width": image.image_hw[1]}
            for number, image in enumerate(images, 1)
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
        "annotations": annotations,
    }


def as_label_studio(images: Sequence[ExportedImage]) -> list[dict[str, Any]]:
    """Tasks for Label Studio: what a person named as annotations, the others as predictions to correct."""
    tasks = []
    for image in images:
        named = [_result(area, image, number) for number, area in enumerate(image.areas) if area.by_person]
        others = [area for area in image.areas if not area.by_person]
        task: dict[str, Any] = {"data": {"image": image.file}}
        if named:
            task["annotations"] = [{"result": named}]
        if others:
            found = [_result(area, image, number) for number, area in enumerate(others)]
            task["predictions"] = [{"result": found, "score": round(max(area.score for area in others), 4)}]
        tasks.append(task)
    return tasks


def label_config(images: Sequence[ExportedImage]) -> str:
    """The labeling interface that the tasks belong to."""
    from xml.sax.saxutils import quoteattr

    names = sorted({area.defect_type or UNNAMED for image in images for area in image.areas})
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n'
        f"{labels}  </RectangleLabels>\n</View>\n"
    )


def _result(area: ExportedArea, image: ExportedImage, number: int) -> dict[str, Any]:
    height, width = image.image_hw
    left, top, right, bottom = area.box_xyxy
    return {
        "id": f"area{number}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * left / width, "y": 100 * top / height, "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height, "rotation": 0, "rectanglelabels": [area.defect_type or UNNAMED],
        },
    }  # fmt: skip
