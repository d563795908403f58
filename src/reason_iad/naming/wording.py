"""How well what was measured of an area fits what the knowledge says of each type's look, without any example.

    z_k = sum over attributes a of c_a(k) (w_a + v_a . m_a)

c_a(k) is what the words of type k claim of an attribute: for size -1 small, 1 large, 0 nothing; m_a are the few numbers
of a description that tell the attribute. w and v are those at which the right types of many products, most of them
synthetic, are likeliest (conditional logistic regression; `training/fit_wording.py`), so that a claim counts by how
far its kind of claim holds.

Axes: K types, F terms, D numbers of a description.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reason_iad.evidence.claims import claims
from reason_iad.naming import extent, look_numbers
from reason_iad.naming.describe import split_blocks
from reason_iad.naming.examples import Floats
from reason_iad.naming.few_shot import Doubles

SETTINGS = Path(__file__).parent / "data" / "wording.json"
# The numbers that tell each attribute.
MEASURED: Mapping[str, tuple[str, ...]] = {
    "size": ("whole_size", "size", "odd_share"),
    "long": ("whole_elongation", "elongation", "thickness"),
    "tone": ("step", "contrast"),
    "edge": ("near_edge", "whole_size"),
    "sharp": ("sharpness", "peak"),
    "red": ("red",),
    "yellow": ("yellow",),
    "level": ("across",),
    "rough": ("texture", "sharpness"),
    "many": ("pieces", "areas"),
    "missing": ("near_edge", "peak", "whole_size"),
}
_VALUES: Mapping[str, tuple[str, Mapping[str, float]]] = {  # attribute of `evidence.claims`, and its values as numbers
    "size": ("size", {"tiny": -1.0, "small": -0.7, "large": 1.0}),
    "long": ("shape", {"elongated": 1.0, "compact": -1.0}),
    "tone": ("tone", {"darker than": -1.0, "brighter than": 1.0}),
    "edge": ("border", {"at the edge": 1.0}),
    "sharp": ("sharpness", {"sharp": 1.0, "gradual": -1.0}),
    "red": ("hue", {"redder": 1.0, "greener": -1.0}),
    "yellow": ("hue", {"yellower": 1.0, "bluer": -1.0}),
    "level": ("direction", {"level": 1.0, "upright": -1.0}),
}
_WORDS: Mapping[str, re.Pattern[str]] = {
    "rough": re.compile(r"\b(?:rough|crumbl\w*|torn|ragged|coarse|jagged|scal[ey]\w*|flak\w*|fray\w*|powder\w*)\b"),
    "many": re.compile(r"\b(?:several|many|groups?|network|multiple|pits|spots|holes|specks|bands|flecks)\b"),
    "missing": re.compile(
        r"\b(?:piece|part|corner|chip|rim|end|tooth)\b[^.;,]*\b(?:missing|absent|gone)\b|"
        r"\b(?:missing|absent) (?:\w+ )?(?:piece|part|corner|edge|rim)|\boutline\b"
    ),
}
# Nouns that say a shape or size by themselves, where no adjective does.
_LONG = re.compile(r"\b(?:cracks?|scratch\w*|cuts?|slits?|grooves?|creases?|wrinkles?|fissures?|seams?|threads?)\b")
_ROUND = re.compile(r"\b(?:holes?|pores?|pits?|bubbles?|blowholes?|pinholes?|voids?|dots?|grains?)\b")
_BROAD = re.compile(r"\b(?:patch\w*|areas?|bands|cloud\w*|stains?|uneven|discolou?r\w*)\b")


@functools.cache
def claimed(text: str) -> tuple[float, ...]:
    """What a text claims of each attribute of `MEASURED`, in [-1, 1].

    >>> dict(zip(MEASURED, claimed("Long, straight, bright lines."), strict=True))["long"]
    1.0
    """
    said, lower = claims(text), text.lower()
    found = dict.fromkeys(MEASURED, 0.0)
    for name, (attribute, values) in _VALUES.items():
        if attribute in said:
            found[name] = sum(values.get(value, 0.0) for value in said[attribute]) / len(said[attribute])
    if "shape" not in said:
        found["long"] = 1.0 if _LONG.search(lower) else -1.0 if _ROUND.search(lower) else 0.0
    if "size" not in said and _BROAD.search(lower):
        found["size"] = 0.5
    for name, words in _WORDS.items():
        found[name] = float(bool(words.search(lower)))
    return tuple(found.values())


def terms(texts: Sequence[str], vector: Floats) -> Doubles:
    """The terms (K, F) that each type's words and one description (D,) make."""
    blocks = split_blocks(vector[None])
    numbers: dict[str, float] = {}
    for block, names in (("numbers", look_numbers.NAMES), ("extent", extent.EXTENT), ("map", extent.MAP)):
        numbers |= dict(zip(names, map(float, blocks[block][0]), strict=True))
    said = np.array([claimed(text) for text in texts])  # (K, attributes)
    parts = [
        said[:, [at]] * np.array([1.0, *(numbers[name] for name in names)])
        for at, names in enumerate(MEASURED.values())
    ]
    return np.concatenate(parts, axis=1)


def term_names() -> tuple[str, ...]:
    """What each term is, (F,)."""
    return tuple(f"{a}.{m}" for a, names in MEASURED.items() for m in ("claimed", *names))


@functools.cache
def stored_weights() -> Doubles:
    """The weights (F,) that come with the program."""
    stored = json.loads(SETTINGS.read_text(encoding="utf-8"))["weights"]
    return np.array([stored.get(name, 0.0) for name in term_names()])


def fits(texts: Sequence[str], vector: Floats, weights: Doubles | None = None) -> Doubles:
    """How well each type's words fit a description: z (K,)."""
    found: Doubles = terms(texts, vector) @ (stored_weights() if weights is None else weights)
    return found
