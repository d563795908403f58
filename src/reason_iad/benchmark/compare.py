"""Runs read back from their folders, and the paired comparison of two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reason_iad.benchmark.ablation import name_of
from reason_iad.benchmark.plan_file import Joined, Plan, read_joined, read_plan
from reason_iad.benchmark.record_log import Record, Records, read_run_file
from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.summary import Summary, cluster_of, is_right, log_of_right, split_by_category, summarize
from reason_iad.benchmark.twins import twin_lines, twins_of
from reason_iad.datasets.questions import read_questions
from reason_iad.errors import InputError
from reason_iad.files import sha256_of_file
from reason_iad.metrics.intervals import Estimate
from reason_iad.metrics.paired import McNemar, clustered_mean, mcnemar, paired_difference


@dataclass(frozen=True)
class Run:
    """One run: its setting, its records and what they say."""

    folder: Path
    name: str
    setting: Setting
    facts: dict[str, Any]
    records: Records
    joined: Joined  # how records and plan of the whole run met

    @cached_property
    def summary(self) -> Summary:
        """Of all questions."""
        return summarize(self.records.records)

    @cached_property
    def parts(self) -> dict[str, Summary]:
        """Of the categories that the shipped weights may have seen and of the others, where the data says so."""
        seen = self.facts.get("seen_categories")
        if seen is None:
            return {}
        return {name: summarize(part) for name, part in split_by_category(self.records.records, seen).items()}

    @property
    def asked(self) -> frozenset[tuple[str, ...]]:
        """What has been asked, whatever the setting."""
        return frozenset(_asked(record) for record in self.records.records)

    def only(self, asked: frozenset[tuple[str, ...]]) -> Run:
        """The same run, with these questions alone."""
        kept = tuple(record for record in self.records.records if _asked(record) in asked)
        return Run(self.folder, self.name, self.setting, self.facts, Records(kept, self.records.keys, ()), self.joined)

    def to_json(self) -> dict[str, Any]:
        """The summary as one object."""
        parts = {name: part.to_json() for name, part in self.parts.items()}
        found = {"run": self.name, "setting": self.setting.to_mapping(), **self.summary.to_json(), **parts}
        if twins := twins_of(self.records.records):
            found["twins"] = {
                name: {
                    "original": one.original.value, "degraded": one.degraded.value, "difference": one.difference.value,
                    "interval": [one.difference.low, one.difference.high], "n": one.difference.n,
                    "p": one.test.p_value,
                }
                for name, one in twins.items()
            }  # fmt: skip
        return {
            **found, "unasked": self.joined.unasked, "duplicates": self.joined.duplicates,
            "left_plan": len(self.joined.left), "faults": len(self.facts.get("faults", ())), "notes": self.notes,
        }  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures must know."""
        faults = len(self.facts.get("faults", ()))
        more = [f"{faults} data faults were found; the first line of plan-*.jsonl lists them"] if faults else []
        return [*self.joined.lines(), *more]


def _asked(record: Record) -> tuple[str, ...]:
    """What tells a question from others: its id, its words and its options."""
    return record["id"], record["question"], *record["options"]


def load_run(folder: Path) -> Run:
    """Read a run, with what is right as its plan, or the question file that the plan is of, says now.

    Raises:
        InputError: the folder holds none, or no record of its plan.
    """
    facts = read_run_file(folder)
    if facts.get("task", "mmad") != "mmad":
        raise InputError(f"{folder} holds a run of {facts['task']!r}; expected one of `benchmark mmad`")
    setting = Setting.from_mapping(facts["setting"])
    plan, notes = refreshed(read_plan(folder))
    joined = read_joined(folder, plan)
    joined = dataclasses.replace(joined, notes=(*joined.notes, *notes))
    if not joined.records.records:
        raise InputError(f"{folder} holds no record; expected at least one: run the benchmark first")
    source = {} if plan is None else dict(plan.source)
    return Run(folder, name_of(setting), setting, {**facts, **source}, joined.records, joined)


def refreshed(plan: Plan | None) -> tuple[Plan | None, list[str]]:
    """A plan with the answers that its question file gives now, and what is to be said of that.

    Questions that the file no longer has, or has in other words, leave the plan; new ones are asked by the command.
    """
    if plan is None or "questions" not in plan.source:
        return plan, []
    file, root = Path(plan.source["questions"]), Path(plan.source["root"])
    try:
        if sha256_of_file(file) == plan.source["sha256"]:
            return plan, []
        found = read_questions(root, file, known_faults=bool(plan.source.get("known_faults")))
    except (InputError, OSError):
        return plan, [f"{file} cannot be read now; which answers are right is as the last run found it there"]
    now = {(s.id, q.number, q.question, q.options): (s, q) for s in found.samples for q in s.questions}
    rows = []
    for row in plan.rows:
        held = now.get((row["id"].rpartition("#")[0], row["order"][1], row["question"], tuple(row["options"])))
        if held is not None:
            sample, question = held
            rows.append({**row, "type": question.kind, "target": question.target, "category": sample.category})
    notes = [f"{file.name} has changed since the run; its answers are taken as they are now"]
    if gone := len(plan.rows) - len(rows):
        notes.append(f"{gone} questions of the plan are no longer in {file.name}; repeat the command to ask new ones")
    return dataclasses.replace(plan, rows=tuple(rows)), notes


def find_folders(paths: Sequence[Path]) -> list[Path]:
    """Folders of runs, from these themselves or from a folder of them as an ablation makes.

    Raises:
        InputError: a path holds no run.
    """
    folders: list[Path] = []
    for path in paths:
        below = sorted(file.parent for file in path.glob("*/run.json"))
        folders += [path] if (path / "run.json").is_file() or not below else below
    for folder in folders:
        read_run_file(folder)
    return folders


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """Read the runs in folders, or in folders of them; see `find_folders`."""
    return [load_run(folder) for folder in find_folders(paths)]


def on_common_questions(runs: Sequence[Run]) -> list[Run]:
    """The same runs with the questions that all of them have been asked, so that they can be compared.

    Raises:
        InputError: they have none in common.
    """
    asked = frozenset.intersection(*(run.asked for run in runs))
    if not asked:
        raise InputError("the runs have no question in common; expected runs on the same question file")
    return [run.only(asked) for run in runs]


@dataclass(frozen=True)
class Comparison:
    """The second run against the first, on the same questions."""

    first: str
    second: str
    difference: Estimate  # of the accuracy over all questions, second minus first
    by_type: dict[str, Estimate]
    test: McNemar
    log_gain: Estimate  # of the log-probability of the right option; questions that one run could not answer are out


def compare_runs(first: Run, second: Run) -> Comparison:
    """Compare two runs that have the same questions; see `on_common_questions`."""
    other_answers = {record["id"]: record for record in second.records.records}
    pairs = [(record, other_answers[record["id"]]) for record in first.records.records]
    one, other = [is_right(a) for a, _ in pairs], [is_right(b) for _, b in pairs]
    images = [cluster_of(a) for a, _ in pairs]
    by_type = {}
    for kind in first.summary.accuracy:
        mine = [index for index, (a, _) in enumerate(pairs) if a["type"] == kind]
        by_type[kind] = paired_difference([one[i] for i in mine], [other[i] for i in mine], [images[i] for i in mine])
    both = [index for index, pair in enumerate(pairs) if not any("error" in record for record in pair)]
    changes = [log_of_right(pairs[i][1]) - log_of_right(pairs[i][0]) for i in both]
    log_gain = clustered_mean(changes, [images[i] for i in both]) if both else Estimate(0.0, 0.0, 0.0, 0)
    difference = paired_difference(one, other, images)
    return Comparison(first.name, second.name, difference, by_type, mcnemar(one, other), log_gain)


def render_run(run: Run) -> str:
    """The summary of a run as lines of text."""
    summary = run.summary
    lines = [f"{run.name}: {run.setting}"]
    lines += [f"  {kind:24} {one}" for kind, one in summary.accuracy.items()]
    lines.append(f"  {'macro average':24} {summary.macro}, {len(summary.unreadable)} unreadable")
    for name, part in run.parts.items():
        lines.append(f"  {name + ' categories':24} macro {part.macro}")
    lines.append(f"  {'official scoring':24} {summary.official.average:.2f} %")
    if (found := summary.detection) is not None:
        lines.append(
            f"  {'detection':24} balanced {found.balanced:.3f}, overkill {found.overkill:.3f}, miss {found.miss:.3f}, "
            f"AUROC {found.auroc}, ECE {found.ece:.3f}"
        )
    if summary.cost is not None:
        stages = ", ".join(f"{name} {value:.0f}" for name, value in summary.cost.stages.items())
        lines.append(f"  {'ms a question':24} {summary.cost.total:.0f} ({stages})")
    thought = summary.thought
    lines.append(
        f"  {'changed by thought':24} {thought.changed} ({thought.right_before} right before, "
        f"{thought.right_after} right after)"
    )
    lines += twin_lines(run.records.records)
    lines += [f"  note: {line}" for line in run.notes]
    failed: list[Record] = list(run.records.failed)
    lines += [f"  unreadable: {record['id']}: {record['error']}" for record in failed[:20]]
    if len(failed) > 20:
        lines.append(f"  and {len(failed) - 20} more unreadable; they are in the records")
    return "\n".join(lines)
