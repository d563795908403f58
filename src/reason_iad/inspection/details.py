"""What kind of defect, where, how it looks and what follows: short answers that agree with the verdict.

Every phrase is chosen by probability among texts that cannot contradict verdict, type or place; nothing is generated
freely, because a small model that writes freely will sooner or later contradict its own verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reason_iad.evidence.looks import Look
from reason_iad.inspection.dialog import Reply
from reason_iad.knowledge.entries import CategoryKnowledge
from reason_iad.naming.namer import NONE
from reason_iad.types import PLACES, Answer, DefectNaming, Verdict
from reason_iad.words import counted

Choose = Callable[[str, Sequence[str], str | None, bool], Reply]  # question, options, type, whether to think

TYPE_QUESTION = "What type of defect does the object have?"
SURE = 0.5  # below, an answer is not stated as fact
SURE_OF_TYPE = 0.6  # from here nine of ten types that are stated are right on training images (docs/naming.md)
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
    choose: Choose,
    knowledge: CategoryKnowledge | None,
    place: str | None,
    measured: Look | None,
    verdict: Verdict,
    naming: DefectNaming | None = None,
    said: Answer | None = None,
) -> DefectDetails:
    """Put type, place and look in one sentence; what is not likelier than all else together is not stated as fact.

    Args:
        choose: answers questions about the image with calibrated probabilities.
        knowledge: what is known of the category.
        place: where the evidence saw it; the model is asked where there is none.
        measured: how it looks there; the model is asked where there is none.
        verdict: defective or uncertain.
        naming: its type; None where nothing names types.
        said: what the model answered about the type, where it was asked.
    """
    answers = [] if said is None else [said]
    kind = "type not known" if naming is None else naming.defect_type or _hedge(naming)
    known_place = place is not None
    if place is None:
        reply = choose(PLACE_QUESTION, [option_of(p) for p in PLACES], "Defect Localization", False)
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
    if naming is None:
        return DefectDetails(None, description, None, tuple(answers))
    return DefectDetails(naming.defect_type, description, naming.consequence, tuple(answers), naming.check_next)


def _hedge(naming: DefectNaming) -> str:
    """The two likeliest types where one of them is likelier than all others; else naming any would be a guess."""
    first, second = (*naming.types, *naming.types)[:2]
    if first.text == NONE:
        count = counted(naming.num_examples, "labeled example")
        return f"none of the known types, unlike all {count}" if first.probability >= SURE else "type not certain"
    if first.probability + second.probability < SURE or second.text == NONE:
        return "type not certain"
    return f"type not certain, perhaps {first.text} or {second.text}"


def option_of(name: str) -> str:
    """A name as an option of a question: with a capital letter and a full stop."""
    return name[0].upper() + name[1:].rstrip(".") + "."


def _name(knowledge: CategoryKnowledge | None) -> str:
    return "part" if knowledge is None or knowledge.category == "any_product" else knowledge.name
