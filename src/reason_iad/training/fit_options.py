"""Fit what joins the model in the probabilities of options, and write it into the adapter's settings.

    python -m reason_iad.training.fit_options --shards SHARDS --adapter src/reason_iad/data/nano

Weights of model, evidence and knowledge for each type of question come from the lines that were held out from training;
how reliable measured looks are is counted on all lines, since nothing of the evidence was trained. The knowledge is the
starter base, which was written apart from the questions. Prints accuracy and calibration error of the most likely
option, of the model alone and joined, cross-fitted: fitted on one half of the lines, measured on the other, and back.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from reason_iad.evidence.claims import NEEDED, LookReliability
from reason_iad.evidence.looks import Look
from reason_iad.inspection.option_fusion import (
    ANY_KIND,
    OptionFusion,
    OptionWeights,
    Spoken,
    fit_weights,
    measured,
    strongest,
)
from reason_iad.inspection.session import DETECTION
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.metrics.classification import expected_calibration_error
from reason_iad.recognition.prototypes import CategoryPrototypes
from reason_iad.training.nano_trainer import NanoTrainer
from reason_iad.training.notes import REPORTED
from reason_iad.training.packing import QuestionItem
from reason_iad.training.questions import KINDS, TrainingQuestion
from reason_iad.training.rows import Pictures, lay_row, take_turns
from reason_iad.training.shards import Shards
from reason_iad.training.train_options import TrainOptions

PLACED, LOOKED = KINDS[4], KINDS[5]
OF_THE_IMAGE = (PLACED, LOOKED)  # product knowledge has nothing to say on these
SAME_NAME = 0.85  # cosine from which two names stand for the same product


@dataclass(frozen=True)
class Asked:
    """A question as one image of a line was asked it."""

    line: int
    kind: str
    spoken: Spoken
    target: int


def read_look(record: dict[str, Any], shots: str | None) -> Look | None:
    """The measured look of an image against so many references: what every model's tables are counted of."""
    stored = record["looks"][shots] if shots else None
    return None if stored is None else Look(**{name: stored[name] for name in NEEDED})


def true_looks(lines: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Look, float]]:
    """Texts that are true of a defect, the look measured there, and the anomaly score."""
    for line in lines:
        for record in line["records"]:
            true = [q["options"][q["answer_index"]] for q in record["questions"] if q["kind"] in (PLACED, LOOKED)]
            for shots in record["looks"]:
                look = read_look(record, shots)
                for claim in true if look is not None else ():
                    yield claim, look, record["scores"][shots]  # type: ignore[misc]


def category_of(line: dict[str, Any], base: KnowledgeBase) -> str | None:
    """The category of the starter knowledge that a line shows: its own, or the one with nearly the same name.

    None for synthetic lines of what results are reported on: what their knowledge brings is not fitted.
    """
    if line["knowledge"]:
        name = line["knowledge"][0].partition(":")[0].removeprefix("Normal ")
    else:
        name = re.sub(r"^real-|-\d+$", "", line["name"])
    found = base.find_category(name)
    if found is None:
        known = [(c, n) for c in base.categories if (k := base.knowledge_of(c)) for n in (k.name, *k.aliases)]
        nearest, cosine = base.closest(name, [n for _, n in known])
        found = known[nearest][0] if cosine >= SAME_NAME else None
    return None if line["knowledge"] and found in REPORTED else found


@torch.no_grad()
def collect(
    trainer: NanoTrainer, lines: Sequence[dict[str, Any]], looks: LookReliability, base: KnowledgeBase
) -> list[Asked]:
    """Every image of the lines twice, with evidence and knowledge as they fall.

    Half of the images without knowledge play one of an unknown category: those that can be recognized are excluded.
    """
    learned = [c for c in CategoryPrototypes.load().categories if base.find_category(c)]
    found: list[Asked] = []
    for number, line in enumerate(lines):
        rng = random.Random(line["name"])  # noqa: S311
        category = category_of(line, base)
        for index in [*range(len(line["records"]))] * 2:
            shots = rng.choice([None, *sorted(line["records"][index]["evidence"])])
            draw = rng.random()
            informed = category if draw < 0.5 else None
            excluded = [c for c in learned if c != category] if informed is None and draw < 0.75 else []
            found += ask(trainer, line, index, shots, looks, base, informed, excluded, rng, number)
        print(f"line {number + 1} of {len(lines)}", flush=True)
    return found


def ask(
    trainer: NanoTrainer,
    line: dict[str, Any],
    index: int,
    shots: str | None,
    looks: LookReliability,
    base: KnowledgeBase,
    category: str | None,
    excluded: Sequence[str],
    rng: random.Random,
    number: int,
) -> Iterator[Asked]:
    """One image's questions, with the evidence of `shots` references and the knowledge of its category, or without.

    Without a category the notes are those on any product, as in use.
    """
    record = line["records"][index]
    items = []
    for q in take_turns([TrainingQuestion(**q) for q in record["questions"] if not q["free_form"]], rng)[:7]:
        choices = [q.answer, *rng.sample(wrong := [o for o in q.options if o != q.answer], min(3, len(wrong)))]
        rng.shuffle(choices)
        items.append(QuestionItem(q.kind, q.question, tuple(choices), choices.index(q.answer)))
    told = category is not None or excluded
    notes = tuple(c.text for c in base.retrieve("defects", category)) if told else ()
    scored = trainer(lay_row(trainer.info, trainer.tokenizer, line, index, Pictures(line, index), items, notes, shots))
    look = read_look(record, shots)
    about = None if category is None else base.knowledge_of(category)
    for item, (scores, _) in zip(items, scored, strict=True):
        silent = (0.0,) * len(item.options)
        evidence = silent
        if look is not None:
            evidence = measured(item.options, look, record["scores"][shots], looks, about, base.closest)
        support = silent if category is None else base.support(item.question, item.options, category)
        unlike = strongest(base, item.question, item.options, excluded) if excluded else silent
        if item.kind in OF_THE_IMAGE:
            support = unlike = silent
        model = tuple(scores.softmax(-1).tolist())
        yield Asked(number, item.kind, Spoken(model, evidence, support, unlike), item.answer)


def fit(asked: Sequence[Asked], prior: OptionWeights | None = None) -> OptionWeights:
    """Weights for these questions."""
    return fit_weights([(a.spoken, a.target) for a in asked], prior)


def measure(asked: Sequence[Asked], weights: Sequence[OptionWeights]) -> tuple[float, float]:
    """Accuracy and calibration error; lines of even and odd number each have their weights."""
    joined = [a.spoken.joined(weights[a.line % 2]) for a in asked]
    right = [max(range(len(p)), key=p.__getitem__) == a.target for a, p in zip(asked, joined, strict=True)]
    return sum(right) / len(right), expected_calibration_error(right, [max(p) for p in joined])


def main() -> None:
    """Count, collect, fit, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    args = parser.parse_args()
    options = TrainOptions()
    shards = Shards(args.shards, options.held_out)
    looks = LookReliability.count(true_looks([*shards.train, *shards.held_out]))
    asked = collect(NanoTrainer.of(args.adapter, options), shards.held_out, looks, KnowledgeBase.load())
    by_kind: dict[str, list[Asked]] = defaultdict(list)
    for a in asked:
        by_kind[a.kind].append(a)
    pooled = [a for a in asked if a.kind != DETECTION]
    common = fit(pooled)
    weights = {ANY_KIND: common}
    print(f"{ANY_KIND}: {common}, n={len(pooled)}")
    for kind, found in sorted(by_kind.items()):
        prior = replace(common, knowledge=0.0, excluded=0.0) if kind in OF_THE_IMAGE else common
        weights[kind] = fit(found, prior)
        if kind == DETECTION:
            weights[kind] = OptionWeights(weights[kind].model)  # fused with the anomaly score instead
        crossed = [fit([a for a in found if a.line % 2 != part], prior) for part in (0, 1)]
        plain, joined = measure(found, [OptionWeights()] * 2), measure(found, crossed)
        told = "accuracy {:.3f}, calibration error {:.3f}"
        print(f"{kind}: {told.format(*plain)} alone; {told.format(*joined)} joined; n={len(found)}; {weights[kind]}")
    path = args.adapter / "adapter.json"
    before = json.loads(path.read_text())
    held = before.get("options", {}).get("looks", {})  # of its finer parts, which `count_looks` counts
    counted = {
        part: {**held.get(part, {}), **{name: found[name] for name in NEEDED}}
        for part, found in looks.to_settings().items()
    }
    stored = {"weights": {kind: asdict(w) for kind, w in weights.items()}, "looks": counted}
    settings = {**before, "options": stored}
    OptionFusion.from_settings(settings)  # what cannot be read back is not written
    path.write_text(json.dumps(settings, indent=1) + "\n")


if __name__ == "__main__":
    main()
