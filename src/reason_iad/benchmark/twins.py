"""What a run says of degraded twins: the same questions about an image and about its degraded copy, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.summary import cluster_of, is_right
from reason_iad.datasets.robustmad import DEGRADED, NAME, UNANSWERABLE
from reason_iad.metrics.robustness import RobustScores, TwinComparison, compare_twins, robust_scores


def twins_of(records: Sequence[Record]) -> dict[str, TwinComparison]:
    """Comparisons by type, by kind of degradation, and over all as "all"; empty where no question has a twin."""
    originals = {record["pair"]: record for record in records if record["dataset"] == NAME and record.get("pair")}
    pairs = [
        (originals[record["pair"]], record)
        for record in records
        if record["dataset"] == DEGRADED and record.get("pair") in originals
    ]
    groups: dict[str, list[tuple[Record, Record]]] = {}
    for pair in pairs:
        for name in (pair[0]["type"], f"degraded by {PurePosixPath(pair[1]['image']).parent.name}", "all"):
            groups.setdefault(name, []).append(pair)
    return {
        name: compare_twins(
            [is_right(a) for a, _ in mine], [is_right(b) for _, b in mine], [cluster_of(a) for a, _ in mine]
        )
        for name, mine in sorted(groups.items(), key=lambda one: (one[0] == "all", one[0]))
    }


def robust_of(records: Sequence[Record], dataset: str = NAME) -> RobustScores | None:
    """RobustMAD's own scores of one of its two parts; None where a run has none of it."""
    mine = [record for record in records if record["dataset"] == dataset]
    if not mine:
        return None
    difficulties = [record.get("difficulty", "") for record in mine]
    return robust_scores([record["type"] for record in mine], difficulties, [is_right(record) for record in mine])


def twin_lines(records: Sequence[Record]) -> list[str]:
    """The same as lines of text; none for other data."""
    lines = []
    for dataset in (NAME, DEGRADED):
        scores = robust_of(records, dataset)
        for (kind, difficulty), one in sorted(scores.difficulties.items()) if scores else ():
            lines.append(f"  {dataset}, {kind}, {difficulty}: {one}")
        if scores and (refused := scores.categories.get(UNANSWERABLE)):
            lines.append(
                f"  {dataset}, unanswerable questions: {refused} seen through, {1 - refused.value:.3f} answered as if "
                "they could be"
            )
    for name, twin in twins_of(records).items():
        change = twin.difference
        lines.append(
            f"  twins, {name}: {twin.original.value:.3f} to {twin.degraded.value:.3f}, difference {change.value:+.3f} "
            f"(95 % CI {change.low:+.3f} to {change.high:+.3f}, n={change.n}), McNemar p={twin.test.p_value:.3f}"
        )
    return lines
