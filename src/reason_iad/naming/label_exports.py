"""Readers of the exports of labeling tools; `labels` says what is read of each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reason_iad.errors import InputError
from reason_iad.naming.labels import EXPECTED, FloatBox, LabelCollector, Labels

MAX_BYTES = 500_000_000
_ROTATED = "{} drawn as rotated boxes: the upright box around each is taken"
_POLYGON = "{} drawn as polygons: the upright box around each is taken"
_ELLIPSE = "{} drawn as ellipses: the upright box around each is taken"
_BRUSH = "{} painted with a brush, which this export keeps compressed: left out; export them as COCO"
_WHOLE = "{} name a whole image: the comparison finds the area"


def read_export(path: Path) -> Labels:
    """Read one file of labels, whatever tool wrote it.

    Raises:
        InputError: it is damaged, of no known tool, or names nothing.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read: split it")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected {EXPECTED}") from error
    suffix = path.suffix.lower()
    if suffix == ".xml":
        return _read_cvat(path, text)
    if suffix in (".yaml", ".yml"):
        return _read_yolo(path, text)
    if suffix == ".json":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not JSON ({error}); export it again") from error
        if isinstance(found, dict) and isinstance(found.get("images"), list):
            return _read_coco(path, found)
        if isinstance(found, list) and all(isinstance(task, dict) for task in found):
            return _read_label_studio(path, found)
    raise InputError(f"{path} is no export that can be read; expected {EXPECTED}")


def around(points: Iterable[tuple[float, float]]) -> FloatBox:
    """The upright box around points (x, y)."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def around_rotated(x: float, y: float, width: float, height: float, degrees: float) -> FloatBox:
    """The upright box around one that is turned clockwise about its top left corner.

    >>> [round(v) for v in around_rotated(10, 10, 4, 2, 90)]
    [8, 10, 10, 14]
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
    return around((x + u * cos - v * sin, y + u * sin + v * cos) for u, v in corners)


def _roots(path: Path) -> list[Path]:
    """Where the images of an export lie: beside it, in images/, or beside its folder."""
    beside = path.parent
    # COCO keeps its file in a folder of its own. The folder above any other is somebody else's: an image of the same
    # name there is another image.
    above = [beside.parent] if beside.name.lower() in ("annotations", "labels") else []
    return [root for root in (beside, beside / "images", *above) if root.is_dir()]


def _number(value: Any) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _size(record: dict[str, Any], width: str = "width", height: str = "height") -> tuple[int, int] | None:
    """The size (height, width) that an export says an image has; None where it does not."""
    try:
        found = int(_number(record[height])), int(_number(record[width]))
    except (KeyError, ValueError, OverflowError):
        return None
    return found if min(found) > 0 else None


def _read_coco(path: Path, found: dict[str, Any]) -> Labels:
    collector = LabelCollector(_roots(path))
    names = {one.get("id"): str(one.get("name")) for one in found.get("categories") or [] if isinstance(one, dict)}
    images = {one.get("id"): one for one in found["images"] if isinstance(one, dict)}
    files: dict[Any, Path | None] = {}
    for one in found.get("annotations") or []:
        image = images.get(one.get("image_id")) if isinstance(one, dict) else None
        if image is None or one.get("category_id") not in names:
            collector.count("{} of an image or a category that the file does not list: left out")
            continue
        key = one["image_id"]
        if key not in files:
            files[key] = collector.image(str(image.get("file_name", "")))
        file = files[key]
        if file is None:
            continue
        try:
            box = _coco_box(one, collector)
        except (ValueError, TypeError, IndexError):
            collector.count("{} without a box that can be read: left out")
            continue
        collector.add(file, names[one["category_id"]], box, _size(image))
    return collector.labels("COCO")


def _coco_box(one: dict[str, Any], collector: LabelCollector) -> FloatBox:
    """The box of one annotation; of a polygon the box around it."""
    rotation = (one.get("attributes") or {}).get("rotation") or 0
    given = one.get("bbox")
    if given:
        x, y, width, height = (_number(v) for v in given[:4])
        if _number(rotation) % 360:
            collector.count(_ROTATED)
            middle = x + width / 2, y + height / 2
            return _about(middle, width, height, _number(rotation))
        return x, y, x + width, y + height
    points = [_number(v) for part in one["segmentation"] for v in part]
    collector.count(_POLYGON)
    return around(zip(points[::2], points[1::2], strict=True))


def _about(middle: tuple[float, float], width: float, height: float, degrees: float) -> FloatBox:
    """The upright box around one that is turned about its middle."""
    cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    half = (width * cos + height * sin) / 2, (width * sin + height * cos) / 2
    return middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]


def _read_label_studio(path: Path, tasks: Sequence[dict[str, Any]]) -> Labels:
    collector = LabelCollector(_roots(path))
    for task in tasks:
        data = task.get("data")
        values = [v for v in data.values() if isinstance(v, str)] if isinstance(data, dict) else []
        name = next((v for v in values if "." in v.rsplit("/", 1)[-1]), None) or str(task.get("file_upload") or "")
        done = [one for one in task.get("annotations") or [] if isinstance(one, dict) and not one.get("was_cancelled")]
        results = [one for each in done[-1:] for one in each.get("result") or [] if isinstance(one, dict)]
        if not results:
            collector.count("tasks without an annotation ({}): left out")
            continue
        file = collector.image(name)
        if file is not None:
            for one in results:
                _add_result(file, one, collector)
    return collector.labels("Label Studio")


def _add_result(file: Path, one: dict[str, Any], collector: LabelCollector) -> None:
    """Add one result of a Label Studio task; its numbers are percent of the image."""
    value = one.get("value")
    if not isinstance(value, dict):
        return
    names = value.get("choices") or value.get(str(one.get("type"))) or []
    if "rle" in value:
        collector.count(_BRUSH)
        return
    if not names or not isinstance(names, list):
        return
    size = _size(one, "original_width", "original_height")
    if value.get("choices"):
        collector.count(_WHOLE)
        for name in names:
            collector.add(file, str(name), None, size)
        return
    try:
        box = _percent_box(value, collector)
    except (ValueError, TypeError, KeyError):
        collector.count("{} without a box that can be read: left out")
        return
    width, height = (size[1], size[0]) if size else (100, 100)
    scaled = box[0] * width / 100, box[1] * height / 100, box[2] * width / 100, box[3] * height / 100
    for name in names:
        collector.add(file, str(name), scaled, size or (100, 100))


def _percent_box(value: dict[str, Any], collector: LabelCollector) -> FloatBox:
    """The box of a rectangle, polygon or ellipse, in percent."""
    if "points" in value:
        collector.count(_POLYGON)
        return around((_number(x), _number(y)) for x, y in value["points"])
    x, y = _number(value["x"]), _number(value["y"])
    rotation = _number(value.get("rotation") or 0)
    if "radiusX" in value:
        collector.count(_ELLIPSE)
        return _about((x, y), 2 * _number(value["radiusX"]), 2 * _number(value["radiusY"]), rotation)
    width, height = _number(value["width"]), _number(value["height"])
    if rotation % 360:
        collector.count(_ROTATED)
        return around_rotated(x, y, width, height, rotation)
    return x, y, x + width, y + height


def _read_yolo(path: Path, text: str) -> Labels:
    names = _yolo_names(path, text)
    root = path.parent
    collector = LabelCollector([root, root / "images"])
    for file in sorted(root.rglob("*.txt")):
        if "labels" not in file.relative_to(root).parts[:-1]:
            continue
        lines = [
            line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        image = _yolo_image(file, collector) if lines else None
        for fields in lines if image is not None else ():
            try:
                number, values = int(fields[0]), [_number(v) for v in fields[1:]]
                kind, box = names[number], _yolo_box(values, collector)
            except (ValueError, KeyError):
                collector.count("{} on lines that are no YOLO label, or of a class without a name: left out")
                continue
            assert image is not None
            collector.add(image, kind, (box[0], box[1], box[2], box[3]), (1, 1))
    return collector.labels("YOLO")


def _yolo_image(file: Path, collector: LabelCollector) -> Path | None:
    """The image of a file of labels: of the same stem, in images/ where that is in labels/, or beside it."""
    from reason_iad.images import readable_suffixes

    parts = list(file.parts)
    at = len(parts) - 1 - parts[::-1].index("labels")
    for folder in (Path(*parts[:at], "images", *parts[at + 1 : -1]), file.parent, Path(*parts[:at])):
        for suffix in sorted(readable_suffixes()):
            for spelled in (suffix, suffix.upper()):
                if (path := folder / f"{file.stem}{spelled}").is_file():
                    return path
    return collector.image(f"{file.stem}.jpg")


def _yolo_names(path: Path, text: str) -> dict[int, str]:
    """Names of the classes, by number."""
    import yaml

    try:
        found = yaml.safe_load(text)
        names = found["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} names no classes ({error!r:.200}); expected `names:` as YOLO writes it") from error


def _yolo_box(values: Sequence[float], collector: LabelCollector) -> FloatBox:
    """The box of one line without its class, in shares of the image: a box, an oriented box, or a polygon.

    Raises:
        ValueError: another count of numbers.
    """
    if len(values) in (4, 5):  # the fifth is a score
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers")
    collector.count(_ROTATED if len(values) == 8 else _POLYGON)
    return around(zip(values[::2], values[1::2], strict=True))


def _read_cvat(path: Path, text: str) -> Labels:
    from xml.etree import ElementTree

    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        raise InputError(f"{path} declares entities; expected the XML of CVAT for images, which has none")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - entities are refused above
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML ({error}); export it again as CVAT for images") from error
    collector = LabelCollector(_roots(path))
    for image in root.iter("image"):
        shapes = [one for one in image if one.get("label")]
        file = collector.image(image.get("name", "")) if shapes else None
        for one in shapes if file is not None else ():
            assert file is not None
            size = _size(dict(image.attrib))
            try:
                box = _cvat_box(one.tag, one.attrib, collector)
            except (ValueError, KeyError):
                collector.count("{} without a box that can be read: left out")
                continue
            collector.add(file, one.get("label", ""), box, size)
    return collector.labels("CVAT")


def _cvat_box(tag: str, given: dict[str, str], collector: LabelCollector) -> FloatBox | None:
    """The box of one shape; None of a tag, which is about the whole image.

    Raises:
        ValueError, KeyError: a shape without one.
    """
    if tag == "tag":
        collector.count(_WHOLE)
        return None
    rotation = _number(given.get("rotation", 0))
    if tag == "ellipse":
        collector.count(_ELLIPSE)
        middle = _number(given["cx"]), _number(given["cy"])
        return _about(middle, 2 * _number(given["rx"]), 2 * _number(given["ry"]), rotation)
    if tag == "box":
        x0, y0, x1, y1 = (_number(given[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
        if rotation % 360:
            collector.count(_ROTATED)
            return _about(((x0 + x1) / 2, (y0 + y1) / 2), x1 - x0, y1 - y0, rotation)
        return x0, y0, x1, y1
    if tag == "mask":
        x, y = _number(given["left"]), _number(given["top"])
        return x, y, x + _number(given["width"]), y + _number(given["height"])
    if tag in ("polygon", "polyline"):
        collector.count(_POLYGON)
        pairs = [point.split(",") for point in given["points"].split(";")]
        return around((_number(x), _number(y)) for x, y in pairs)
    raise ValueError(tag)
