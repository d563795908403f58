"""Which mask belongs to which image, whatever the folders and names are.

A mask has the stem of its image, perhaps with `_mask` or the like behind it. It lies beside the image or in a folder
of masks: there in the same folders as the image, in fewer of them, or in a folder named like the image. Where two
images could own it, it is given to neither.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from reason_iad.datasets.names import MASKS, bare_stem, images_below, masked_stem, plain

Place = tuple[tuple[str, ...], str]  # folders below the test folder, without case, and the stem


class MaskFinder:
    """The masks of one category."""

    def __init__(self, tests: Sequence[Path], masks: Sequence[Path], images: Sequence[tuple[Path, Path]]) -> None:
        """Index all masks.

        Args:
            tests: folders that hold test images.
            masks: folders that hold masks alone.
            images: defective images, each with the test folder that it lies in.
        """
        self._by_place: dict[Place, list[Path]] = defaultdict(list)
        self._in_folder: dict[tuple[str, ...], list[Path]] = defaultdict(list)
        self._owners: Counter[Place] = Counter()
        for root in masks:
            above = next((_parts(root.parent, test) for test in tests if _is_below(root.parent, test)), ())
            for path in images_below(root):
                self._add((*above, *_parts(path.parent, root)), path)
        for image, test in images:
            folders, stem = _parts(image.parent, test), bare_stem(image)
            for depth in range(len(folders) + 1):
                self._owners[folders[:depth], stem] += 1

    @property
    def holds_any(self) -> bool:
        """Whether there is any mask at all."""
        return bool(self._by_place)

    def add_beside(self, path: Path, test: Path) -> None:
        """Index a mask that lies among the images."""
        self._add(_parts(path.parent, test), path)

    def find(self, image: Path, test: Path) -> tuple[Path, ...]:
        """The masks of an image; empty where none is its own."""
        folders, stem = _parts(image.parent, test), bare_stem(image)
        exact = [path for path in self._by_place.get((folders, stem), ()) if path != image]
        if exact:
            return tuple(_best(exact, image))
        if several := self._in_folder.get((*folders, stem)):
            return tuple(sorted(several))
        for depth in range(len(folders) - 1, -1, -1):
            place = (folders[:depth], stem)
            if self._owners[place] == 1 and (found := self._by_place.get(place)):
                return tuple(_best(found, image))
        return ()

    def _add(self, folders: tuple[str, ...], path: Path) -> None:
        self._by_place[folders, bare_stem(path)].append(path)
        if folders:
            self._in_folder[folders].append(path)


def split_masks(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images, and masks that lie among them: in a folder of masks, or named like one beside the image it is of."""
    stems = {(path.parent, path.stem.casefold()) for path in paths}
    images: list[Path] = []
    masks: list[Path] = []
    for path in paths:
        of = masked_stem(path.stem)
        beside = of is not None and (path.parent, of.casefold()) in stems
        (masks if beside else images).append(path)
    return images, masks


def is_mask_folder(path: Path) -> bool:
    """Whether a folder's name says that it holds masks."""
    return plain(path.name) in MASKS


def _best(found: Sequence[Path], image: Path) -> list[Path]:
    """Of masks with one stem, one: named as a mask, of PNG before others."""
    ordered = sorted(found, key=lambda path: (masked_stem(path.stem) is None, path.suffix.lower() != ".png", path))
    return [path for path in ordered if path != image][:1]


def _parts(folder: Path, root: Path) -> tuple[str, ...]:
    return tuple(part.casefold() for part in folder.relative_to(root).parts)


def _is_below(folder: Path, root: Path) -> bool:
    return folder == root or root in folder.parents
