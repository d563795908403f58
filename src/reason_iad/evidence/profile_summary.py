"""One page about a profile: how many images, how calm the normals are, what they promise, which look odd."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_iad.evidence import conformal, significance
from reason_iad.evidence.compare import compare_features
from reason_iad.evidence.profile import CategoryProfile, Member, score_threshold
from reason_iad.languages import _, told, translatable
from reason_iad.words import padded

ODD_SCORE = 0.75  # a normal this odd beside the others, as one in 200 is, should be looked at
SHOWN = 5  # odd images named at most


@dataclass(frozen=True)
class ProfileSummary:
    """What a person should know before trusting a profile.

    Attributes:
        category: its name.
        version: of the profile.
        num_normals: images of good parts.
        num_references: those that new images are compared with.
        num_defectives: images that a person called defective.
        found_defectives: how many of these the profile now calls defective, at the rate asked for.
        calm: share of normals below 0.5, each compared with the others.
        median_score: of the normals.
        max_overkill: false-alarm rate asked for.
        smallest_rate: the smallest that these normals support.
        threshold: score above which an image is defective.
        promise: what the number of normals supports, in plain words.
        odd: names and scores of normals that should be checked, oddest first.
        warnings: what else a person should check.
        streams: what is compared.
        history: one line for each version.
    """

    category: str
    version: int
    num_normals: int
    num_references: int
    num_defectives: int
    found_defectives: int
    calm: float
    median_score: float
    max_overkill: float
    smallest_rate: float
    threshold: float
    promise: str
    odd: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]
    streams: tuple[str, ...]
    history: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return dataclasses.asdict(self)

    def text(self, folder: str) -> str:
        """One page for the terminal; `folder` is where the profile lies."""
        head = _("{category}, version {version}", category=self.category, version=self.version)
        return "\n".join([head, *(f"  {padded(told(label), 13)}{told(text)}" for label, text in self._rows(folder))])

    def _rows(self, folder: str) -> Iterator[tuple[str, str]]:
        """Label and text of each line, in English."""
        yield (
            translatable("images"),
            translatable(
                f"{self.num_normals} of good parts ({self.num_references} compared with), "
                f"{self.num_defectives} of defective ones"
            ),
        )
        yield (
            translatable("calm"),
            translatable(
                f"{self.calm:.0%} of the good parts stay below 0.5 beside the others "
                f"(usual score {self.median_score:.2f})"
            ),
        )
        yield translatable("false alarms"), self.promise
        yield (
            translatable("threshold"),
            translatable(f"a part is stopped above {self.threshold:.2f} ({significance.MEANING})"),
        )
        if self.num_defectives:
            yield (
                translatable("defects"),
                translatable(f"{self.found_defectives} of {self.num_defectives} known ones are now stopped"),
            )
        if self.odd:
            yield (
                translatable("check"),
                translatable("these good parts look odd beside the others; a defect among them hides others:"),
            )
            yield from (("", f"  {name} ({score:.2f})") for name, score in self.odd)
        elif self.num_normals > 1:
            yield "check", translatable("no good part looks odd beside the others")
        yield from (("note", warning) for warning in self.warnings)
        yield translatable("kept in"), folder


def summarize(profile: CategoryProfile, max_overkill: float) -> ProfileSummary:
    """Describe a profile at the false-alarm rate `max_overkill`."""
    named = _scores(profile)
    scores = np.array([score for _, score in named])
    verdicts = [
        profile.verdict(compare_features(_as_float(member), profile.bank), max_overkill).verdict
        for member in profile.defectives
    ]
    odd = sorted(((m.name, round(score, 3)) for m, score in named if score > ODD_SCORE), key=lambda pair: -pair[1])
    count = len(profile.bank.normal_scores)
    return ProfileSummary(
        category=profile.category,
        version=profile.version,
        num_normals=len(profile.normals),
        num_references=profile.bank.num_references,
        num_defectives=len(profile.defectives),
        found_defectives=verdicts.count("defective"),
        calm=float((scores <= 0.5).mean()) if len(scores) else 1.0,
        median_score=float(np.median(scores)) if len(scores) else 0.0,
        max_overkill=max_overkill,
        smallest_rate=conformal.smallest_rate(count),
        threshold=score_threshold(profile.bank.normal_scores, max_overkill),
        promise=conformal.describe_promise(count, max_overkill),
        odd=tuple(odd[:SHOWN]),
        warnings=profile.warnings,
        streams=tuple(stream.name for stream in profile.bank.options.streams),
        history=profile.history,
    )


def _scores(profile: CategoryProfile) -> list[tuple[Member, float]]:
    """Each normal with its score against references that it is not one of; empty where there is one normal."""
    if profile.bank.num_references == 1 and len(profile.normals) == 1:
        return []
    references = profile.references
    chosen = {member.sha256 for member in references}
    others = [member for member in profile.normals if member.sha256 not in chosen]
    return list(zip((*references, *others), profile.bank.normal_scores, strict=True))


def _as_float(member: Member) -> dict[str, Any]:
    return {source: one[0].float() for source, one in member.features.items()}
