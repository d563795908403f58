"""Images with named areas, from folders or from an export of a labeling tool; nothing that is left out is left unsaid.

    DIR/<type>/*.jpg              masks as in `datasets.mask_finder`, or no area: then the comparison finds it
    *.json with "images"          COCO: boxes, or polygons
    *.json, a list of tasks       Label Studio: rectangles, polygons, ellipses, and choices for a whole image
    *.yaml with labels/*.txt      YOLO: boxes, oriented boxes and polygons
    *.xml with <annotations>      CVAT for images: boxes, polygons, ellipses, and tags for a whole image

Whatever its shape, an area becomes the upright box around it. An export may say how large an image was when it was
labeled: areas are scaled to the file that is there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reason_iad.datasets.mask_finder import MaskFinder, is_mask_folder, split_masks
from reason_iad.datasets.names import images_below, is_normal, subfolders
from reason_iad.errors import ImageError, InputError
from reason_iad.naming.examples import clean_type
from reason_iad.words import counted

EXPECTED = (
    "a folder with a folder for each type of defect, or an export of COCO (.json), Label Studio (.json), YOLO "
    "(data.yaml) or CVAT for images (.xml)"
)
FloatBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class NamedArea:
    """One defect of an image: its type, and its box in pixels of the image as it was labeled; None where unknown."""

    defect_type: str
    box: FloatBox | None = None


@dataclass(frozen=True)
class NamedImage:
    """One image and its named areas.

    Attributes:
        path: of the image.
        areas: what was named.
        labeled_hw: size of the image that boxes belong to; that of the file where None.
    """

    path: Path
    areas: tuple[NamedArea, ...]
    labeled_hw: tuple[int, int] | None = None


@dataclass(frozen=True)
class Labels:
    """What a folder or an export says.

    Attributes:
        kind: of what, such as "folder" or "COCO".
        images: with at least one named area each.
        notes: what was converted or left out, and what is wrong.
    """

    kind: str
    images: tuple[NamedImage, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of areas by type."""
        return dict(sorted(Counter(area.defect_type for image in self.images for area in image.areas).items()))


@dataclass
class LabelCollector:
    """Gathers what a reader finds: areas by image, and what it could not take, counted by kind."""

    roots: Sequence[Path]
    areas: dict[Path, list[NamedArea]] = field(default_factory=dict)
    sizes: dict[Path, tuple[int, int] | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _counted: Counter[str] = field(default_factory=Counter)
    _missing: list[str] = field(default_factory=list)
    _by_name: dict[str, list[Path]] | None = None

    def image(self, name: str) -> Path | None:
        """The file that an export calls `name`: below a root, or the only one of that name there."""
        plain = name.replace("\\", "/").split("?")[-1].removeprefix("d=") if "?" in name else name.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
        for root in self.roots:
            for start in range(len(parts)):
                path = root.joinpath(*parts[start:])
                if path.is_file():
                    return path
        if self._by_name is None:
            self._by_name = {}
            for root in dict.fromkeys(self.roots):
                for path in images_below(root):
                    self._by_name.setdefault(path.name, []).append(path)
        last = parts[-1] if parts else ""
        # Label Studio puts eight hexadecimal digits before the name of what was uploaded
        for candidate in (last, last.partition("-")[2]):
            found = list(dict.fromkeys(self._by_name.get(candidate, ())))
            if candidate and len(found) == 1:
                return found[0]
        self._missing.append(name)
        return None

    def add(self, path: Path, kind: str, box: FloatBox | None, labeled_hw: tuple[int, int] | None = None) -> None:
        """Add one area; types that mean "good", and names that cannot be one, are left out and counted."""
        if is_normal(kind):
            self.count(f"{{}} called {kind!r}, which is no defect: left out")
            return
        try:
            name = clean_type(kind)
        except InputError as error:
            self.count(f"{{}} left out: {error}")
            return
        if box is not None and not all(math.isfinite(v) for v in box):
            self.count("{} with a number that is not finite: left out")
            return
        self.areas.setdefault(path, []).append(NamedArea(name, box))
        self.sizes.setdefault(path, labeled_hw)

    def count(self, what: str) -> None:
        """Count something that was converted or left out; `{}` in `what` stands for how many areas."""
        self._counted[what] += 1

    def labels(self, kind: str) -> Labels:
        """All that was gathered.

        Raises:
            InputError: there is not a single area of an image that is there.
        """
        notes = [what.format(counted(n, "area")) for what, n in self._counted.items()] + self.notes
        if self._missing:
            names = ", ".join(dict.fromkeys(self._missing[:5]))
            missing = len(dict.fromkeys(self._missing))
            more = f" and {missing - 5} more" if missing > 5 else ""
            notes.append(f"{counted(missing, 'image')} missing beside the export: {names:.300}{more}: left out")
        if not self.areas:
            told = f" ({'; '.join(notes)})" if notes else ""
            raise InputError(f"the {kind} labels name no defect of an image that is there{told}; expected {EXPECTED}")
        found = tuple(NamedImage(path, tuple(areas), self.sizes[path]) for path, areas in self.areas.items())
        return Labels(kind, found, tuple(notes))


def read_labels(source: str | Path) -> Labels:
    """Read a folder of types, or an export.

    Raises:
        InputError: it is neither, it is damaged, or it names nothing.
    """
    path = Path(source)
    if path.is_dir():
        export = find_export(path)
        return read_folder(path) if export is None else _read_export(export)
    if not path.is_file():
        raise InputError(f"{path} does not exist; expected {EXPECTED}")
    return _read_export(path)


def find_export(folder: Path) -> Path | None:
    """The file of labels in a folder that holds an export; None where the folder holds types.

    Raises:
        InputError: there are several, so that it is not plain which one is meant.
    """
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".yaml", ".yml", ".json", ".xml")]
    inner = folder / "annotations"
    if not files and inner.is_dir():
        files = sorted(inner.glob("*.json"))
    if not files and (folder / "labels").is_dir() and any((folder / "labels").rglob("*.txt")):
        raise InputError(
            f"{folder} has YOLO labels and no data.yaml, which names the types; expected it beside labels/"
        )
    if len(files) > 1:
        named = ", ".join(path.name for path in files[:5])
        raise InputError(f"{folder} holds several files of labels ({named}); expected one: name the file itself")
    return files[0] if files else None


def _read_export(path: Path) -> Labels:
    from reason_iad.naming import label_exports

    return label_exports.read_export(path)


def read_folder(folder: Path) -> Labels:
    """Read DIR/<type>/*.jpg, with masks where there are any.

    Raises:
        InputError: no folder of a type holds an image.
    """
    collector = LabelCollector([folder])
    masks = [path for path in subfolders(folder) if is_mask_folder(path)]
    types = [path for path in subfolders(folder) if path not in masks]
    loose = len([path for path in images_below(folder) if path.parent == folder])
    if loose:
        collector.notes.append(
            f"{counted(loose, 'image')} directly in {folder.name}/ lie in no folder of a type: left out"
        )
    images: list[tuple[Path, str]] = []
    beside: list[Path] = []
    for kind in types:
        inner = [path for path in subfolders(kind) if is_mask_folder(path)]
        masks += inner
        found = [path for path in images_below(kind) if not any(mask in path.parents for mask in inner)]
        pictures, lying = split_masks(found)
        images += [(path, kind.name) for path in pictures]
        beside += lying
    finder = MaskFinder([folder], masks, [(path, folder) for path, _ in images])
    for path in beside:
        finder.add_beside(path, folder)
    for path, name in images:
        box = _mask_box(path, finder.find(path, folder), collector.notes.append)
        collector.add(path, name, box)
    return collector.labels("folder")


def _mask_box(image: Path, masks: Sequence[Path], say: Callable[[str], None]) -> FloatBox | None:
    """The box around all that the masks of an image mark; None where there are none, or none can be used."""
    from reason_iad.datasets.masks import join_masks, read_mask

    try:
        readings = [read_mask(path, image) for path in masks]
    except ImageError as error:
        say(str(error))
        return None
    for reading in readings:
        if reading.fault:
            say(f"{image.name}: {reading.fault}")
    marked = join_masks(readings)
    if marked is None or not marked.any():
        return None
    rows, columns = np.nonzero(marked.any(axis=1))[0], np.nonzero(marked.any(axis=0))[0]
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
