"""From images with named areas to examples: read, place, describe; and the areas of an image where none are given.

An area that nobody marked is the one that differs most from good parts; where no good part is known, what stands out
most in the image itself.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reason_iad.errors import ImageError, InputError
from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.compare import EvidenceMap
from reason_iad.evidence.paired import compare_paired
from reason_iad.evidence.regions import find_regions
from reason_iad.images import LoadedImage, Pixels, at_scale, read_image
from reason_iad.naming.describe import WHOLE_SIDE, describe_areas, fit_box, picture_of
from reason_iad.naming.examples import MOST_PER_TYPE, Box, DefectExample, clean_type, overlap
from reason_iad.naming.labels import Labels, NamedImage
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.evidence.profile import CategoryProfile
    from reason_iad.models.base import VisionTowers

Said = Callable[[int, int, str], None]  # images done, images in all, name of the next one
STANDS_OUT = 0.9  # share of an image's patches that stand out less than its odd areas


@dataclass(frozen=True, eq=False)
class Teacher:
    """What turns images with named areas into examples.

    Attributes:
        vision: the bundled towers.
        profile: of the category, whose good parts images are compared with; None where there is none.
        templates: golden templates by the stem of the image's name; empty where there are none.
    """

    vision: VisionTowers
    profile: CategoryProfile | None = None
    templates: dict[str, Path] | None = None

    def examples(
        self, labels: Labels, notes: list[str], progress: Said | None = None, today: str | None = None
    ) -> tuple[DefectExample, ...]:
        """Describe every named area; what cannot be read or placed is named in `notes` and left out.

        Args:
            labels: images and areas.
            notes: what a person should know is added to them.
            progress: told as images are done.
            today: date of the examples; today's where None.

        Raises:
            InputError: not a single area is left.
        """
        images = _spread(labels.images, notes)
        found: list[DefectExample] = []
        for done, image in enumerate(images):
            if progress is not None:
                progress(done, len(images), image.path.name)
            try:
                found += self._of(image, labels.kind.lower(), today or datetime.date.today().isoformat(), notes)
            except ImageError as error:
                notes.append(str(error))
        if not found:
            raise InputError(
                f"none of {counted(len(images), 'image')} can be used ({'; '.join(notes[:3])}); expected named areas "
                "inside images that can be read"
            )
        return tuple(found)

    def of_boxes(
        self,
        image: LoadedImage,
        named: Sequence[tuple[Box, str]],
        origin: str,
        evidence: EvidenceMap | None,
        today: str | None = None,
    ) -> tuple[DefectExample, ...]:
        """Examples of areas of an image that was read already, each with its type.

        A person draws an area otherwise than a comparison finds it: an example is described both ways.
        """  # fmt: skip
        bank = None if self.profile is None else self.profile.bank
        given = [box for box, _ in named]
        found = _seen_as(given, evidence, image.image_hw)
        boxes = [*given, *(box for box in found if box is not None)]
        template = None if evidence is None else evidence.template
        areas = iter(describe_areas(image.pixels, boxes, self.vision, bank, template))
        drawn = [next(areas).vector for _ in given]
        views = [[one] if box is None else [one, next(areas).vector] for one, box in zip(drawn, found, strict=True)]
        date = today or datetime.date.today().isoformat()
        return tuple(
            DefectExample(
                clean_type(name), image.name, image.sha256, image.image_hw, box, np.stack(view),
                picture_of(image.pixels, box), date, origin,
            )
            for (box, name), view in zip(named, views, strict=True)
        )  # fmt: skip

    def _of(self, image: NamedImage, origin: str, today: str, notes: list[str]) -> tuple[DefectExample, ...]:
        loaded = read_image(image.path)
        loaded = at_scale(loaded, self.profile.scale if self.profile is not None else None)
        if image.labeled_hw is not None and _turned(image.labeled_hw, loaded.image_hw):
            notes.append(
                f"{loaded.name}: the labels are for {image.labeled_hw[1]} x {image.labeled_hw[0]} pixels and the file "
                f"has {loaded.image_hw[1]} x {loaded.image_hw[0]}; expected one shape: left out"
            )
            return ()
        evidence = self._compare(image.path, loaded.pixels)
        named: list[tuple[Box, str]] = []
        for area in image.areas:
            if area.box is None:
                found = (
                    standing_out(loaded.pixels, self.vision)
                    if evidence is None
                    else strongest(evidence, loaded.image_hw)
                )
                named.append((found, area.defect_type))
                continue
            box = fit_box(area.box, image.labeled_hw, loaded.image_hw)
            if box is None:
                notes.append(f"{loaded.name}: a box of {area.defect_type} lies outside the image: left out")
            else:
                if _beyond(area.box, image.labeled_hw or loaded.image_hw):
                    notes.append(f"{loaded.name}: a box of {area.defect_type} reaches outside the image: cut there")
                named.append((box, area.defect_type))
        return self.of_boxes(loaded, named, origin, evidence, today)

    def _compare(self, path: Path, pixels: Pixels) -> EvidenceMap | None:
        """An image beside its own template, else beside the good parts of the profile; None where there are neither."""
        template = (self.templates or {}).get(path.stem.casefold())
        if template is not None:
            return compare_paired(pixels, read_image(template).pixels)
        return None if self.profile is None else self.profile.compare(pixels, self.vision)


def standing_out(pixels: Pixels, vision: VisionTowers) -> Box:
    """The area of an image (H, W, 3) whose patches are least like its middle one; the whole image where none is."""
    from scipy import ndimage

    features = vision.efficientnet([pixels], WHOLE_SIDE)[16][0].cpu().numpy()  # (h, w, C)
    usual = np.median(features.reshape(-1, features.shape[-1]), axis=0)
    distance = ndimage.gaussian_filter(np.linalg.norm(features - usual, axis=-1), 1.0)
    heat = np.clip(distance - np.quantile(distance, STANDS_OUT), 0, None).astype(np.float32)
    return _largest(heat, (pixels.shape[0], pixels.shape[1]))


def find_templates(folder: str | Path) -> dict[str, Path]:
    """Golden templates of a folder, by the stem of the image that each belongs to.

    Raises:
        InputError: there is none, or two have one stem.
    """
    from reason_iad.images import find_images

    found: dict[str, Path] = {}
    for path in find_images(folder):
        stem = path.stem.casefold()
        if stem in found:
            raise InputError(f"{found[stem]} and {path} have one name; expected one template for each image")
        found[stem] = path
    return found


def strongest(evidence: EvidenceMap, image_hw: tuple[int, int]) -> Box:
    """The area that differs most from good parts, significant or not; the whole image where nothing differs."""
    return _largest(evidence.heat, image_hw)


def _largest(heat: Array, image_hw: tuple[int, int]) -> Box:
    found = find_regions(heat, heat, image_hw, max_regions=1) if heat.max() > 0 else ()
    return found[0].box_xyxy if found else (0, 0, image_hw[1], image_hw[0])


def _seen_as(given: Sequence[Box], evidence: EvidenceMap | None, image_hw: tuple[int, int]) -> list[Box | None]:
    """For each box the area by which a comparison finds it; None where it finds none, or the very same."""
    if evidence is None:
        return [None] * len(given)
    regions = find_regions(evidence.heat, evidence.anomaly_map, image_hw, max_regions=20)
    seen: list[Box | None] = []
    for box in given:
        best, area = max(((overlap(box, region.box_xyxy), region.box_xyxy) for region in regions), default=(0.0, box))
        seen.append(area if 0 < best < 1 else None)
    return seen


def _spread(images: Sequence[NamedImage], notes: list[str]) -> list[NamedImage]:
    """Images such that no type has more than `MOST_PER_TYPE` areas, spread evenly over those there are."""
    counts: dict[str, int] = {}
    for area in (area for image in images for area in image.areas):
        counts[area.defect_type] = counts.get(area.defect_type, 0) + 1
    too_many = {name: count for name, count in counts.items() if count > MOST_PER_TYPE}
    if not too_many:
        return list(images)
    for name, count in too_many.items():
        notes.append(f"{name}: {count:,} areas; {MOST_PER_TYPE} of them, spread evenly, are learned from")
    seen: dict[str, int] = {}

    def wanted(name: str) -> bool:
        at, total = seen.get(name, 0), counts[name]
        seen[name] = at + 1
        return total <= MOST_PER_TYPE or at * MOST_PER_TYPE // total != (at - 1) * MOST_PER_TYPE // total

    kept = []
    for image in images:
        areas = tuple(area for area in image.areas if wanted(area.defect_type))
        if areas:
            kept.append(NamedImage(image.path, areas, image.labeled_hw))
    return kept


def _turned(labeled: tuple[int, int], image_hw: tuple[int, int]) -> bool:
    """Whether labels belong to an image of another shape, as before it was turned; shares of an image fit any."""
    if labeled in ((1, 1), (100, 100)):
        return False
    one, other = labeled[0] / labeled[1], image_hw[0] / image_hw[1]
    return abs(one / other - 1) > 0.05


def _beyond(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    slack = 0.01 * max(size)
    return min(box[0], box[1]) < -slack or box[2] > size[1] + slack or box[3] > size[0] + slack
