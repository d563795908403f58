"""What the plots of a benchmark report show: accuracy against cost, reliability, reward curves."""

from __future__ import annotations

from collections.abc import Sequence

from reason_iad.benchmark.charts import Axis, Point, Series, plot
from reason_iad.benchmark.compare import Run
from reason_iad.benchmark.record_log import Record
from reason_iad.metrics.classification import reliability


def all_plots(runs: Sequence[Run]) -> dict[str, tuple[str, str]]:
    """Title and SVG of each plot that there is data for, by file name."""
    found = {"accuracy_cost": _cost(runs), "reliability": _reliability(runs), "rewards": _rewards(runs)}
    return {name: one for name, one in found.items() if one is not None}


def _cost(runs: Sequence[Run]) -> tuple[str, str] | None:
    priced = [(index, run, run.summary.cost) for index, run in enumerate(runs)]
    shown = [(index, run, max(cost.total, 0.1)) for index, run, cost in priced if cost is not None]
    if not shown:
        return None
    series = []
    for index, run, cost in shown:
        macro = run.summary.macro
        series.append(Series(run.name, [Point(cost, macro.value, macro.low, macro.high)], False, index))
    costs = [cost for *_, cost in shown]
    low = min(run.summary.macro.low for _, run, _ in shown) - 0.05
    high = max(run.summary.macro.high for _, run, _ in shown) + 0.05
    title = "Accuracy against cost"
    x = Axis("milliseconds a question (logarithmic)", min(costs) / 1.5, max(costs) * 1.5, log=True)
    return title, plot(title, x, Axis("macro average", max(0.0, low), min(1.0, high)), series)


def _reliability(runs: Sequence[Run]) -> tuple[str, str] | None:
    series = []
    for index, run in enumerate(runs):
        asked = [record for record in run.records.answered if record["yes"] is not None]
        if asked:
            truth = [record["target"] == record["yes"] for record in asked]
            bins = reliability(truth, [record["probabilities"][record["yes"]] for record in asked])
            most = max(one.n for one in bins)
            points = [Point(one.stated, one.observed, size=3 + 6 * (one.n / most) ** 0.5) for one in bins]
            series.append(Series(run.name, points, color=index))
    if not series:
        return None
    title = "Reliability of the probability of a defect"
    x, y = Axis("stated probability", 0.0, 1.0), Axis("share that is defective", 0.0, 1.0)
    return title, plot(title, x, y, series, diagonal=True)


def _rewards(runs: Sequence[Run]) -> tuple[str, str] | None:
    curves = [reward_curve(run.records.answered) for run in runs]
    series = [Series(runs[index].name, curve, color=index) for index, curve in enumerate(curves) if curve]
    if not series:
        return None
    values = [point.y for one in series for point in one.points]
    margin = max(0.02, 0.1 * (max(values) - min(values)))
    steps = max(point.x for one in series for point in one.points)
    title = "Best reward by step, mean over the questions that were thought about"
    y = Axis("best reward so far", min(values) - margin, max(values) + margin)
    return title, plot(title, Axis("step", 0.0, max(steps, 1.0)), y, series)


def reward_curve(records: Sequence[Record]) -> list[Point]:
    """Mean best reward after each step; a question that stopped keeps its last."""
    thought = [record for record in records if record["rewards"] and record["start_reward"] is not None]
    if not thought:
        return []
    steps = max(len(record["rewards"]) for record in thought)
    curves = [
        [one["start_reward"], *one["rewards"], *[one["rewards"][-1]] * (steps - len(one["rewards"]))] for one in thought
    ]
    return [Point(float(step), sum(c[step] for c in curves) / len(curves), size=3.5) for step in range(steps + 1)]
