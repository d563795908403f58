"""Which inspections a label would teach most.

    value(c) = doubt(c) + sum over j of w_j max(0, d_j - d(c, j))

d_j is how far the area j lies from the nearest named one, d(c, j) from c, both over the median distance between areas,
and w_j how undecided its type is: naming c tells something of every area near it that is near to no other example, and
more where the types are open (facility location; Nemhauser, Wolsey and Fisher, 1978). doubt(c) prefers, among equals, a
verdict that is open, and a model and a comparison that disagree. docs/naming.md says what this gains over chance.

Axes: M areas that wait, N descriptions of examples, D numbers of a description.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reason_iad.languages import translatable
from reason_iad.naming.examples import Box, Floats
from reason_iad.naming.few_shot import Doubles, weighted
from reason_iad.naming.namer import NONE, Namer, Naming

MOST_WAITING = 400  # areas that are weighed against each other
OPEN_VERDICT, DISAGREE = 0.5, 0.5


@dataclass(frozen=True, eq=False)
class Waiting:
    """One area without a name, of an inspection that found it.

    Attributes:
        inspection: its id.
        name: of the image.
        index: which of the inspection's areas it is, from 0.
        box_xyxy: where it is.
        vector: its description (LENGTH,).
        verdict: of the inspection.
        probability: of a defect, in [0, 1].
        disagree: whether model and comparison disagreed.
    """

    inspection: str
    name: str
    index: int
    box_xyxy: Box
    vector: Floats
    verdict: str = "defective"
    probability: float = 1.0
    disagree: bool = False


@dataclass(frozen=True, eq=False)
class Asked:
    """An area that waits, what it is called now, and why its name would help.

    Attributes:
        area: the area.
        naming: by the examples so far; None without any.
        value: what naming it would teach, relative to the others.
        reasons: in plain words.
    """

    area: Waiting
    naming: Naming | None
    value: float
    reasons: tuple[str, ...] = field(default_factory=tuple)


def rank(waiting: Sequence[Waiting], namer: Namer | None) -> tuple[Asked, ...]:
    """The areas in the order of what naming them would teach: each as if it were named next."""
    some = list(waiting)[:MOST_WAITING]
    if not some:
        return ()
    points = weighted(np.stack([area.vector for area in some]))
    between = _distances(points, points)  # (M, M)
    scale = max(float(np.median(between[~np.eye(len(some), dtype=bool)])) if len(some) > 1 else 1.0, 1e-9)
    rule = None if namer is None else namer.rule
    reach = np.full(len(some), 2.0) if rule is None else _distances(points, rule.points).min(1) / scale  # (M,)
    namings = [None if namer is None else namer.name(area.vector) for area in some]
    open_ = np.array([1.0 if named is None else 0.1 + named.entropy for named in namings])
    gains = (open_[None] * np.maximum(reach[None] - between / scale, 0.0)).sum(1)  # (M,)
    doubts = np.array([_doubt(area) for area in some])
    values = gains / max(float(gains.max()), 1e-9) + 0.2 * doubts
    order = np.argsort(-values, kind="stable")
    return tuple(
        Asked(some[i], namings[i], float(values[i]), _reasons(some[i], namings[i], float(reach[i]))) for i in order
    )


def _doubt(area: Waiting) -> float:
    """How open the verdict is, in [0, 1]."""
    found = OPEN_VERDICT if area.verdict == "uncertain" else 0.0
    return found + (DISAGREE if area.disagree else 0.0)


def _reasons(area: Waiting, naming: Naming | None, reach: float) -> tuple[str, ...]:
    found = []
    if area.verdict == "uncertain":
        found.append(translatable(f"the verdict is open ({area.probability:.2f})"))
    if area.disagree:
        found.append(translatable("model and comparison disagree"))
    if naming is None:
        found.append(translatable("no example has a name yet"))
    else:
        first, second = (*naming.types, *naming.types)[:2]
        if first.name == NONE or reach > 1:
            found.append(translatable("it is unlike every named example"))
        elif first.probability < 0.7:
            between = f"{first.name} or {second.name} ({first.probability:.2f}, {second.probability:.2f})"
            found.append(translatable(between))
    return tuple(found) or (translatable("it stands for others like it"),)


def _distances(one: Doubles, other: Doubles) -> Doubles:
    """Euclidean distances (n, m) between points (n, D) and (m, D)."""
    squares = np.square(one).sum(1)[:, None] + np.square(other).sum(1)[None] - 2 * one @ other.T
    found: Doubles = np.sqrt(np.maximum(squares, 0.0))
    return found
