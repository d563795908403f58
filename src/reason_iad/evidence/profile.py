"""What is known about one category of products: its normals, how odd they are, and what people said about images.

A profile is a folder that can be copied:

    profile.json             which version is current, and its facts for people
    versions/0003.json       what a version is made of; older ones stay, so that a change can be taken back
    versions/0003.bank/      its memory bank with the calibration
    members/<id>.safetensors features of one image; <id>.jpg a small picture of it

Members never change, so versions share them. `profile.json` is replaced last: a reader sees the old profile or the
new one. Axes: N normals, R references among them, H x W patches, C width of a feature, D width of the prototype.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from reason_iad.errors import EvidenceError
from reason_iad.evidence import conformal, significance
from reason_iad.evidence.compare import EvidenceMap, compare_features
from reason_iad.evidence.features import EvidenceOptions, altered_copies, extract, extract_turned
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.rotations import lie_rotated, may_rotate
from reason_iad.images import (
    LoadedImage,
    Pixels,
    Scale,
    at_scale,
    encode_jpeg,
    from_pixels,
    read_image,
    shared_scale,
)
from reason_iad.models.base import VisionTowers
from reason_iad.types import Verdict
from reason_iad.words import counted

if TYPE_CHECKING:
    import torch

Label = Literal["normal", "defective"]
Embed = Callable[[Pixels], npt.NDArray[np.float32]]  # the vector of an image that categories are recognized by, (D,)
Said = Callable[[int, int, str], None]  # images done, images in all, name of the next one


@dataclass(frozen=True, eq=False)
class Member:
    """One image that a profile has learned from.

    Attributes:
        name: of its file.
        sha256: of the file's bytes.
        label: what a person said it is.
        features: by source, (V, H, W, C), float16: upright, and turned by quarters where the profile asks for it.
        preview_jpeg: small picture of it, compressed.
        embedding: what categories are recognized by, (D,); None where it was not asked for.
        from_feedback: it was added after the profile was learned.
    """

    name: str
    sha256: str
    label: Label
    features: dict[str, torch.Tensor]
    preview_jpeg: bytes
    embedding: npt.NDArray[np.float32] | None = None
    from_feedback: bool = False

    @property
    def preview(self) -> Pixels:
        """Small picture of it (h, w, 3)."""
        return read_image(self.preview_jpeg).pixels

    @property
    def id(self) -> str:
        """Short name under which the profile keeps it."""
        return self.sha256[:16]


@dataclass(frozen=True)
class ProfileVerdict:
    """What a profile says about an image, and what that rests on.

    Attributes:
        verdict: normal, defective, or uncertain between the rate asked for and five times that.
        anomaly_score: of the image, in [0, 1].
        p_value: share of normals at least as odd, in (0, 1].
        threshold: score above which an image is defective.
        false_alarm_rate: what the verdict keeps: the rate asked for, or the smallest that the normals support.
        promise: the same in plain words.
    """

    verdict: Verdict
    anomaly_score: float
    p_value: float | None
    threshold: float
    false_alarm_rate: float
    promise: str


@dataclass(frozen=True, eq=False)
class CategoryProfile:
    """Bank, calibration, prototype and feedback of one category, at one version.

    Attributes:
        category: its name.
        bank: references, calibration, scores of normals, known defects.
        members: every image learned from, in the order they came.
        version: grows by one with each change.
        history: one line for each version.
        scale: by which its images were read, and others are that it is compared with; None where all have 8 bits.
    """

    category: str
    bank: MemoryBank
    members: tuple[Member, ...]
    version: int = 1
    history: tuple[str, ...] = field(default_factory=tuple)
    scale: Scale | None = None

    @classmethod
    def learn(
        cls,
        category: str,
        normals: Sequence[Pixels | LoadedImage | str | Path],
        vision: VisionTowers,
        options: EvidenceOptions | None = None,
        embed: Embed | None = None,
        progress: Said | None = None,
    ) -> CategoryProfile:
        """Learn a category from images of good parts.

        Raises:
            EvidenceError: there is none.
            ImageError: one of them cannot be read.
        """
        if not len(normals):
            raise EvidenceError(f"there are 0 images to learn {category!r} from; expected images of good parts")
        options = options or EvidenceOptions()
        members: list[Member] = []
        turned = may_rotate(len(normals), options)
        scale = shared_scale(_load(source).scale for source in normals if not isinstance(source, np.ndarray))
        for index, source in enumerate(normals):
            image = at_scale(_load(source), scale)
            if progress is not None:
                progress(index, len(normals), image.name)
            if all(other.sha256 != image.sha256 for other in members):
                members.append(make_member(image, "normal", vision, options, embed, turned))
        copies = None
        if len(members) == 1:
            copies = _copies(at_scale(_load(normals[0]), scale).pixels, vision, options)
        bank = build_bank(members, options, copies)
        history = (f"learned from {counted(len(members), 'image')} of good parts",)
        return cls(category, bank, tuple(members), history=history, scale=scale)

    @property
    def normals(self) -> tuple[Member, ...]:
        """The images of good parts."""
        return tuple(member for member in self.members if member.label == "normal")

    @property
    def defectives(self) -> tuple[Member, ...]:
        """The images that a person called defective."""
        return tuple(member for member in self.members if member.label == "defective")

    @property
    def references(self) -> tuple[Member, ...]:
        """The normals that images are compared with."""
        return choose_references(self.normals, self.bank.options.max_references)

    @property
    def prototype(self) -> npt.NDArray[np.float32] | None:
        """Mean vector of its normals, (D,), by which the category is recognized; None without vectors."""
        vectors = [member.embedding for member in self.normals if member.embedding is not None]
        return np.asarray(np.mean(vectors, axis=0), np.float32) if vectors else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should check."""
        return self.bank.warnings

    def compare(self, pixels: Pixels, vision: VisionTowers) -> EvidenceMap:
        """Compare an image (H, W, 3) with the references; its p-value is over all normals of the profile."""
        features = extract([pixels], vision, self.bank.options)
        return compare_features({name: one[0] for name, one in features.items()}, self.bank, pixels)

    def score(self, pixels: Pixels, vision: VisionTowers) -> float:
        """Anomaly score of an image (H, W, 3), in [0, 1]; at 0.5 one good part in twenty looks at least this odd."""
        return self.compare(pixels, vision).anomaly_score

    def verdict(self, found: EvidenceMap, max_overkill: float) -> ProfileVerdict:
        """Judge a comparison at a false-alarm rate of at most `max_overkill`: promised by the normals, or estimated."""
        scores = self.bank.normal_scores
        rate = max(max_overkill, conformal.smallest_rate(len(scores)))
        p_value = conformal.p_value(found.anomaly_score, scores) if scores else None
        promise = conformal.describe_promise(len(scores), max_overkill)
        threshold = score_threshold(scores, max_overkill)
        return ProfileVerdict(found.judge(max_overkill), found.anomaly_score, p_value, threshold, rate, promise)

    def add_feedback(
        self,
        image: Pixels | LoadedImage | str | Path,
        label: Label,
        vision: VisionTowers,
        embed: Embed | None = None,
    ) -> CategoryProfile:
        """The next version, which knows that `image` is normal or defective; `save` keeps it.

        A normal joins the normals. The oddest patches of a defective one are remembered: what looks like them counts
        more. The false-alarm rate is learned again in both cases, so its promise stays. An image that is known
        already only changes its label.

        Raises:
            EvidenceError: another label, or the last normal would be called defective.
        """
        if label not in ("normal", "defective"):
            raise EvidenceError(f"the label is {label!r}; expected normal or defective")
        loaded, options = at_scale(_load(image), self.scale), self.bank.options
        member = make_member(loaded, label, vision, options, embed, may_rotate(len(self.normals), options))
        member = dataclasses.replace(member, from_feedback=True)
        kept = tuple(other for other in self.members if other.sha256 != member.sha256)
        return self._next((*kept, member), f"{loaded.name} added as {label}")

    def without(self, sha256: str) -> CategoryProfile:
        """The next version without the image of this hash, or a beginning of it that names one image only.

        Raises:
            EvidenceError: no image, or several, begin with it, or it is the last normal.
        """
        named = [member for member in self.members if member.sha256.startswith(sha256)]
        if len(named) != 1:
            raise EvidenceError(f"{len(named)} images of {self.category!r} begin with {sha256!r}; expected one")
        kept = tuple(member for member in self.members if member is not named[0])
        return self._next(kept, f"{named[0].name} removed")

    def _next(self, members: tuple[Member, ...], change: str) -> CategoryProfile:
        normals = [member for member in members if member.label == "normal"]
        unchanged = [member.sha256 for member in normals] == [member.sha256 for member in self.normals]
        if unchanged and len(normals) == 1:
            bank = _with_feedback(dataclasses.replace(self.bank, defects={}), members)  # keeps what its copies taught
        elif len(normals) < 2:
            raise EvidenceError(
                f"{self.category!r} would keep {len(normals)} normal images; expected at least 2: add others first, "
                "or learn it again"
            )
        else:
            bank = build_bank(members, self.bank.options)
        return dataclasses.replace(
            self, bank=bank, members=members, version=self.version + 1, history=(*self.history, change)
        )

    def save(self, folder: str | Path | None = None) -> Path:
        """Write the profile into `folder`, by default that of its category; returns the folder."""
        from reason_iad.evidence.profile_store import profile_folder, write_profile

        target = profile_folder(self.category) if folder is None else Path(folder)
        write_profile(self, target)
        return target

    @classmethod
    def load(cls, folder: str | Path, version: int | None = None) -> CategoryProfile:
        """Read a profile written by `save`, by default its current version.

        Raises:
            EvidenceError: there is none, it is damaged, or another version of the program wrote it.
        """
        from reason_iad.evidence.profile_store import read_profile

        return read_profile(Path(folder), version)


def load_profile(category: str) -> CategoryProfile:
    """The profile of a category under `$REASON_IAD_HOME/profiles`.

    Raises:
        EvidenceError: there is none, or it is damaged.
    """
    from reason_iad.evidence.profile_store import load_stored

    return load_stored(category)


def choose_references(normals: Sequence[Member], limit: int) -> tuple[Member, ...]:
    """At most `limit` of the normals, spread evenly: chosen without looking, so that the others stay fair judges."""
    if len(normals) <= limit:
        return tuple(normals)
    return tuple(normals[index * len(normals) // limit] for index in range(limit))


def score_threshold(normal_scores: Sequence[float], max_overkill: float) -> float:
    """Score above which an image is defective: promised where the normals are enough for the rate, else estimated."""
    promised = conformal.score_threshold(normal_scores, max_overkill)
    return significance.score_at(max_overkill) if promised is None else promised


def make_member(
    image: LoadedImage,
    label: Label,
    vision: VisionTowers,
    options: EvidenceOptions,
    embed: Embed | None = None,
    turned: bool = False,
) -> Member:
    """Describe one image so that it need not be read again; with `turned` as it looks turned by quarters, too."""
    import torch

    from reason_iad.images import resize

    features = extract([image.pixels], vision, options)
    if turned:
        views = extract_turned(image.pixels, vision, options)
        features = {source: torch.cat([one, views[source]]) for source, one in features.items()}
    features = {source: one.half().cpu() for source, one in features.items()}
    height, width = image.image_hw
    shrink = min(1.0, 512 / max(height, width))
    preview = resize(image.pixels, (max(1, round(height * shrink)), max(1, round(width * shrink))))
    embedding = None if embed is None else embed(image.pixels)
    return Member(image.name, image.sha256, label, features, encode_jpeg(preview), embedding)


def build_bank(
    members: Sequence[Member], options: EvidenceOptions, copies: dict[str, torch.Tensor] | None = None
) -> MemoryBank:
    """The memory bank of all members, with its calibration, known defects and scores of normals."""
    import torch

    normals = [member for member in members if member.label == "normal"]
    references = choose_references(normals, options.max_references)
    raw = {source: torch.stack([m.features[source][0].float() for m in references]) for source in options.sources}
    vouched = [index for index, member in enumerate(references) if member.from_feedback]
    bank = MemoryBank.from_features(raw, options, copies, _turned(references, options), vouched)
    bank = bank.with_pictures([member.preview for member in references])
    return _with_feedback(bank, members)


def _turned(references: Sequence[Member], options: EvidenceOptions) -> dict[str, torch.Tensor] | None:
    """Turned views of the references, (R, 3, H, W, C) by source, where they are kept and the references lie turned."""
    import torch

    if not may_rotate(len(references), options) or any(
        one.shape[0] == 1 for member in references for one in member.features.values()
    ):
        return None
    views = {source: torch.stack([m.features[source].float() for m in references]) for source in options.sources}
    turned = {source: one[:, 1:] for source, one in views.items()}
    return turned if lie_rotated({source: one[:, 0] for source, one in views.items()}, turned, options) else None


def _with_feedback(bank: MemoryBank, members: Sequence[Member]) -> MemoryBank:
    """Let the bank know the defects, then score every normal against references that it is not one of itself."""
    defects = [_as_float(member) for member in members if member.label == "defective"]
    if defects:
        bank = bank.with_defects(defects)
    normals = [member for member in members if member.label == "normal"]
    references = {member.sha256 for member in choose_references(normals, bank.options.max_references)}
    others = [_as_float(member) for member in normals if member.sha256 not in references]
    plain = dataclasses.replace(bank, normal_scores=())
    scores = [compare_features(one, plain).anomaly_score for one in others]
    own = bank.leave_one_out_scores() if defects else bank.reference_scores
    return dataclasses.replace(bank, normal_scores=(*own, *scores))


def _as_float(member: Member) -> dict[str, torch.Tensor]:
    return {source: one[0].float() for source, one in member.features.items()}


def _copies(pixels: Pixels, vision: VisionTowers, options: EvidenceOptions) -> dict[str, torch.Tensor]:
    return extract(altered_copies(pixels, options.side), vision, options)


def _load(source: Pixels | LoadedImage | str | Path) -> LoadedImage:
    if isinstance(source, LoadedImage):
        return source
    return from_pixels(source) if isinstance(source, np.ndarray) else read_image(source)
