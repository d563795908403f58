"""A panel over questions: every model has its own run, one after the other; then their answers are joined into one.

The members' runs are ordinary ones, below the panel's folder: resumable, with their own processes or requests at a
time. Weights come from the agreement on all questions that were asked, type by type; no right answer takes part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reason_iad.benchmark.content import Content
from reason_iad.benchmark.plan_file import read_joined, read_plan, write_plan
from reason_iad.benchmark.record_log import Record, write_run_file
from reason_iad.benchmark.runner import describe
from reason_iad.benchmark.setting import Setting
from reason_iad.errors import InputError
from reason_iad.files import sha256, write_whole
from reason_iad.inspection.panel import good_votes, join_defect, join_options
from reason_iad.inspection.panel_memory import GOOD, PanelMemory
from reason_iad.inspection.panel_weights import EVIDENCE
from reason_iad.inspection.session import DETECTION
from reason_iad.inspection.verdict import logit, sigmoid
from reason_iad.types import AnswerOffset

LOG = "records-0-of-1.jsonl"


def member_folder(out: Path, model: str) -> Path:
    """Where the run of one model of a panel lies."""
    plain = "".join(c if c.isalnum() or c in "-." else "_" for c in model)[-60:]
    return out / "members" / f"{plain}-{sha256(model)[:6]}"


def join_runs(out: Path, setting: Setting, members: Mapping[str, Path], fingerprints: Mapping[str, str]) -> int:
    """Write the panel's run of those of its models; gives the number of questions.

    Args:
        out: folder of the panel's run; an earlier one of the same panel is replaced.
        setting: of the panel, whose model names all of them.
        members: runs of the models, by name.
        fingerprints: of the models.

    Raises:
        InputError: a run has no plan, or there is another run in the folder.
    """
    write_run_file(out, describe("mmad", setting, Content.of(setting).to_mapping()))
    plan = read_plan(next(iter(members.values())))
    if plan is None:
        raise InputError(f"{next(iter(members.values()))} holds no plan; run the same command again")
    write_plan(out, "0-of-1", plan.source, plan.rows)
    said: dict[str, dict[str, Record]] = {}
    for name, folder in members.items():
        for record in read_joined(folder).records.answered:
            said.setdefault(record["id"], {})[name] = record
    memory = PanelMemory.of(fingerprints)
    for id_, records in said.items():
        kind, votes = _votes(records)
        if len(votes) > 1:
            memory.add(kind, f"{id_} {next(iter(records.values()))['image_sha256']}", votes)
        for item, spared in good_votes({name: _offset(record) for name, record in records.items()}):
            memory.add(GOOD, item, {name: [p, 1 - p] for name, p in spared.items()})
    memory.save()
    joined = [_joined(row, said[row["id"]], memory) for row in plan.rows if row["id"] in said]
    write_whole(out / LOG, "".join(json.dumps(record) + "\n" for record in joined))
    return len(joined)


def _votes(records: Mapping[str, Record]) -> tuple[str, dict[str, list[float]]]:
    """Type of a question, and what each voice says of its options; of a defect first, where it is about one."""
    first = next(iter(records.values()))
    if first["yes"] is None:
        return str(first["type"]), {name: list(record["probabilities"]) for name, record in records.items()}
    votes = {}
    for name, record in records.items():
        odds = logit(record["model"][record["yes"]]) - (record.get("offset") or 0.0)
        defect = sigmoid(odds)
        votes[name] = [defect, 1 - defect]
    if first["evidence"] is not None:
        votes[EVIDENCE] = [first["evidence"], 1 - first["evidence"]]
    return DETECTION, votes


def _offset(record: Record) -> AnswerOffset | None:
    """What a model said of good parts, where its run has kept it."""
    goods = record.get("goods")
    if not goods:
        return None
    odds, scores = zip(*goods, strict=True)
    return AnswerOffset(odds, record["offset"], scores)


def _joined(row: Record, records: Mapping[str, Record], memory: PanelMemory) -> dict[str, Any]:
    first = next(iter(records.values()))
    kind, votes = _votes(records)
    if first["yes"] is None:
        found, worth = join_options(votes, memory.agreed(kind))
        probabilities = list(found)
    else:
        on_defect = {name: said[0] for name, said in votes.items()}
        defect, worth = join_defect(on_defect, memory.on_defects(on_defect))
        probabilities = [1 - defect] * len(first["options"])
        probabilities[first["yes"]] = defect
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return {
        **first,
        "key": row["key"],
        "answer": best,
        "probabilities": [round(p, 7) for p in probabilities],
        "voices": [
            {"name": name, "probabilities": [round(p, 5) for p in said], "weight": round(worth[name], 4)}
            for name, said in votes.items()
        ],
        "milliseconds": _added([record["milliseconds"] for record in records.values()]),
    }


def _added(spent: list[dict[str, float]]) -> dict[str, float]:
    return {stage: round(sum(one.get(stage, 0.0) for one in spent), 1) for stage in spent[0]}
