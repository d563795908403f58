"""What kind of defect, where, how it looks and what follows: short answers that agree with the verdict.

Every phrase is chosen by probability among texts that cannot contradict verdict, type or place; nothing is generated
freely, because a small model that writes freely will sooner or later contradict its own verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reason_iad.evidence.looks import Look
from reason_iad.inspection.dialog import Reply
from reason_iad.knowledge.entries import CategoryKnowledge, DefectKnowledge
from reason_iad.types import PLACES, Answer, Verdict

Choose = Callable[[str, Sequence[str], str | None, bool], Reply]  # question, options, type, whether to think

TYPE_QUESTION = "What type of defect does the object have?"
SURE = 0.5  # below, an answer is not stated as fact
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
    check_next: str | None = None


def describe_normal(knowledge: CategoryKnowledge | None) -> DefectDetails:
    """What a report says about a good part."""
    return DefectDetails(None, f"No defect was found on the {_name(knowledge)}.", None)


def describe_defect(
    choose: Choose, knowledge: CategoryKnowledge | None, place: str | None, measured: Look | None, verdict: Verdict
) -> DefectDetails:
    """Put type, place and look in one sentence; what is not likelier than all else together is not stated as fact.

    Args:
        choose: answers questions about the image with calibrated probabilities.
        knowledge: offers the types of defects.
        place: where the evidence saw it; the model is asked where there is none.
        measured: how it looks there; the model is asked where there is none.
        verdict: defective or uncertain.
    """
    answers: list[Answer] = []
    defects = knowledge.defects if knowledge is not None else ()
    chosen, kind = None, "type not known"
    if len(defects) == 1:
        chosen, kind = defects[0], defects[0].name
    elif defects:
        offered = {_option(defect.name): defect for defect in defects}
        reply = choose(TYPE_QUESTION, list(offered), "Defect Classification", False)
        answers.append(reply.answer)
        chosen = offered[reply.answer.text]
        kind = chosen.name
        if reply.probability_of(reply.answer.text) < SURE:
            chosen, kind = None, _hedge(reply.answer, offered)
    known_place = place is not None
    if place is None:
        reply = choose(PLACE_QUESTION, [_option(p) for p in PLACES], "Defect Localization", False)
        answers.append(reply.answer)
        place = reply.answer.text.rstrip(".").lower()
        if reply.probability_of(reply.answer.text) < SURE:
            place = "place not certain"
    if measured is not None and known_place:
        seen = f"; {measured.phrase}."
    else:
        look = choose(LOOK_QUESTION, LOOKS, "Defect Description", False)
        answers.append(look.answer)
        words = f"; {look.answer.text[0].lower()}{look.answer.text[1:]}"
        seen = words if look.probability_of(look.answer.text) >= SURE else "."
    lead = "Defect" if verdict == "defective" else "Possible defect"
    description = f"{lead} on the {_name(knowledge)}: {kind}, {place}{seen}"
    consequence = chosen.consequence if chosen is not None else None
    check = chosen.check if chosen is not None else None
    return DefectDetails(chosen.name if chosen else None, description, consequence, tuple(answers), check)


def _hedge(answer: Answer, offered: Mapping[str, DefectKnowledge]) -> str:
    """The two likeliest types where one of them is likelier than all others; else naming any would be a guess."""
    first, second = sorted(answer.options, key=lambda option: -option.probability)[:2]
    if first.probability + second.probability < SURE:
        return "type not certain"
    return f"type not certain, perhaps {offered[first.text].name} or {offered[second.text].name}"


def _option(name: str) -> str:
    return name[0].upper() + name[1:].rstrip(".") + "."


def _name(knowledge: CategoryKnowledge | None) -> str:
    return "part" if knowledge is None or knowledge.category == "any_product" else knowledge.name
