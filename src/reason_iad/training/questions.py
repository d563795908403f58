"""Questions with true answers about synthetic images, in the seven kinds of the MMAD benchmark plus free-form ones.

Every answer follows from what the generator drew or from a measurement on the mask; where a measurement lies too
near a threshold for a person to tell, the question is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reason_iad.errors import InputError
from reason_iad.inspection.question_kinds import DETECTION, LEADS, LOOK, STATE, SURFACE, THING, TYPE, WHAT, WHERE
from reason_iad.training.question_phrases import (
    COLORS,
    CONFUSABLE,
    FACTS,
    NEAR_COLORS,
    NUMBERS,
    POOL_WORDS,
    POOLS,
    REPORT,
)  # fmt: skip
from reason_iad.training.synth_catalog import CATALOG, Catalog, CategorySpec
from reason_iad.training.synth_effects import LOOKS
from reason_iad.training.synth_measure import NormalSample, SynthSample
from reason_iad.types import PLACES, place_of

KINDS = (
    "Anomaly Detection", "Object Classification", "Object Analysis", "Defect Classification", "Defect Localization",
    "Defect Description", "Defect Analysis",
)  # fmt: skip
FREE_FORM = "Report"
MOST_OPTIONS = 9


@dataclass(frozen=True)
class TrainingQuestion:
    """A question with its options in the order shown, and which is right."""

    kind: str
    question: str
    options: tuple[str, ...]  # of a free-form question, the one reference answer
    answer_index: int
    free_form: bool = False

    @property
    def answer(self) -> str:
        """The right answer."""
        return self.options[self.answer_index]


def questions_for(
    sample: SynthSample | NormalSample, rng: np.random.Generator, catalog: Catalog = CATALOG
) -> tuple[TrainingQuestion, ...]:
    """All questions that can be asked about an image, phrased and ordered at random.

    Args:
        sample: a defective image, or a normal one; a pasted defect on a real image has no category, so that
            nothing is asked about its object.
        rng: draws phrasings, wrong options and their order.
        catalog: the categories that wrong options come from.
    """
    spec = catalog.specs.get(sample.category)
    defective = isinstance(sample, SynthSample)
    found = [_detection(defective, rng)]
    if spec is not None:
        found += _about_object(sample, spec, catalog, rng)
    if isinstance(sample, SynthSample):
        found += _about_defect(sample, spec, catalog, rng)
    found.append(_report(sample, spec, rng))
    return tuple(found)


def questions_from_mmad(entry: dict[str, Any]) -> tuple[TrainingQuestion, ...]:
    """The questions of one entry of a question file in the MMAD layout.

    Raises:
        InputError: the entry has no conversation, or a question whose answer is not among its options.
    """
    conversation = entry.get("conversation")
    if not isinstance(conversation, list):
        raise InputError(f"the entry has the fields {sorted(entry)}; expected a list under 'conversation'")
    found = []
    for number, item in enumerate(conversation):
        try:
            kind, question, letter, options = item["type"], item["Question"], item["Answer"], item["Options"]
            index = list(options).index(letter)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"question {number} of the entry is {item!r}; expected type, Question, Options by letter, and an "
                "Answer that is one of the letters"
            ) from error
        found.append(TrainingQuestion(kind, question, tuple(str(text) for text in options.values()), index))
    return tuple(found)


def knowledge_for(category: str, catalog: Catalog = CATALOG) -> tuple[str, ...]:
    """Knowledge texts of a category: its normal look, then one text per defect type."""
    spec = catalog[category]
    name = spec.object_name
    normal = f"Normal {name}: {sentence(spec.kind)} It shows {spec.surface}, complete and without marks."
    return normal, *(
        f"{name}, {kind}: {sentence(LOOKS[kind])} Possible consequence: {sentence(text)}"
        for kind, text in spec.consequences.items()
    )


def sentence(text: str) -> str:
    """Start with a capital, end with a period.

    >>> sentence("missing screw")
    'Missing screw.'
    """
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _choose(
    kind: str, questions: Sequence[str], right: str, wrong: Iterable[str], rng: np.random.Generator
) -> TrainingQuestion | None:
    """Put a question with its options in random order; None if no wrong option is left.

    More wrong options than one asks with, so that every time the question is used other ones can stand against the
    right one.
    """
    pool = sorted({sentence(text) for text in wrong} - {sentence(right)})
    if not pool:
        return None
    number = min(MOST_OPTIONS - 1, len(pool))
    options = [sentence(right), *(pool[int(k)] for k in rng.permutation(len(pool))[:number])]
    order = [int(k) for k in rng.permutation(len(options))]
    return TrainingQuestion(kind, _any(questions, rng), tuple(options[k] for k in order), order.index(0))


def _any(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def _detection(defective: bool, rng: np.random.Generator) -> TrainingQuestion:
    if rng.random() < 0.85:
        right, wrong = ("Yes.", "No.") if defective else ("No.", "Yes.")
        questions: Sequence[str] = DETECTION
    else:
        right, wrong = ("Defective.", "Normal.") if defective else ("Normal.", "Defective.")
        questions = STATE
    question = _choose(KINDS[0], questions, right, (wrong,), rng)
    assert question is not None
    return question


def _about_object(
    sample: SynthSample | NormalSample, spec: CategorySpec, catalog: Catalog, rng: np.random.Generator
) -> list[TrainingQuestion]:
    others = [other for other in catalog.specs.values() if other.group != spec.group]
    facts: list[tuple[Sequence[str], str, Iterable[str]]] = [
        (SURFACE, spec.surface, [other.surface for other in others]),
        (THING, spec.kind, [other.kind for other in others]),
    ]
    taken = {answer for _, answer in spec.structure}
    for question, answer in spec.structure:
        pool: Iterable[str] = next((pool for words, pool in POOLS if question.startswith(words)), ())
        pool = pool or [a for other in others for q, a in other.structure if not q.startswith(POOL_WORDS)]
        facts.append(((question,), answer, set(pool) - taken))
    for name, value in sample.facts.items():
        if name in FACTS:
            question, answers = FACTS[name]
            facts.append(((question,), *_fact_options(value, answers)))
    found = [_choose(KINDS[1], WHAT, spec.object_name, [other.object_name for other in others], rng)]
    found += [_choose(KINDS[2], *fact, rng) for fact in facts]
    return [question for question in found if question is not None]


def _fact_options(value: str, answers: tuple[str, ...]) -> tuple[str, list[str]]:
    """The right answer and wrong ones for a visible fact: a number, a color or a word."""
    if value.isdecimal():
        number = int(value)
        step = 1 if number <= 6 else 2 if number <= 12 else 4  # large counts cannot be told one apart
        wrong = [number + k * step for k in (-3, -2, -1, 1, 2, 3) if number + k * step > 0]
        return _number(number), [_number(k) for k in wrong]
    near = set().union(*(group for group in NEAR_COLORS if value in group)) if answers is COLORS else {value}
    return value, [text for text in answers if text not in near]


def _number(value: int) -> str:
    return NUMBERS[value] if value < len(NUMBERS) else str(value)


def _about_defect(
    sample: SynthSample, spec: CategorySpec | None, catalog: Catalog, rng: np.random.Generator
) -> list[TrainingQuestion]:
    kind = sample.defect_type
    alike = {kind}.union(*(group for group in CONFUSABLE if kind in group))
    general = ("scratch", "crack", "hole", "stain", "burr", "dent", "chip")
    own = [d for d in (spec.defects if spec else general) if d not in alike]
    # A wrong type that this product can have is the harder option; general ones fill up.
    wrong = own if len(own) >= 3 else own + [d for d in general if d not in alike]
    found = [_choose(KINDS[3], TYPE, kind, wrong, rng)]
    if clearly_placed(sample):
        found.append(_choose(KINDS[4], WHERE, sample.place, PLACES, rng))
    found += [_described(sample, rng), _looks(kind, wrong, rng)]
    if spec is not None:
        effect = spec.consequences[kind]
        foreign = [
            t for other in catalog.specs.values() if other.group != spec.group for t in other.consequences.values()
        ]
        picked = [foreign[int(k)] for k in rng.integers(0, len(foreign), 3)]
        near = [text for other, text in spec.consequences.items() if other not in alike and text != effect]
        found.append(_choose(KINDS[6], LEADS, effect, near if near and rng.random() < 0.5 else picked, rng))
    return [question for question in found if question is not None]


def clearly_placed(sample: SynthSample, margin: float = 0.12) -> bool:
    """Tell whether the defect's place cannot be disputed.

    The centroid lies `margin` of a cell from its borders and at least half of the mask lies in that cell.
    """
    height, width = sample.mask.shape
    for value, side in zip(sample.centroid_xy, (width, height), strict=True):
        part = value / side * 3
        inner = part - int(part)
        if (inner < margin and part > 1) or (inner > 1 - margin and part < 2):
            return False
    rows, columns = np.nonzero(sample.mask)
    step = max(rows.size // 400, 1)
    cells = [place_of(float(x), float(y), (height, width)) for x, y in zip(columns[::step], rows[::step], strict=True)]
    return cells.count(sample.place) >= 0.5 * len(cells)


PATTERNS = (
    "a {size}, {shape} region, {tone} its surroundings",
    "it is {size} and {shape}, and {tone} its surroundings",
    "the defect is {size}, {shape} and {tone} what lies around it",
)


def _described(sample: SynthSample, rng: np.random.Generator) -> TrainingQuestion | None:
    """Ask for size, shape and tone; a word that lies near its threshold is the same in all options."""
    sizes: tuple[str, ...] = ("tiny", "small", "large")
    shapes: tuple[str, ...] = ("compact", "elongated")
    tones: tuple[str, ...] = ("darker than", "brighter than", "about as bright as")
    edge = min(abs(np.log(sample.area / 0.004)), abs(np.log(sample.area / 0.03)))
    if edge < 0.15:
        sizes = (sample.size,)
    if abs(np.log(sample.elongation / 6)) < 0.2:
        shapes = (sample.shape,)
    if abs(abs(sample.tone_step) - 8) < 3:
        tones = tuple(t for t in tones if t == sample.tone or {t, sample.tone} == {"darker than", "brighter than"})
    pattern = _any((PATTERNS[0], *PATTERNS), rng)
    right = pattern.format(size=sample.size, shape=sample.shape, tone=sample.tone)
    wrong = [pattern.format(size=a, shape=b, tone=c) for a in sizes for b in shapes for c in tones]
    return _choose(KINDS[5], LOOK, right, wrong, rng)


def _looks(kind: str, wrong: Sequence[str], rng: np.random.Generator) -> TrainingQuestion | None:
    if kind not in LOOKS:
        return None
    return _choose(KINDS[5], LOOK, LOOKS[kind], [LOOKS[d] for d in wrong], rng)


def _report(
    sample: SynthSample | NormalSample, spec: CategorySpec | None, rng: np.random.Generator
) -> TrainingQuestion:
    name = sample.object_name
    if isinstance(sample, NormalSample):
        text = _any(
            (
                f"The {name} is normal; no defect can be seen.",
                f"No defect. The {name} looks as it should: {spec.surface if spec else 'even and complete'}.",
                f"The {name} shows no defect and can be accepted.",
            ),
            rng,
        )
        return TrainingQuestion(FREE_FORM, _any(REPORT, rng), (text,), 0, True)
    kind, place = sample.defect_type, sample.place
    article = "an" if kind[0] in "aeiou" else "a"
    kind = kind if kind in ("wear", "corrosion", "mold", "contamination", "spurious copper") else f"{article} {kind}"
    kind = kind.removeprefix("a ") if kind[2:] in ("bridged traces", "swapped cables", "missing dots") else kind
    where = f"in the {place}" if place != "center" else "in the center"
    look = f"{sample.size} and {sample.shape} and {sample.tone} its surroundings"
    text = _any(
        (
            f"The {name} is defective: {kind} {where} of the image. It is {look}.",
            f"Defective. The {name} has {kind} {where}; the area is {look}.",
            f"The {name} must be rejected because of {kind} {where}. The area is {look}.",
        ),
        rng,
    )
    return TrainingQuestion(FREE_FORM, _any(REPORT, rng), (text,), 0, True)
