"""What a model says of good parts, which is subtracted from what it says of an image.

Many models call every second good part defective, or none: their log-odds of a defect are shifted. How far, good parts
show. Up to `MAX_ASKED` of the references are asked about in the form in which the image is: compared with the others,
which alone are shown, behind the same knowledge. A single reference is represented by altered copies of it, as in the
evidence. That is done once for a product and its references, without latents, and kept by content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reason_iad.evidence.compare import EvidenceMap, compare, compare_features
from reason_iad.evidence.features import altered_copies
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.paired import compare_paired
from reason_iad.images import Pixels, resize
from reason_iad.inspection.sources import (
    EvidenceSource,
    NoEvidence,
    PairedEvidence,
    ProfileEvidence,
    SetEvidence,
    hold_out,
)
from reason_iad.inspection.verdict import Fusion, logit
from reason_iad.models.base import VisionTowers
from reason_iad.models.turns import letting_others
from reason_iad.types import AnswerOffset

MAX_ASKED = 4  # good parts
COPIES = 2  # of a single reference
_MOST_SIDE = 1024  # pixels at which they are made
MAX_KEPT = 256  # products


@dataclass(frozen=True, eq=False)
class GoodPart:
    """A good part as if it were to be inspected.

    Attributes:
        pixels: of it, (H, W, 3).
        evidence: the comparison with the other references; None where the comparison is switched off.
        others: the references that it is shown beside.
    """

    pixels: Pixels
    evidence: EvidenceMap | None
    others: tuple[Pixels, ...]


Ask = Callable[[GoodPart], float]  # the model's probability of a defect


def is_wanted(choice: str, fusion: Fusion, fitted: bool) -> bool:
    """Whether the offset counts: a fit says whether it was made with it; a model without a fit needs it.

    Args:
        choice: auto, on or off, as `InspectorOptions.offset`.
        fusion: that holds for the image.
        fitted: whether it was fitted for this model.
    """
    return choice == "on" or (choice == "auto" and (fusion.offset if fitted else True))


def good_parts(source: EvidenceSource, vision: VisionTowers) -> tuple[GoodPart, ...]:
    """The good parts behind a source of evidence, each beside the others; none for a lot."""
    if isinstance(source, NoEvidence):
        return tuple(GoodPart(*one) for one in _each_without_evidence(source.references))
    if isinstance(source, SetEvidence):
        compared, _ = hold_out([reference.pixels for reference in source.references])
        return _beside_the_others(source.bank, tuple(compared), vision)
    if isinstance(source, ProfileEvidence):
        shown = tuple(member.preview for member in source.profile.references)
        return _beside_the_others(source.profile.bank, shown, vision)
    if isinstance(source, PairedEvidence):
        template = source.reference.pixels
        return tuple(GoodPart(copy, compare_paired(copy, template), (template,)) for copy in _copies(template, -COPIES))
    return ()


def _copies(pixels: Pixels, first: int = 0) -> list[Pixels]:
    """Altered copies of a single reference, of its own size; the last two are neither moved nor turned."""
    height, width = pixels.shape[:2]
    copies = altered_copies(pixels, min(max(height, width), _MOST_SIDE))[first:][:COPIES]
    return [resize(copy, (height, width)) for copy in copies]


def _each_without_evidence(pixels: Sequence[Pixels]) -> list[tuple[Pixels, None, tuple[Pixels, ...]]]:
    if len(pixels) == 1:
        return [(copy, None, tuple(pixels)) for copy in _copies(pixels[0])]
    return [(pixels[i], None, (*pixels[:i], *pixels[i + 1 :])) for i in range(min(len(pixels), MAX_ASKED))]


def _beside_the_others(bank: MemoryBank, pixels: tuple[Pixels, ...], vision: VisionTowers) -> tuple[GoodPart, ...]:
    """Good parts `pixels`, in the order of the bank's references, each compared with the others."""
    if bank.num_references == 1:
        return tuple(GoodPart(copy, compare(copy, bank, vision), pixels) for copy in _copies(pixels[0]))
    found = []
    for index in range(min(bank.num_references, len(pixels), MAX_ASKED)):
        mine = {source: bank.upright(source)[index] for source in bank.features}
        evidence = compare_features(mine, without(bank, index), pixels[index])
        if not bank.defects:  # as an image's score is taken beside one reference fewer than there are, too
            evidence = dataclasses.replace(evidence, anomaly_score=bank.reference_scores[index])
        found.append(GoodPart(pixels[index], evidence, (*pixels[:index], *pixels[index + 1 :])))
    return tuple(found)


def without(bank: MemoryBank, index: int) -> MemoryBank:
    """The bank without one of its references; the scales of distances stay."""
    import torch

    first, last = index * bank.views, (index + 1) * bank.views
    features = {source: torch.cat([one[:first], one[last:]]) for source, one in bank.features.items()}
    scores, pictures = bank.reference_scores, bank.pictures
    return dataclasses.replace(
        bank,
        features=features,
        reference_scores=(*scores[:index], *scores[index + 1 :]),
        pictures=(*pictures[:index], *pictures[index + 1 :]),
    )


class Offsets:
    """Offsets of products, each asked for once; those used last are kept."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, AnswerOffset | None] = OrderedDict()
        self._asking: dict[bytes, threading.Lock] = {}  # where several threads wait for one server

    def of(self, source: EvidenceSource, notes: Sequence[str], vision: VisionTowers, ask: Ask) -> AnswerOffset | None:
        """What the model says of the good parts behind `source`; None where there is none that could be asked about.

        Args:
            source: of the evidence.
            notes: the knowledge in the prompt.
            vision: towers of the evidence.
            ask: asks the model.

        Raises:
            ModelError: the model does not answer.
        """
        key = _key(source, notes)
        asking = self._asking.setdefault(key, threading.Lock())
        with letting_others():
            asking.acquire()
        try:
            return self._of(key, source, vision, ask)
        finally:
            asking.release()

    def _of(self, key: bytes, source: EvidenceSource, vision: VisionTowers, ask: Ask) -> AnswerOffset | None:
        if key not in self._found:
            parts = good_parts(source, vision)
            odds = tuple(round(logit(ask(part)), 4) for part in parts)
            scores = tuple(round(part.evidence.anomaly_score, 6) for part in parts if part.evidence is not None)
            self._found[key] = AnswerOffset(odds, round(sum(odds) / len(odds), 4), scores) if odds else None
            if len(self._found) > MAX_KEPT:
                self._asking.pop(self._found.popitem(last=False)[0], None)
        self._found.move_to_end(key)
        return self._found[key]


def _key(source: EvidenceSource, notes: Sequence[str]) -> bytes:
    digest = hashlib.blake2b(repr((type(source).__name__, tuple(notes))).encode(), digest_size=16)
    if isinstance(source, SetEvidence):
        bank = source.bank
        digest.update(repr([reference.sha256 for reference in source.references]).encode())
    elif isinstance(source, PairedEvidence):
        digest.update(source.reference.sha256.encode())
        return digest.digest()
    elif isinstance(source, ProfileEvidence):
        bank = source.profile.bank
        _add(digest, [member.preview for member in source.profile.references[:MAX_ASKED]])
    else:
        _add(digest, source.references if isinstance(source, NoEvidence) else ())
        return digest.digest()
    digest.update(repr((bank.options, bank.num_references, bank.reference_scores, bank.normal_scores)).encode())
    return digest.digest()


def _add(digest: hashlib.blake2b, images: Sequence[Pixels]) -> None:
    for pixels in images:
        digest.update(str(pixels.shape).encode() + pixels.tobytes())
