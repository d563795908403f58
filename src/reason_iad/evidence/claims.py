"""What a text claims about a defect's place and look, and how likely the measured look is where the claim is true.

    L(text) = sum over attributes of log P(measured value | the text is true)

Attributes are place, size, shape, tone, hue, direction, sharpness and whether it lies at the edge. A text that names
several values ("left") is true for any of them; one that says nothing of an attribute is as likely as the attribute's
share among all defects. The tables P(measured | true) are counted on images whose defects are known, apart for anomaly
scores under and from 0.5: where the evidence hardly saw anything, its place says little.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reason_iad.errors import ModelError
from reason_iad.evidence.looks import HUES, Look
from reason_iad.types import PLACES

VALUES: Mapping[str, tuple[str, ...]] = {
    "place": PLACES,
    "size": ("tiny", "small", "large"),
    "shape": ("compact", "elongated"),
    "tone": ("darker than", "brighter than", "about as bright as"),
    "hue": (*HUES, "of the same hue"),
    "direction": ("level", "upright", "diagonal", "no direction"),
    "sharpness": ("sharp", "gradual"),
    "border": ("at the edge", "inside"),
}
NEEDED = ("place", "size", "shape", "tone")  # tables that every model's settings have; the others may be missing
STRONG = 0.5  # anomaly score from which the evidence counts as strong
_WORDS: Mapping[str, Mapping[str, str]] = {
    "size": dict.fromkeys(("tiny", "pinhole"), "tiny") | {"small": "small"} | dict.fromkeys(
        ("large", "big", "broad", "wide", "extended"), "large"
    ),
    "shape": dict.fromkeys(("compact", "round", "oval", "spot", "spots", "pit", "pits", "patch", "patches"), "compact")
    | dict.fromkeys(("elongated", "long", "line", "lines", "thin", "narrow", "streak", "streaks"), "elongated")
    | dict.fromkeys(("strip", "strips", "band", "bands"), "elongated"),
    "tone": dict.fromkeys(("dark", "darker", "black", "shadowed"), "darker than")
    | dict.fromkeys(("bright", "brighter", "light", "lighter", "pale", "white", "shiny"), "brighter than"),
    "hue": dict.fromkeys(("red", "reddish", "redder", "rust", "rusty", "pink"), "redder")
    | dict.fromkeys(("yellow", "yellowish", "yellower", "brown", "brownish", "orange", "amber"), "yellower")
    | dict.fromkeys(("green", "greenish", "greener"), "greener")
    | dict.fromkeys(("blue", "bluish", "bluer", "violet", "purple"), "bluer"),
    "direction": dict.fromkeys(("level", "horizontal", "crosswise"), "level")
    | dict.fromkeys(("upright", "vertical", "lengthwise"), "upright")
    | dict.fromkeys(("diagonal", "slanted", "oblique"), "diagonal"),
    "sharpness": dict.fromkeys(("sharp", "sharply", "crisp", "crisply"), "sharp")
    | dict.fromkeys(("gradual", "gradually", "blurred", "diffuse", "fuzzy", "soft", "hazy"), "gradual"),
}  # fmt: skip
_WARM = frozenset({"redder", "yellower"})  # brown and orange lie between the two, and rust does
_BETWEEN = frozenset({"brown", "brownish", "orange", "rust", "rusty", "amber"})
_AT_EDGE = re.compile(
    r"\b(?:along|at|on|near|from) (?:an? |the |its |one )?(?:outer )?(?:edges?|corners?|rim|border)\b"
)
_ROWS = {"top": 0, "upper": 0, "middle": 1, "bottom": 2, "lower": 2}
_COLUMNS = {"left": 0, "center": 1, "centre": 1, "right": 2}
_AS_BRIGHT = re.compile(r"\bas (?:bright|dark) as\b")


def claims(text: str) -> dict[str, frozenset[str]]:
    """The values of each attribute under which a text is true; attributes that it does not speak of are left out.

    Of several words for size, shape or tone the first counts: it is the defect's, later ones its surroundings'. With it
    counts what "or" joins to it.

    >>> sorted(claims("Bottom left.")["place"]), sorted(claims("On the left.")["place"])
    (['bottom left'], ['bottom left', 'middle left', 'top left'])
    >>> claims("A tiny region, darker than its surroundings.")["tone"]
    frozenset({'darker than'})
    >>> sorted(claims("Bands, brighter or darker than the rest.")["tone"])
    ['brighter than', 'darker than']
    """
    words = re.findall(r"[a-z]+", text.lower())
    found = {name: _first(words, table) for name, table in _WORDS.items()}
    if _AS_BRIGHT.search(text.lower()):
        found["tone"] = frozenset({"about as bright as"})
    if any(word in _BETWEEN for word in words if word in _WORDS["hue"]) and found["hue"] <= _WARM:
        found["hue"] = _WARM
    if _AT_EDGE.search(text.lower()):
        found["border"] = frozenset({"at the edge"})
    found["place"] = _places(words)
    return {name: values for name, values in found.items() if values and len(values) < len(VALUES[name])}


def _first(words: Sequence[str], table: Mapping[str, str]) -> frozenset[str]:
    """The value of the first word that has one, and of the word that "or" joins to it."""
    at = next((index for index, word in enumerate(words) if word in table), None)
    if at is None:
        return frozenset()
    other = words[at + 2 : at + 3] if words[at + 1 : at + 2] == ["or"] else []
    return frozenset(table[word] for word in [words[at], *other] if word in table)


def _places(words: Iterable[str]) -> frozenset[str]:
    rows = {_ROWS[w] for w in words if w in _ROWS}
    columns = {_COLUMNS[w] for w in words if w in _COLUMNS}
    if columns == {1} and not rows:
        rows = {1}  # "center" alone is the cell, not the column
    if rows == {1} and not columns:
        columns = {1}
    if not rows and not columns:
        return frozenset()
    return frozenset(PLACES[r * 3 + c] for r in rows or range(3) for c in columns or range(3))


@dataclass(frozen=True)
class LookReliability:
    """P(measured | true) by attribute and strength of the evidence, and the share of each true value."""

    tables: Mapping[str, npt.NDArray[np.float64]]  # by attribute: (2 weak or strong, true values, measured values)
    shares: Mapping[str, npt.NDArray[np.float64]]  # by attribute: (true values)

    @classmethod
    def count(cls, seen: Iterable[tuple[str, Look, float]]) -> LookReliability:
        """Count tables from texts that are true, what was measured there, and the anomaly score.

        Each row gets a count more for each value, spread like the whole table; places lend each other their counts by
        how far apart they lie, since eighty-one cells would be too many for a few hundred images.
        """
        counts = {name: np.zeros((2, len(v), len(v))) for name, v in VALUES.items()}
        for text, look, score in seen:
            for name, true in claims(text).items():
                if len(true) == 1 and (measured := getattr(look, name)):
                    row, column = VALUES[name].index(next(iter(true))), VALUES[name].index(measured)
                    counts[name][int(score >= STRONG), row, column] += 1
        tables = {name: np.stack([rates(name, c) for c in table]) for name, table in counts.items()}
        shares = {name: (t.sum((0, 2)) + 1) / (t.sum() + t.shape[1]) for name, t in counts.items()}
        return cls(tables, shares)

    @classmethod
    def from_settings(cls, stored: Mapping[str, Any]) -> LookReliability:
        """Read what `to_settings` gave.

        Raises:
            ModelError: a table is missing or is not one of probabilities.
        """
        try:
            named = [n for n in VALUES if n in NEEDED or n in stored["tables"]]
            tables = {n: np.asarray(stored["tables"][n], float) for n in named}
            shares = {n: np.asarray(stored["shares"][n], float) for n in named}
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("the model's settings hold no tables of measured looks; reinstall the package") from error
        for name in named:
            size = len(VALUES[name])
            if tables[name].shape != (2, size, size) or shares[name].shape != (size,) or not (tables[name] > 0).all():
                raise ModelError(f"the model's table of {name} is not one of {size} x {size} probabilities")
        return cls(tables, shares)

    def to_settings(self) -> dict[str, Any]:
        """Plain numbers for a JSON file."""
        return {
            "tables": {name: np.round(table, 4).tolist() for name, table in self.tables.items()},
            "shares": {name: np.round(share, 4).tolist() for name, share in self.shares.items()},
        }

    def log_likelihood(self, text: str, look: Look, score: float, general: bool = False) -> float:
        """Log P(what was measured | the text is true); texts without a claim have that of any defect.

        Args:
            text: about this very defect, or about defects of a kind.
            look: what was measured.
            score: anomaly score, in [0, 1].
            general: of a kind; words for places in it are not about this image.
        """
        claimed, total = claims(text), 0.0
        if general:
            claimed.pop("place", None)
        for name, values in VALUES.items():
            if name not in self.tables or not getattr(look, name):
                continue  # nothing is known of it, or it was not measured
            column = self.tables[name][int(score >= STRONG), :, values.index(getattr(look, name))]
            true = [i for i, v in enumerate(values) if v in claimed.get(name, values)]
            weights = self.shares[name][true]
            total += math.log(float(weights @ column[true] / weights.sum()))
        return total


def rates(name: str, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Counts (true, measured) as smoothed rates; rows sum to 1."""
    if name == "place":
        at = np.array([divmod(i, 3) for i in range(len(PLACES))])
        apart = np.abs(at[:, None] - at[None]).sum(-1)  # 0 to 4 steps
        per_row = counts.sum(1) + 1 / len(PLACES)
        chances = np.array([per_row @ (apart == d).sum(1) for d in range(5)])  # cells that could have been measured
        counts = np.array([(counts[apart == d].sum() + 1) / chances[d] for d in range(5)])[apart]
    else:
        usual = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
        counts = counts + counts.shape[1] * usual
    rates: npt.NDArray[np.float64] = counts / counts.sum(1, keepdims=True)
    return rates
