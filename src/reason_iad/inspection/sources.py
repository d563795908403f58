"""Where the evidence about an image comes from: nothing, a learned profile, a set of good parts, or a golden template.

One role, four forms: `EvidenceSources.choose` picks the form, and its `look` says what was found, with what it was
compared, and what that can promise.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reason_iad.errors import EvidenceError
from reason_iad.evidence.backbones import streams_of
from reason_iad.evidence.compare import EvidenceMap, compare
from reason_iad.evidence.conformal import describe_promise, normals_needed
from reason_iad.evidence.features import DEFAULT_STREAMS, FAST_STREAMS, EvidenceOptions
from reason_iad.evidence.lot import compare_lot
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.paired import compare_paired, is_template
from reason_iad.evidence.profile import CategoryProfile
from reason_iad.evidence.profile_store import find_profile
from reason_iad.evidence.threshold import read_threshold
from reason_iad.images import LoadedImage, Pixels, Scale, resize, shared_scale
from reason_iad.inspection.nearest import Compared
from reason_iad.inspection.options import USUAL_OVERKILL, InspectorOptions
from reason_iad.models.base import VisionTowers
from reason_iad.words import counted

PAIRED_NOTE = "The reference shows this very object, so the image was compared with it pixel by pixel."
NO_REFERENCES_NOTE = (
    "No normal references were given, so nothing was compared; "
    "the verdict rests on the model alone. Add --reference with images of good parts."
)
LOT_NOTE = (
    "No known good part was given: the images of the lot were compared with each other. "
    "A defect that many of them share cannot be seen that way."
)
MAX_BANKS = 64
HOLD_OUT_FROM = 20  # references from which every second one checks the false-alarm rate instead of being compared with
MAX_SHOWN = 4  # references of a profile that a report shows

BankFinder = Callable[[Sequence[Pixels], EvidenceOptions], "MemoryBank | None"]  # a bank built elsewhere, if it was


@dataclass(frozen=True, eq=False)
class Finding:
    """What one source says about one image.

    Attributes:
        evidence: what differs from good parts; None where nothing was compared.
        compared: the memory bank and the images behind it, where there is a bank.
        references: good parts that the report and the model may show.
        notes: what a person should know about the comparison.
    """

    evidence: EvidenceMap | None
    compared: Compared | None
    references: tuple[Pixels, ...]
    notes: tuple[str, ...]


class EvidenceSource(Protocol):
    """Compares images with what is known to be good."""

    @property
    def scale(self) -> Scale | None:
        """The range of values by which the good parts were read, and the image is; None where any will do."""
        ...

    @property
    def rate(self) -> float:
        """Share of good parts that may be called defective."""
        ...

    def look(self, image: LoadedImage) -> Finding:
        """Compare one image."""
        ...


@dataclass(frozen=True)
class NoEvidence:
    """Nothing is compared: no references were given, or the comparison is switched off."""

    rate: float
    references: tuple[Pixels, ...] = ()  # shown to a model that reads pictures, though nothing is compared
    switched_off: bool = False
    scale: Scale | None = None

    def look(self, image: LoadedImage) -> Finding:
        """Find nothing, and say so where it was not asked for."""
        silent = self.switched_off or self.references
        return Finding(None, None, self.references, () if silent else (NO_REFERENCES_NOTE,))


@dataclass(frozen=True, eq=False)
class ProfileEvidence:
    """A profile that was learned from good parts of the category."""

    profile: CategoryProfile
    vision: VisionTowers
    rate: float
    notes: tuple[str, ...] = ()  # who set the rate

    @property
    def scale(self) -> Scale | None:
        """Of the profile."""
        return self.profile.scale

    def look(self, image: LoadedImage) -> Finding:
        """Compare one image with the profile's good parts."""
        profile = self.profile
        evidence = profile.compare(image.pixels, self.vision)
        said = (*profile.warnings, *self.notes, profile.verdict(evidence, self.rate).promise + ".")
        notes = tuple(f"Learned category {profile.category}: {note}" for note in said)
        shown = tuple(member.preview for member in profile.references[:MAX_SHOWN])
        compared = Compared(profile.bank, tuple(profile.references))
        return Finding(evidence, compared, shown, notes)


@dataclass(frozen=True, eq=False)
class PairedEvidence:
    """A golden template: the one reference shows this very object."""

    reference: LoadedImage
    rate: float

    @property
    def scale(self) -> Scale | None:
        """Of the template."""
        return self.reference.scale

    def look(self, image: LoadedImage) -> Finding:
        """Register the image to its template and compare them place by place."""
        evidence = compare_paired(image.pixels, self.reference.pixels)
        return Finding(evidence, None, (self.reference.pixels,), (PAIRED_NOTE,))


@dataclass(frozen=True, eq=False)
class SetEvidence:
    """A set of good parts; from `HOLD_OUT_FROM` on, every second one checks the false-alarm rate."""

    bank: MemoryBank
    references: tuple[LoadedImage, ...]
    vision: VisionTowers
    rate: float

    @property
    def scale(self) -> Scale | None:
        """Of the set, whose images were read alike."""
        return shared_scale(reference.scale for reference in self.references)

    def look(self, image: LoadedImage) -> Finding:
        """Compare one image with the set."""
        bank, pixels = self.bank, tuple(reference.pixels for reference in self.references)
        evidence = compare(image.pixels, bank, self.vision)
        compared, _ = hold_out(pixels)
        promise = _promise(len(pixels), len(bank.normal_scores), self.rate)
        notes = (*bank.warnings, promise)
        return Finding(evidence, Compared(bank, tuple(compared)), pixels, notes)


@dataclass(frozen=True, eq=False)
class LotEvidence:
    """The other images of an unlabeled lot."""

    evidence: EvidenceMap
    warnings: tuple[str, ...]
    rate: float = USUAL_OVERKILL

    @property
    def scale(self) -> Scale | None:
        """None: the images of a lot are read as they come."""
        return None

    def look(self, image: LoadedImage) -> Finding:
        """What the lot says of one of its images."""
        return Finding(self.evidence, None, (), (LOT_NOTE, *self.warnings))


def hold_out(pixels: Sequence[Pixels]) -> tuple[Sequence[Pixels], Sequence[Pixels]]:
    """Which good parts are compared with, and which only check the false-alarm rate."""
    return (pixels[::2], pixels[1::2]) if len(pixels) >= HOLD_OUT_FROM else (pixels, ())


def _promise(num_references: int, held_out: int, max_overkill: float) -> str:
    """Whether the references support the false-alarm rate asked for, in plain words."""
    if held_out:
        return describe_promise(held_out, max_overkill)
    needed = 2 * normals_needed(max_overkill)
    return (
        f"A false-alarm rate of {max_overkill:.1%} cannot be promised with {counted(num_references, 'reference')}: "
        f"from {HOLD_OUT_FROM} on, every second one is held out to check it, and {needed} promise it."
    )


def evidence_options(options: InspectorOptions) -> EvidenceOptions:
    """How references are compared, by the settings of the method."""
    if options.backbone is not None:
        return EvidenceOptions(streams=streams_of(options.backbone))
    return EvidenceOptions(streams=FAST_STREAMS if options.streams == "fast" else DEFAULT_STREAMS)


class EvidenceSources:
    """Picks the source for an image; banks and profiles are kept while they are used."""

    def __init__(self, vision: VisionTowers, at_hand: BankFinder | None = None) -> None:
        """Begin with nothing kept; `at_hand` may give a bank that was built elsewhere."""
        self._vision, self._at_hand = vision, at_hand
        self._banks: OrderedDict[tuple[object, ...], MemoryBank] = OrderedDict()
        self._profiles: dict[Path, tuple[int, CategoryProfile]] = {}
        self._lot: dict[str, LotEvidence] = {}

    def compare_lot(
        self, options: InspectorOptions, images: Iterable[LoadedImage], progress: Callable[[int, int], None]
    ) -> None:
        """Compare the images of a lot with each other, so that each of them has its evidence.

        Args:
            options: settings of the method.
            images: taken one by one; only small copies of them are kept.
            progress: told how many of how many are compared.

        Raises:
            EvidenceError: there are too few, or evidence is switched off.
        """
        if options.evidence == "off":
            raise EvidenceError("found --lot with --evidence off; expected one of them: leave one out")
        asked, small = evidence_options(options), {}
        for image in images:
            fits = max(image.pixels.shape[:2]) <= asked.side
            small[image.sha256] = image.pixels if fits else resize(image.pixels, (asked.side, asked.side))
        lot = compare_lot(list(small.values()), self._vision, asked, progress)
        found, rate = zip(small, lot.found, strict=True), options.max_overkill or USUAL_OVERKILL
        self._lot = {digest: LotEvidence(evidence, lot.warnings, rate) for digest, evidence in found}

    def choose(
        self,
        options: InspectorOptions,
        image: LoadedImage,
        references: Sequence[LoadedImage],
        categories: Sequence[str | None],
    ) -> EvidenceSource:
        """The source for one image.

        Args:
            options: settings of the method.
            image: to be inspected.
            references: good parts that were given with it; without any, a profile is looked for.
            categories: what the image may be called; the first that has a profile counts.
        """
        rate = options.max_overkill or USUAL_OVERKILL
        if options.evidence == "off":
            return NoEvidence(rate, tuple(reference.pixels for reference in references), switched_off=True)
        if not references and image.sha256 in self._lot:
            return self._lot[image.sha256]
        if not references:
            folder = next((found for name in categories if name and (found := find_profile(name)) is not None), None)
            return NoEvidence(rate) if folder is None else self._by_profile(folder, options.max_overkill)
        if _is_paired(options, image, references):
            return PairedEvidence(references[0], rate)
        return SetEvidence(self._bank_for(references, options), tuple(references), self._vision, rate)

    def _by_profile(self, folder: Path, asked: float | None) -> ProfileEvidence:
        """A profile at the rate asked for, else at the one that was set for it, else at the usual one."""
        chosen = None if asked is not None else read_threshold(folder).current
        rate = asked or (USUAL_OVERKILL if chosen is None else chosen.max_overkill)
        return ProfileEvidence(self._profile_in(folder), self._vision, rate, () if chosen is None else (chosen.note,))

    def _profile_in(self, folder: Path) -> CategoryProfile:
        """The profile of a folder, read again when it has changed."""
        changed = (folder / "profile.json").stat().st_mtime_ns
        kept = self._profiles.get(folder)
        if kept is None or kept[0] != changed:
            kept = self._profiles[folder] = (changed, CategoryProfile.load(folder))
        return kept[1]

    def _bank_for(self, references: Sequence[LoadedImage], options: InspectorOptions) -> MemoryBank:
        """The references' memory bank; the images of a batch share it, and those used last are kept."""
        key = (options.streams, options.backbone, *(reference.sha256 for reference in references))
        if key not in self._banks:
            pixels = [reference.pixels for reference in references]
            asked = evidence_options(options)
            found = None if self._at_hand is None else self._at_hand(pixels, asked)
            if found is None:
                compared, held_out = hold_out(pixels)
                found = MemoryBank.build(compared, self._vision, asked)
                found = found.with_held_out(held_out, self._vision) if held_out else found
            self._banks[key] = found
            if len(self._banks) > MAX_BANKS:
                self._banks.popitem(last=False)
        self._banks.move_to_end(key)
        return self._banks[key]


def _is_paired(options: InspectorOptions, image: LoadedImage, references: Sequence[LoadedImage]) -> bool:
    """Whether the one reference is the golden template of the image."""
    if len(references) != 1 or options.evidence not in ("on", "paired"):
        return False
    return options.evidence == "paired" or is_template(image.pixels, references[0].pixels)
