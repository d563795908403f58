"""A published number by one command: the plain model, and the method's parts added to it, on all questions of a file.

What it will take is said before it starts, from the first two images; the rest goes on where it was stopped. The
table stands beside the published ones, and a card says how another can check it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reason_iad.benchmark.ablation import simplify
from reason_iad.benchmark.card import SPOT_IMAGES
from reason_iad.benchmark.compare import Run, load_run
from reason_iad.benchmark.plan_file import read_joined
from reason_iad.benchmark.published import NOTE, published_results
from reason_iad.benchmark.record_log import read_records
from reason_iad.benchmark.runner import Pool, mixed, run_questions, spread
from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.summary import question_cost
from reason_iad.datasets.mmad import TYPES, MmadQuestions
from reason_iad.models.registry import sees_references

PROBE_IMAGES = 2
MMAD_SIZE = (8366, 39672)  # images and questions, as published (arXiv 2410.09453)


def settings_for(base: Setting, sees_references: bool) -> dict[str, Setting]:
    """Plain, with knowledge, with evidence, and the full method, all with one reference as published figures have it.

    The bundled model sees references through the evidence alone, so its plain form has none.
    """
    plain = replace(base, shots=1, knowledge="none", latents="off", injection="off", evidence="off")
    named = {
        "plain": plain,
        "knowledge": replace(plain, knowledge="retrieved"),
        "evidence": replace(plain, evidence="on"),
        "full": replace(plain, knowledge="retrieved", evidence="on", latents="on", injection="on"),
    }
    return {name: simplify(one, sees_references) for name, one in named.items()}


def check_data(questions: MmadQuestions) -> list[str]:
    """What is there, beside what MMAD has."""
    datasets: dict[str, int] = {}
    for sample in questions.samples:
        datasets[sample.dataset] = datasets.get(sample.dataset, 0) + 1
    images, asked = MMAD_SIZE
    shown = ", ".join(f"{name} {count:,}" for name, count in sorted(datasets.items()))
    lines = [f"data: {questions.num_questions:,} questions about {len(questions.samples):,} images ({shown})"]
    if (len(questions.samples), questions.num_questions) != MMAD_SIZE:
        lines.append(f"MMAD has {asked:,} questions about {images:,} images: figures on other data rank against none")
    if questions.faults:
        lines.append(f"{len(questions.faults)} data faults; each is listed above and in the plan")
    return lines


def probe(questions: MmadQuestions, folders: Mapping[Setting, Path], pool: Pool, limit: int | None = None) -> float:
    """Seconds that one question costs in all settings: of what was asked before, or of the first images, asked now."""
    if not all(read_records(folder).answered for folder in folders.values()):
        few = replace(questions, samples=tuple(mixed(spread(questions.samples, limit))[:PROBE_IMAGES]))
        run_questions(few, folders, pool)
    total = 0.0
    for folder in folders.values():
        records = read_joined(folder).records.answered
        costs = [sum(question_cost(record).values()) for record in records]
        total += sum(costs) / len(costs) / 1000 if costs else 0.0
    return total


def spot_images(questions: MmadQuestions, limit: int | None) -> list[str]:
    """Images whose answers go into the card: the first that are asked."""
    return [sample.name for sample in mixed(spread(questions.samples, limit))[:SPOT_IMAGES]]


def table(card: Mapping[str, Any], whole: bool) -> str:
    """Figures of a card beside the published ones, as Markdown.

    Args:
        card: see `make_card`.
        whole: whether all of MMAD was asked, so that the figures may be compared.
    """
    header = ("method", *TYPES, "average", "n", "trained on MMAD's images")
    lines = [
        f"# {card['model']} on {card['data']['questions']}", "",
        "Official scoring, in %, with 95 % intervals (whole images drawn again). "
        + ("" if whole else "These are not all questions of MMAD: nothing here ranks against the published figures. ")
        + "Strict scores, which count unreadable answers as wrong, are in the card.",
        "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header),
    ]  # fmt: skip
    for name, result in card["results"].items():
        cells = [_cell(result["official"].get(kind)) for kind in TYPES]
        more = f", {result['unreadable']} unreadable" if result["unreadable"] else ""
        trained = "not stated" if sees_references(card["model"]) else "no"
        average = _cell(result["official_average"])
        lines.append(_row(f"**{name}** (here)", cells, average, f"{result['n']:,}{more}", trained))
    for one in published_results():
        cells = [f"{one.accuracy[kind]:.1f}" for kind in TYPES]
        lines.append(_row(one.method, cells, f"{one.average:.1f}", "", one.trained))
    lines += ["", f"{NOTE}. Sources: " + "; ".join(sorted({one.source for one in published_results()})) + ".", ""]
    return "\n".join(lines)


def _row(name: str, cells: Sequence[str], *more: str) -> str:
    return "| " + " | ".join([name, *cells, *more]) + " |"


def _cell(one: Mapping[str, float] | None) -> str:
    if one is None:
        return "-"
    return f"{100 * one['value']:.1f} ({100 * one['low']:.1f}-{100 * one['high']:.1f})"


def load_runs(folders: Mapping[str, Path]) -> dict[str, Run]:
    """Runs by the names of their settings."""
    return {name: load_run(folder) for name, folder in folders.items()}
