"""Data sets with folders for categories, splits and defect types, as published data sets and people lay them out.

What each folder is, is told from its name in any spelling (`names`); images may lie in folders below. `train/` and
`test/` may stand in each category, or above the categories. What everything was taken for is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.datasets.base import Fault, ImageDataset, ImageSample, refuse_empty, relative_name
from reason_iad.datasets.mask_finder import MaskFinder, is_mask_folder, split_masks
from reason_iad.datasets.names import (
    MASKS,
    TEST,
    TRAINING,
    UNLABELED,
    VALIDATION,
    child,
    images_below,
    is_normal,
    plain,
    subfolders,
)

DEPTH = 3  # folders between the root and a category at most


@dataclass(frozen=True)
class FolderLayout:
    """How a published data set names its folders; for what is said, and for what differs.

    Attributes:
        name: of the data set.
        normal: what its folder of normal images is called.
        masks: where the mask of an image lies, in words.
        test: its folder of test images.
        validation: whether normal images of `validation/` are references, too.
    """

    name: str
    normal: str = "good"
    masks: str = "ground_truth/<defect_type>/<image>_mask.png"
    test: str = "test"
    validation: bool = False

    @property
    def expected(self) -> str:
        """What lies where, in words."""
        return (
            f"<category>/train/{self.normal}/ with normal images, <category>/{self.test}/{self.normal}/ and "
            f"<category>/{self.test}/<defect_type>/ with test images, <category>/{self.masks} with masks"
        )


SAME_STEM = "ground_truth/<defect_type>/<image>.png"
SEVERAL = "ground_truth/<defect_type>/<image>/000.png"
MVTEC_AD = FolderLayout("MVTec AD")
MPDD = FolderLayout("MPDD")
MVTEC_LOCO = FolderLayout("MVTec LOCO", masks=SEVERAL, validation=True)
MVTEC_AD_2 = FolderLayout("MVTec AD 2", masks="test_public/ground_truth/bad/<image>_mask.png", test="test_public")
AUTOVI = FolderLayout("AutoVI", masks="ground_truth/<defect_type>/<image>/0000.png")
BTAD = FolderLayout("BTAD", normal="ok", masks=SAME_STEM)
GOODS_AD = FolderLayout("GoodsAD", masks=SAME_STEM)
VISA = FolderLayout("VisA (1-class layout)", masks=SAME_STEM)


@dataclass
class Category:
    """The folders of one category, and what was found in them."""

    name: str
    folder: Path
    training: list[Path] = field(default_factory=list)
    tests: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)


def read_folders(root: Path, layout: FolderLayout) -> ImageDataset:
    """Read a data set with a folder for each category; `root` may also be the folder of one category.

    Raises:
        InputError: there is no image where the layout keeps them.
    """
    return _read(root, find_categories(root), layout)


def read_plain(root: Path) -> ImageDataset:
    """Read plain folders: good parts, and a folder for each defect type, of one category or of many.

    Normal training images lie in `train/`, `train/good/` or `reference/`; masks, where there are any, in
    `masks/<defect_type>/` or `ground_truth/<defect_type>/`, or beside their image.

    Raises:
        InputError: there is no such folder with images.
    """
    categories = find_categories(root) or [_category(root.name, root)]
    found = _read(root, categories, None)
    tests = [sample for sample in found.samples if sample.split == "test"]
    refuse_empty("a plain folder", root, tests, "good/ with normal images and a folder for each defect type")
    return ImageDataset(root.name, found.samples, found.faults, found.taken)


def find_categories(root: Path) -> list[Category]:
    """Categories below a folder: those that hold `train/`, `test/` or a folder of good parts."""
    above = _above_categories(root)
    if above:
        return above
    if _is_category(root):
        return [_category(root.name, root)]
    found = list(_search(root, DEPTH))
    names, parents = Counter(path.name for path in found), Counter(path.parent for path in found)
    categories = []
    for path in found:
        one = _category(path.name if names[path.name] == 1 else path.relative_to(root).as_posix(), path)
        for masks in child(path.parent, MASKS):  # beside the category
            own = masks / path.name
            if own.is_dir() or parents[path.parent] == 1:
                one.masks.append(own if own.is_dir() else masks)
        categories.append(one)
    return categories


def _search(folder: Path, depth: int) -> Iterator[Path]:
    for one in subfolders(folder):
        if _is_category(one):
            yield one
        elif depth > 1 and not is_mask_folder(one):
            yield from _search(one, depth - 1)


def _is_category(folder: Path) -> bool:
    names = {plain(one.name) for one in subfolders(folder)}
    return bool(names & (TRAINING | TEST)) or any(is_normal(name) for name in names)


def _above_categories(root: Path) -> list[Category]:
    """Categories where `train/` and `test/` stand above them: they hold folders of categories, none of them good."""
    tests = child(root, TEST)
    training = child(root, TRAINING)
    kinds = [one for folder in tests for one in subfolders(folder) if not is_mask_folder(one)]
    grouped = [one for one in kinds if any(is_normal(below.name) for below in subfolders(one))]
    if not kinds or len(grouped) < len(kinds) or any(is_normal(one.name) for one in kinds):
        return []
    found: dict[str, Category] = {}
    for kind in kinds:
        found.setdefault(kind.name, Category(kind.name, root)).tests.append(kind)
    for role, folders in (("training", training), ("masks", child(root, MASKS))):
        for folder in folders:
            for one in subfolders(folder):
                if one.name in found:
                    getattr(found[one.name], role).append(one)
    return list(found.values())


def _category(name: str, folder: Path) -> Category:
    tests = list(child(folder, TEST))
    training = list(child(folder, TRAINING))
    aside = TRAINING | VALIDATION | TEST | UNLABELED
    masks = [one for one in _folders_of_masks(folder) if not any(test in one.parents for test in training)]
    if not tests:
        kinds = [one for one in subfolders(folder) if plain(one.name) not in aside and not is_mask_folder(one)]
        tests = [folder] if kinds else []
    return Category(name, folder, training, tests, masks)


def _folders_of_masks(folder: Path, depth: int = 3) -> Iterator[Path]:
    for one in subfolders(folder):
        if is_mask_folder(one):
            yield one
        elif depth > 1:
            yield from _folders_of_masks(one, depth - 1)


def _read(root: Path, categories: list[Category], layout: FolderLayout | None) -> ImageDataset:
    samples: list[ImageSample] = []
    faults: list[Fault] = []
    taken: list[str] = []
    for category in categories:
        alone = layout is not None and category.folder == root and root.name == category.name
        base = root.parent if alone else root
        reader = _CategoryReader(base, category, layout, faults)
        references, tests = reader.training(), reader.tests()
        samples += [*references, *tests]
        taken.append(_in_words(category.name, references, tests))
    if layout is not None:
        refuse_empty(layout.name, root, samples, layout.expected)
    return ImageDataset(root.name if layout is None else layout.name, tuple(samples), tuple(faults), tuple(taken))


def _in_words(name: str, references: list[ImageSample], tests: list[ImageSample]) -> str:
    kinds = Counter(sample.defect_type or "" for sample in tests if sample.defective)
    shown = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    masked = sum(bool(sample.masks) for sample in tests)
    normal = len(tests) - kinds.total()
    folders = sorted({Path(sample.name).parent.name for sample in tests if not sample.defective})
    return (
        f"{name}: {len(references)} references; {normal} normal test images"
        + (f" (folder {', '.join(folders)})" if folders else "")
        + f", {kinds.total()} defective ({shown or 'none'}), {masked} with masks"
    )


class _CategoryReader:
    """Reads the images of one category, and says what is missing or was left out."""

    def __init__(self, base: Path, category: Category, layout: FolderLayout | None, faults: list[Fault]) -> None:
        self._base, self._category, self._layout, self._faults = base, category, layout, faults

    def training(self) -> list[ImageSample]:
        """Normal images that others are compared with."""
        category, layout = self._category, self._layout
        folders = list(category.training)
        if layout is not None and layout.validation:
            folders += child(category.folder, VALIDATION)
        found: list[Path] = []
        for folder in folders:
            goods = [one for one in subfolders(folder) if is_normal(one.name)]
            others = [one for one in subfolders(folder) if one not in goods and not is_mask_folder(one)]
            labeled = bool(goods)
            for one in goods if labeled else [folder]:
                found += split_masks(images_below(one))[0]
            for one in others if labeled else ():
                count = len(images_below(one))
                name = relative_name(one, self._base)
                self._faults.append(Fault(name, f"{count} training images that are not good; they are no references"))
        if not found:
            if layout is None:
                where = category.folder / "reference"
                self._faults.append(Fault(category.name, f"no normal training image; put some into {where}"))
            else:
                where = category.folder / "train" / layout.normal
                self._faults.append(
                    Fault(category.name, f"{where} holds no image; {layout.name} keeps normal training images there")
                )
        return [self._sample(path, "train", None, ()) for path in found]

    def tests(self) -> list[ImageSample]:
        """Test images with their labels and masks."""
        category, layout = self._category, self._layout
        if not category.tests:
            name = "the layout" if layout is None else layout.name
            where = category.folder / ("test" if layout is None else layout.test)
            self._faults.append(Fault(category.name, f"{where} holds no folder; {name} keeps test images there"))
        listed: list[tuple[Path, Path, str | None]] = []  # image, test folder, defect type
        beside: list[tuple[Path, Path]] = []
        for test in category.tests:
            for folder, kind in self._kinds(test, test):
                images, marked = split_masks(_without_masks(images_below(folder), folder))
                listed += [(path, test, kind) for path in images]
                beside += [(path, test) for path in marked]
            loose = [path for path in images_below(test) if path.parent == test]
            if loose and test != category.folder:
                what = f"{len(loose)} images lie in no folder that says what they are; left out: {loose[0].name}"
                self._faults.append(Fault(relative_name(test, self._base), what))
        for one in child(category.folder, UNLABELED):
            count = len(images_below(one))
            self._faults.append(Fault(relative_name(one, self._base), f"{count} images without labels; left out"))
        defective = [(path, test) for path, test, kind in listed if kind is not None]
        finder = MaskFinder(category.tests, category.masks, defective)
        for path, test in beside:
            finder.add_beside(path, test)
        samples = []
        for path, test, kind in listed:
            masks: tuple[Path, ...] = () if kind is None else finder.find(path, test)
            if kind is not None and not masks and self._expects_masks(finder):
                self._faults.append(Fault(relative_name(path, self._base), self._missing_mask(kind)))
            samples.append(self._sample(path, "test", kind, masks))
        return samples

    def _kinds(self, folder: Path, test: Path) -> Iterator[tuple[Path, str | None]]:
        """Folders of one label each; those that only group others are looked into."""
        aside = TRAINING | VALIDATION | TEST | UNLABELED
        for one in subfolders(folder):
            if is_mask_folder(one) or (folder == self._category.folder and plain(one.name) in aside):
                continue
            if is_normal(one.name):
                yield one, None
            elif any(is_normal(below.name) for below in subfolders(one)):
                yield from self._kinds(one, test)
            else:
                yield one, one.name

    def _expects_masks(self, finder: MaskFinder) -> bool:
        return self._layout is not None or bool(self._category.masks) or finder.holds_any

    def _missing_mask(self, kind: str) -> str:
        if self._layout is None:
            return f"its mask is missing; expected one named like it below {self._category.folder}"
        where = self._category.folder / self._layout.masks.partition("/<image>")[0].replace("<defect_type>", kind)
        return f"its mask is missing; {self._layout.name} keeps it under {where}"

    def _sample(self, path: Path, split: str, kind: str | None, masks: tuple[Path, ...]) -> ImageSample:
        name = relative_name(path, self._base)
        said = "a reference" if split == "train" else "normal" if kind is None else f"defective, {kind}"
        return ImageSample(
            path, name, self._category.name, "train" if split == "train" else "test", kind is not None, kind, masks,
            taken=f"{said}, by its folder {path.parent.name}",
        )  # fmt: skip


def _without_masks(paths: list[Path], root: Path) -> list[Path]:
    """Paths that lie in no folder of masks below `root`."""
    return [path for path in paths if not any(plain(part) in MASKS for part in path.relative_to(root).parts[:-1])]
