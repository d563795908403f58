"""What kind of defect, where, how it looks and what follows: short answers that agree with the verdict.

Every phrase is chosen by probability among texts that cannot contradict verdict, type or place; nothing is generated
freely, because a small model that writes freely will sooner or later contradict its own verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reason_iad.inspection.dialog import Dialog
from reason_iad.knowledge.entries import CategoryKnowledge
from reason_iad.types import PLACES, Answer, Region, Verdict

TYPE_QUESTION = "What type of defect does the object have?"
SURE_OF_TYPE = 0.5  # below, the type and its consequence are not stated as fact
PLACE_QUESTION = "Where in the image is the defect?"
LOOK_QUESTION = "Which description fits the defect best?"
LOOKS = tuple(
    f"A {size}, {shape} region, {tone} its surroundings."
    for size in ("tiny", "small", "large")
    for shape in ("elongated", "compact")
    for tone in ("darker than", "brighter than")
)


@dataclass(frozen=True)
class DefectDetails:
    """The words of a report."""

    defect_type: str | None
    description: str
    consequence: str | None
    answers: tuple[Answer, ...] = ()


def describe_normal(knowledge: CategoryKnowledge | None) -> DefectDetails:
    """What a report says about a good part."""
    return DefectDetails(None, f"No defect was found on the {_name(knowledge)}.", None)


def describe_defect(
    dialog: Dialog, knowledge: CategoryKnowledge | None, regions: Sequence[Region], verdict: Verdict
) -> DefectDetails:
    """Ask the model for type, place and look, and put them in one sentence."""
    answers: list[Answer] = []
    defects = knowledge.defects if knowledge is not None else ()
    chosen, kind = None, "defect"
    if len(defects) >= 2:
        reply = dialog.choose(TYPE_QUESTION, [_option(d.name) for d in defects], think=False)
        answers.append(reply.answer)
        chosen = next(d for d in defects if _option(d.name) == reply.answer.text)
        kind = chosen.name
        if reply.probability_of(reply.answer.text) < SURE_OF_TYPE:
            chosen, kind = None, f"type not certain, perhaps {kind}"
    place = regions[0].place if regions else None
    if place is None:
        reply = dialog.choose(PLACE_QUESTION, [_option(p) for p in PLACES], think=False)
        answers.append(reply.answer)
        place = reply.answer.text.rstrip(".").lower()
    look = dialog.choose(LOOK_QUESTION, LOOKS, think=False).answer
    answers.append(look)
    lead = "Defect" if verdict == "defective" else "Possible defect"
    words = look.text[0].lower() + look.text[1:]
    description = f"{lead} on the {_name(knowledge)}: {kind}, {place}; {words}"
    consequence = chosen.consequence if chosen is not None else None
    return DefectDetails(chosen.name if chosen else None, description, consequence, tuple(answers))


def _option(name: str) -> str:
    return name[0].upper() + name[1:].rstrip(".") + "."


def _name(knowledge: CategoryKnowledge | None) -> str:
    return "part" if knowledge is None or knowledge.category == "any_product" else knowledge.name
