"""Questions that are answered by the notes in the prompt, for products picked at random.

A small model that learns what the training's products are called answers with those names, whatever it is shown. So
in a part of the rows the notes speak of another product than the image shows, and what is asked about the product is
answered by the notes: the model learns to read them. Texts have the form that retrieved knowledge has in use.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reason_iad.inspection.question_kinds import LEADS, SURFACE, WHAT
from reason_iad.knowledge.entries import ANY_PRODUCT, load_categories
from reason_iad.knowledge.names import normalize_name
from reason_iad.training.questions import KINDS, TrainingQuestion, sentence
from reason_iad.training.synth_catalog import CATALOG
from reason_iad.training.synth_effects import LOOKS

# Products that results are reported on; what is said of them is never trained on.
REPORTED = frozenset(
    {
        "alien_figure", "bare_pcb", "cookie", "four_screw_block", "hazelnut", "light_guide_plate", "magnetic_tile",
        "pump_impeller", "solar_cell",
    }
)  # fmt: skip
MOST_DEFECTS = 3  # notes on defects beside the one on the normal look, as in use


@dataclass(frozen=True)
class Product:
    """A product as notes tell of it."""

    name: str
    normal: str
    looks: dict[str, str]  # by the defect's name
    consequences: dict[str, str]

    def notes(self, defects: Sequence[str]) -> tuple[str, ...]:
        """The note on the normal look, then one on each of some defects."""
        return f"Normal {self.name}: {self.normal}", *(
            f"{self.name}, {d}: {self.looks[d]} Possible consequence: {self.consequences[d]}" for d in defects
        )


def products() -> tuple[Product, ...]:
    """The synthetic products and those of the starter knowledge, without those that results are reported on."""
    base = load_categories()
    reported = {normalize_name(n) for k in base if k.category in REPORTED for n in (k.category, k.name, *k.aliases)}
    found = [
        Product(
            spec.object_name,
            f"{sentence(spec.kind)} It shows {spec.surface}, complete and without marks.",
            {d: sentence(LOOKS[d]) for d in spec.defects},
            {d: sentence(text) for d, text in spec.consequences.items()},
        )
        for name, spec in CATALOG.specs.items()
        if not {normalize_name(name), normalize_name(spec.object_name)} & reported
    ]
    for known in base:
        if known.category not in REPORTED and known.category != ANY_PRODUCT:
            looks = {d.name: d.look for d in known.defects}
            found.append(Product(known.name, known.normal[0], looks, {d.name: d.consequence for d in known.defects}))
    return tuple(found)


def ask_notes(
    product: Product, others: Sequence[Product], rng: random.Random, count: int
) -> tuple[tuple[str, ...], list[TrainingQuestion]]:
    """Notes on a product and up to `count` questions that they answer; wrong options come from other products."""
    defects = rng.sample(sorted(product.looks), min(MOST_DEFECTS, len(product.looks)))
    picked = rng.sample([p for p in others if p.name != product.name], min(8, len(others) - 1))
    makers = [_name, _surface, *([_consequence, _look] if defects else [])]
    found = []
    for maker in rng.sample(makers, min(count, len(makers))):
        kind, question, right, wrong = maker(product, defects, picked, rng)
        options = sorted({sentence(text) for text in wrong} - {sentence(right)})
        if options:
            found.append(TrainingQuestion(kind, question, (sentence(right), *options), 0))
    return product.notes(defects), found


_Asked = tuple[str, str, str, list[str]]


def _name(product: Product, defects: Sequence[str], others: Sequence[Product], rng: random.Random) -> _Asked:
    return KINDS[1], rng.choice(WHAT), product.name, [p.name for p in others]


def _surface(product: Product, defects: Sequence[str], others: Sequence[Product], rng: random.Random) -> _Asked:
    return KINDS[2], rng.choice(SURFACE), product.normal, [p.normal for p in others]


def _consequence(product: Product, defects: Sequence[str], others: Sequence[Product], rng: random.Random) -> _Asked:
    """What the notes say of one defect against what they say of the others, and what is said of other products."""
    asked = rng.choice(defects)
    wrong = [product.consequences[d] for d in defects if d != asked]
    wrong += [rng.choice(sorted(p.consequences.values())) for p in others if p.consequences]
    question = rng.choice(("The defect is: {}. {}", "The object has this defect: {}. {}")).format(
        asked, rng.choice(LEADS)
    )
    return KINDS[6], question, product.consequences[asked], wrong[:8]


def _look(product: Product, defects: Sequence[str], others: Sequence[Product], rng: random.Random) -> _Asked:
    asked = rng.choice(defects)
    wrong = [product.looks[d] for d in defects if d != asked]
    wrong += [rng.choice(sorted(p.looks.values())) for p in others if p.looks]
    return KINDS[5], f"How does this defect look on the object: {asked}?", product.looks[asked], wrong[:8]
