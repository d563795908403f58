"""What a person should check about references: unlike ones, odd ones, ones of other proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reason_iad.evidence import calibrate
from reason_iad.evidence.calibrate import Array
from reason_iad.evidence.features import EvidenceOptions

ENOUGH_TO_JUDGE = 4  # references from which one that the others do not explain can be told
GROSS_RATIO = 3.5  # from here on, it is left out of what good parts show
ODD_RATIO = 1.8  # a reference whose statistic is this many times the median one is named (docs/evidence.md)
UNLIKE_ASPECT = 1.15  # width to height, beside the usual one: more stretching than that is told
SINGLE = (
    "There is one reference only, so normal variation was estimated from altered copies of it; show more if you can."
)


def unlike_references(residuals: dict[str, Array], options: EvidenceOptions) -> tuple[str, ...]:
    """Say which references resemble none of the others."""
    for stream in options.streams:
        if stream.unlike is None:
            continue
        medians = np.median(residuals[stream.name], axis=(1, 2))
        alone = [str(index + 1) for index, value in enumerate(medians) if value > stream.unlike]
        if len(alone) == len(medians):
            return (f"The {len(medians)} references do not resemble each other; show good parts of one product only.",)
        if alone:
            return (
                f"Of {len(medians)} references, number {', '.join(alone)} resembles none of the others; "
                "it may show another product: check it.",
            )
    return ()


def unlike_shapes(shapes: Sequence[tuple[int, ...]]) -> tuple[str, ...]:
    """Say which references, of these heights and widths, have other proportions: stretched, their parts look odd."""
    aspects = np.array([width / height for height, width in shapes])
    usual = float(np.median(aspects))
    other = [str(index + 1) for index, one in enumerate(aspects) if max(one / usual, usual / one) > UNLIKE_ASPECT]
    if not other:
        return ()
    return (
        f"Of {len(shapes)} references, number {', '.join(other)} has other proportions than most; all are stretched "
        "to a square: show images of one camera and one cut.",
    )


def odd_references(statistics: Array, vouched: Sequence[int] = ()) -> tuple[str, ...]:
    """Name the references that the others do not explain."""
    usual = max(float(np.median(statistics)), calibrate.SMALLEST)
    return tuple(
        f"Of {len(statistics)} references, number {index + 1} is {statistics[index] / usual:.1f} times as odd as the "
        "others usually are; it may show a defect: check it."
        for index in odd_indices(statistics, vouched)
    )


def odd_indices(statistics: Array, vouched: Sequence[int] = (), ratio: float = ODD_RATIO) -> list[int]:
    """References `ratio` times as odd as usual, from the image statistic of each against the others (R,)."""
    if len(statistics) < ENOUGH_TO_JUDGE:
        return []
    limit = ratio * max(float(np.median(statistics)), calibrate.SMALLEST)
    return [index for index, one in enumerate(statistics) if one > limit and index not in vouched]
