"""The tables of a benchmark report: each a pure function of the runs, which all have the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reason_iad.benchmark.compare import Comparison, Run
from reason_iad.benchmark.published import NOTE, published_results
from reason_iad.benchmark.record_log import Record
from reason_iad.benchmark.summary import cluster_of, is_right
from reason_iad.benchmark.twins import twins_of
from reason_iad.datasets.mmad import TYPES
from reason_iad.metrics.intervals import Estimate
from reason_iad.metrics.paired import clustered_macro


@dataclass(frozen=True)
class Table:
    """A titled table of text; the first column names the row."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    published: bool = False  # not measured here

    def to_markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"## {self.title}", "", self.note, ""] if self.note else [f"## {self.title}", ""]
        lines += ["| " + " | ".join(self.header) + " |", "|" + "---|" * len(self.header)]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self.rows]
        return "\n".join(lines)


def all_tables(runs: Sequence[Run], comparisons: Sequence[Comparison], with_published: bool) -> tuple[Table, ...]:
    """All tables that have something to say, in reading order."""
    found = [
        _settings(runs), _accuracy(runs), _detection(runs), _calibration(runs), _differences(runs[0], comparisons),
        _cost(runs), _thought(runs), _twins(runs), _seen(runs), _datasets(runs), _products(runs),
        _published() if with_published else None, _unreadable(runs), _notes(runs),
    ]  # fmt: skip
    return tuple(table for table in found if table is not None and table.rows)


def _settings(runs: Sequence[Run]) -> Table:
    rows = tuple((run.name, str(run.setting), str(run.facts.get("version", ""))) for run in runs)
    return Table("Runs", "", ("run", "setting", "version"), rows)


def _accuracy(runs: Sequence[Run]) -> Table:
    first = runs[0].summary.accuracy
    rows = []
    for run in runs:
        cells = [_cell(run.summary.accuracy[kind]) for kind in first]
        official = f"{run.summary.official.average:.1f}"
        rows.append((run.name, *cells, _cell(run.summary.macro), official, str(len(run.summary.unreadable))))
    counts = ", ".join(f"{kind} {one.n}" for kind, one in first.items())
    note = (
        f"Strict scoring. Questions: {counts}. The macro average is over types. Official: as MMAD's own script "
        "scores, in %; its detection is balanced."
    )
    return Table("Accuracy by question type", note, ("run", *first, "macro", "official %", "unreadable"), tuple(rows))


def _detection(runs: Sequence[Run]) -> Table | None:
    found = [(run.name, run.summary.detection) for run in runs]
    measured = [(name, one) for name, one in found if one is not None]
    if not measured:
        return None
    rows = tuple(
        (
            name, f"{one.balanced:.3f}", f"{one.overkill:.3f}", f"{one.miss:.3f}", _cell(one.auroc),
            f"{one.model_auroc:.3f}", "-" if one.evidence_auroc is None else f"{one.evidence_auroc:.3f}",
            f"{one.ece:.3f}",
        )
        for name, one in measured
    )  # fmt: skip
    first = measured[0][1]
    note = (
        f"{first.num_normal} normal and {first.num_defective} defective images. Overkill: share of normal parts "
        "called defective; miss: share of defective parts called normal; ECE: calibration error."
    )
    header = ("run", "balanced", "overkill", "miss", "image AUROC", "model alone", "evidence alone", "ECE")
    return Table("Detection", note, header, rows)


def _calibration(runs: Sequence[Run]) -> Table:
    kinds = list(runs[0].summary.calibration)
    rows = []
    for run in runs:
        cells = [run.summary.calibration.get(kind) for kind in kinds]
        rows.append((run.name, *("-" if one is None else f"{one.model:.3f} to {one.stated:.3f}" for one in cells)))
    note = (
        "Expected calibration error of the most likely option: as the model says it, and as it is stated (tempered by "
        "type; detection fused with the evidence)."
    )
    return Table("Calibration", note, ("run", *kinds), tuple(rows))


def _differences(first: Run, comparisons: Sequence[Comparison]) -> Table | None:
    kinds = list(first.summary.accuracy)
    adjusted = holm([one.test.p_value for one in comparisons])
    rows = tuple(
        (
            one.second, _signed(one.difference), f"{one.test.only_first} / {one.test.only_second}",
            _p(one.test.p_value), _p(p), _signed(one.log_gain), *(_signed(one.by_type[kind]) for kind in kinds),
        )
        for one, p in zip(comparisons, adjusted, strict=True)
    )  # fmt: skip
    note = (
        "Paired difference of the accuracy, with the bootstrap interval over images; lost / won: questions that "
        "one of the two alone has right; p: McNemar's exact test over all questions, and after Holm's correction "
        "for the number of runs compared. It takes questions for independent; the interval does not. Log-probability: "
        "change of that of the right option, with the same kind of interval; it sees what no answer turned on."
    )
    header = ("run", "all", "lost / won", "p", "p (Holm)", "log-probability", *kinds)
    return Table(f"Difference to {first.name}", note, header, rows)


def _cost(runs: Sequence[Run]) -> Table | None:
    costs = [(run.name, run.summary.cost) for run in runs]
    measured = [(name, cost) for name, cost in costs if cost is not None]
    if not measured:
        return None
    stages = list(dict.fromkeys(stage for _, cost in measured for stage in cost.stages))
    base = measured[0][1].total
    rows = tuple(
        (name, f"{cost.total:.0f}", f"{cost.total / base:.2f}", *(f"{cost.stages.get(s, 0):.0f}" for s in stages))
        for name, cost in measured
    )
    note = (
        "Milliseconds a question; what the questions of an image share is divided among them. Taken as the runs "
        "went, image features from the cache where they lay there: a ratio between runs, no speed claim."
    )
    return Table("Cost", note, ("run", "ms a question", "ratio", *stages), rows)


def _thought(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        if run.setting.latents != "off" or run.setting.details != "off":
            one = run.summary.thought
            stopped = ", ".join(f"{name} {count}" for name, count in sorted(one.stopped.items()))
            rows.append((run.name, str(one.changed), str(one.right_before), str(one.right_after), stopped))
    note = "Answers that latents, injection or details turned around, against the plain answer to the same prompt."
    header = ("run", "changed", "right before", "right after", "stopped")
    return Table("What thought changed", note, header, tuple(rows))


def _twins(runs: Sequence[Run]) -> Table:
    rows = [
        (
            run.name, name, f"{one.original.value:.3f}", f"{one.degraded.value:.3f}", _signed(one.difference),
            _p(one.test.p_value), str(one.difference.n),
        )
        for run in runs
        for name, one in twins_of(run.records.records).items()
    ]  # fmt: skip
    note = (
        "The same questions about an image and about its degraded copy, pair by pair, with the bootstrap interval over "
        "images and McNemar's exact test."
    )
    header = ("run", "questions", "original", "degraded", "difference", "p", "pairs")
    return Table("Degraded twins", note, header, tuple(rows))


def _seen(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        for name, part in run.parts.items():
            found = part.detection
            shown = ("-", "-") if found is None else (f"{found.balanced:.3f}", _cell(found.auroc))
            rows.append((f"{run.name}, {name}", str(part.n), _cell(part.macro), *shown))
    note = "Seen: categories that the data's terms let the shipped weights be trained on (other images of them)."
    header = ("run and categories", "questions", "macro", "detection balanced", "image AUROC")
    return Table("Seen and unseen categories", note, header, tuple(rows))


def _datasets(runs: Sequence[Run]) -> Table | None:
    """By data set, where there are several."""
    records = runs[0].records.records
    names = sorted({record["dataset"] for record in records})
    if len(names) < 2:
        return None
    rows = []
    for run in runs:
        mine = [[record for record in run.records.records if record["dataset"] == name] for name in names]
        rows.append((run.name, *(f"{_macro(one):.3f} (n={len(one)})" for one in mine)))
    note = "Mean over the question types that are asked there."
    return Table("Macro average by data set", note, ("run", *names), tuple(rows))


def _products(runs: Sequence[Run]) -> Table | None:
    """A line a product: mean over its question types in every run, weakest product first."""
    several = len({record["dataset"] for record in runs[0].records.records}) > 1
    names = {_product(record, several) for record in runs[0].records.records}
    if len(names) < 2:
        return None
    rows = []
    for name in names:
        mine = [[r for r in run.records.records if _product(r, several) == name] for run in runs]
        images = len({record["image"] for record in mine[0]})
        cells = [_cell(clustered_macro(
            [is_right(r) for r in one], [r["type"] for r in one], [cluster_of(r) for r in one], 300
        )) for one in mine]  # fmt: skip
        rows.append((_macro(mine[-1]), (name, str(images), str(len(mine[0])), *cells)))
    note = "Mean over the question types that are asked there, with bootstrap intervals over images; weakest first."
    header = ("product", "images", "questions", *(run.name for run in runs))
    return Table("Products", note, header, tuple(row for _, row in sorted(rows)))


def _product(record: Record, several: bool) -> str:
    return f"{record['dataset']}/{record['category']}" if several else str(record["category"])


def _macro(records: Sequence[Record]) -> float:
    kinds = {record["type"] for record in records}
    of_kind = [[is_right(record) for record in records if record["type"] == kind] for kind in kinds]
    return sum(sum(one) / len(one) for one in of_kind) / len(kinds)


def _published() -> Table:
    rows = tuple(
        (
            one.method,
            *(f"{one.accuracy[kind]:.1f}" for kind in TYPES),
            f"{one.average:.1f}",
            one.kind,
            one.trained,
            one.source,
        )
        for one in published_results()
    )  # fmt: skip
    header = ("method", *TYPES, "average", "kind", "trained on MMAD's images", "source")
    return Table("Published figures", f"{NOTE}.", header, rows, published=True)


def _unreadable(runs: Sequence[Run]) -> Table:
    rows = tuple((run.name, record["id"], record["error"]) for run in runs for record in run.records.failed)
    return Table("Unreadable", "Counted as wrong.", ("run", "question", "why"), rows)


def _notes(runs: Sequence[Run]) -> Table:
    rows = tuple((run.name, note) for run in runs for note in run.notes)
    return Table("Notes", "", ("run", "note"), rows)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several tests (Holm, 1979).

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _cell(one: Estimate) -> str:
    return f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})"


def _signed(one: Estimate) -> str:
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
