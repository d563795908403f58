"""What an adapter answers on held-out lines, with and without details, and how two adapters differ on the same ones."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reason_iad.errors import InputError
from reason_iad.metrics.classification import auroc
from reason_iad.metrics.intervals import Estimate, bootstrap
from reason_iad.training.details import ask_about
from reason_iad.training.nano_trainer import NanoTrainer, mixed
from reason_iad.training.questions import KINDS, TrainingQuestion
from reason_iad.training.rows import Pictures, draw_item, lay_row
from reason_iad.training.train_options import TrainOptions

DETECTION = KINDS[0]
BEHIND = (DETECTION, KINDS[3], KINDS[4])  # kinds that are asked behind a detail, too
MOST = 5  # questions about an image


@dataclass(frozen=True)
class HeldOutAnswer:
    """One question about an image of a held-out line, as an adapter answered it."""

    line: str
    number: int  # of the image
    kind: str
    evidence: bool
    details: bool
    right: bool
    log_prob: float  # of the right option
    defect: float | None  # log-odds of a defect, of detection
    defective: bool

    @property
    def setting(self) -> str:
        """How it was asked."""
        return f"{self.kind}{' +evidence' if self.evidence else ''}{' +detail' if self.details else ''}"


@torch.no_grad()
def answer_line(
    trainer: NanoTrainer,
    line: dict[str, Any],
    options: TrainOptions,
    images: int,
    evidences: Sequence[bool] = (False, True),
) -> list[HeldOutAnswer]:
    """Answer questions about the first images of a line: with evidence and without, behind a detail and without.

    The detail is the one that the evidence leads to, as in use; the same questions are asked whatever the adapter.
    """
    trainer.eval()
    found: list[HeldOutAnswer] = []
    for number in range(min(images, len(line["records"]))):
        for evidence in evidences:
            for details in (False, True):
                found += _answer(trainer, line, number, options, evidence, details)
    trainer.train()
    return found


def _answer(
    trainer: NanoTrainer, line: dict[str, Any], number: int, options: TrainOptions, evidence: bool, details: bool
) -> Iterator[HeldOutAnswer]:
    """Answers to one row of questions about an image."""
    record = line["records"][number]
    if (details and not record["details"]) or (evidence and not record["evidence"]):
        return
    rng = random.Random(f"{line['name']}/{number}")  # noqa: S311 - the same questions in every setting
    pictures = Pictures(line, number)
    items = []
    for q in first_of_each(record["questions"]):
        item = draw_item(q, options, rng, (pictures.show(0),) if details and q.kind in BEHIND else (), 0)
        if not details or q.kind in BEHIND:
            items.append(item)
    about = ask_about(record["details"][0]["shows"], record["look"], rng) if details else None
    if about is not None:
        items.append(draw_item(about, options, rng, (pictures.show(0),), 0))
    shots = max(record["evidence"]) if evidence else None
    row = lay_row(trainer.info, trainer.tokenizer, line, number, pictures, items, (), shots)
    with mixed(options):
        scored = trainer(row)
    for (scores, _), item in zip(scored, items, strict=True):
        said = scores.float().log_softmax(-1)
        defect = None
        if item.kind == DETECTION:
            sign = 1 if record["defective"] else -1  # of two options the right one speaks for what is true
            defect = sign * float(said[item.answer] - said[1 - item.answer])
        right = int(said.argmax()) == item.answer
        yield HeldOutAnswer(
            line["name"], number, item.kind, evidence, details, right, float(said[item.answer]), defect,
            record["defective"],
        )  # fmt: skip


def first_of_each(questions: Sequence[dict[str, Any]]) -> list[TrainingQuestion]:
    """The first question of each kind with options, up to a few."""
    by_kind: dict[str, TrainingQuestion] = {}
    for stored in questions:
        if not stored["free_form"]:
            by_kind.setdefault(stored["kind"], TrainingQuestion(**stored))
    order = sorted(by_kind, key=lambda kind: kind not in BEHIND)
    return [by_kind[kind] for kind in order[:MOST]]


def answer_all(
    trainer: NanoTrainer,
    lines: Sequence[dict[str, Any]],
    options: TrainOptions,
    images: int,
    kept: Path,
    evidences: Sequence[bool] = (False, True),
) -> list[HeldOutAnswer]:
    """Answers on all lines; each line's are kept in a file at once, and those kept are not asked again."""
    found = read_answers(kept) if kept.exists() else []
    done = {answer.line for answer in found}
    for line in lines:
        if line["name"] in done:
            continue
        mine = answer_line(trainer, line, options, images, evidences)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([asdict(answer) for answer in mine]) + "\n")
        found += mine
    return found


def read_answers(path: Path) -> list[HeldOutAnswer]:
    """The answers that `answer_all` kept, a line of the file for each line of products; a torn last one is left out."""
    found: list[HeldOutAnswer] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            found += [HeldOutAnswer(**stored) for stored in json.loads(text)]
        except ValueError:
            continue
    return found


def table(answers: Sequence[HeldOutAnswer]) -> str:
    """Accuracy, mean log-probability of the right option and, of detection, AUROC by setting."""
    groups: dict[str, list[HeldOutAnswer]] = defaultdict(list)
    for answer in answers:
        groups[answer.setting].append(answer)
    lines = ["| question | n | right | log-probability | AUROC |", "|---|---|---|---|---|"]
    for setting, mine in sorted(groups.items()):
        right, said = np.mean([a.right for a in mine]), np.mean([a.log_prob for a in mine])
        known = len({a.defective for a in mine}) == 2 and mine[0].kind == DETECTION
        area = f"{auroc([a.defective for a in mine], [a.defect or 0.0 for a in mine]):.3f}" if known else ""
        lines.append(f"| {setting} | {len(mine)} | {right:.3f} | {said:.3f} | {area} |")
    return "\n".join(lines)


def compare(first: Sequence[HeldOutAnswer], second: Sequence[HeldOutAnswer]) -> str:
    """What the second adapter gains over the first on the same questions, with 95 % intervals over lines.

    Raises:
        InputError: they were not asked the same questions.
    """
    before = {(a.line, a.number, a.setting): a for a in first}
    pairs: dict[str, dict[str, list[tuple[HeldOutAnswer, HeldOutAnswer]]]] = defaultdict(lambda: defaultdict(list))
    for answer in second:
        if (key := (answer.line, answer.number, answer.setting)) in before:
            pairs[answer.setting][answer.line].append((before[key], answer))
    if not pairs:
        raise InputError("the two files hold no answer to the same question; expected answers on the same shards")
    lines = ["| question | n | lines | right | log-probability | AUROC |", "|---|---|---|---|---|---|"]
    for setting, by_line in sorted(pairs.items()):
        groups = list(by_line.values())
        cells = [_gain(groups, _right), _gain(groups, _said)]
        known = len({a.defective for group in groups for a, _ in group}) == 2
        cells.append(_gain(groups, _areas) if setting.startswith(DETECTION) and known else "")
        lines.append(f"| {setting} | {sum(map(len, groups))} | {len(groups)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def behind_details(answers: Sequence[HeldOutAnswer]) -> str:
    """What a detail changes in one adapter's answers to the same questions, with 95 % intervals over lines."""
    without = [replace(answer, details=True) for answer in answers if not answer.details]
    return compare(without, [answer for answer in answers if answer.details])


_Pairs = list[tuple[HeldOutAnswer, HeldOutAnswer]]


def _gain(groups: list[_Pairs], statistic: Callable[[_Pairs], float]) -> str:
    """A paired statistic with its interval, lines drawn again."""

    def drawn(index: np.ndarray) -> float:
        return statistic([pair for i in index for pair in groups[i]])

    found: Estimate = bootstrap(range(len(groups)), drawn)
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _right(pairs: _Pairs) -> float:
    return float(np.mean([int(b.right) - int(a.right) for a, b in pairs]))


def _said(pairs: _Pairs) -> float:
    return float(np.mean([b.log_prob - a.log_prob for a, b in pairs]))


def _areas(pairs: _Pairs) -> float:
    labels = [a.defective for a, _ in pairs]
    return auroc(labels, [b.defect or 0.0 for _, b in pairs]) - auroc(labels, [a.defect or 0.0 for a, _ in pairs])
