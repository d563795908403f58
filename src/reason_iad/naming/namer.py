"""From examples, knowledge and the model to the type of a defect with a probability, or "none of these".

    log p_k = c (log softmax(z / T))_k + (1 - c) log q_k        for types that have examples
    p(none of these) = sigmoid(a + b log(d / usual d))          by the distance to all of them

z and d are those of `few_shot`, q what model, measured look and knowledge say together. T is fitted to the examples by
leaving each image's out, drawn to what other products showed; with few examples it is that. Types that only the
knowledge names share what "none of these" has, by q. Without an example q alone counts.

Axes: N descriptions, K types with examples, D numbers of a description.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from reason_iad.naming.examples import DefectExample, DefectExamples, Floats
from reason_iad.naming.few_shot import Doubles, FewShot, weighted

SETTINGS = Path(__file__).parent / "data" / "namer.json"
NONE = "none of these"
MIN_TO_REFUSE = 4  # examples from which their distances say what is far
USUAL = 0.9  # share of examples that lie no farther from the others than what is called usual

SameName = Callable[[str, Sequence[str]], int | None]  # which of some names means the same; None where none does


@dataclass(frozen=True)
class NamerSettings:
    """Constants fitted once on products apart from those reported; docs/naming.md says on which.

    Attributes:
        temperature: T that examples draw away from.
        single: T where each type has one example, so that none can be left out.
        trust: examples' worth of pull towards it.
        examples_share: c, by number of examples of the rarest type: with 1, 2, 4 and 8 or more.
        none_offset: a.
        none_slope: b.
        single_offset: a where each type has one example: left out, its type has none, and all lie far.
        single_slope: b there, beside the median distance.
        none_before: probability of "none of these" while there are too few examples to tell what is far.
        unnamed: share of "none of these" that types have which only the knowledge names.
    """

    temperature: float = 1.0
    single: float = 1.0
    trust: float = 2.0
    examples_share: tuple[float, ...] = (0.7, 0.8, 0.9, 1.0)
    none_offset: float = -2.0
    none_slope: float = 3.0
    single_offset: float = -3.7
    single_slope: float = 4.124
    none_before: float = 0.025
    unnamed: float = 0.5

    @classmethod
    def load(cls) -> NamerSettings:
        """Those that come with the program."""
        stored = json.loads(SETTINGS.read_text(encoding="utf-8"))
        return cls(**{**stored, "examples_share": tuple(stored["examples_share"])})

    def share_of(self, count: int) -> float:
        """C where the rarest type has `count` examples."""
        return self.examples_share[min(len(self.examples_share) - 1, max(0, int(math.log2(max(count, 1)))))]


@dataclass(frozen=True)
class NamedType:
    """One type and its probability."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Naming:
    """What one area is called.

    Attributes:
        types: every type and "none of these", likeliest first; they sum to 1.
        nearest: the two examples that are most like the area, of the likeliest type that has any.
        rival: the example of the second type that is nearest; None where no second type has one.
        against: how far the area is from the second type, against the first, in words; None where there is none.
        unfamiliar: how far from all examples, as a multiple of what is usual among them; 0 without examples.
    """

    types: tuple[NamedType, ...]
    nearest: tuple[DefectExample, ...] = ()
    rival: DefectExample | None = None
    against: str | None = None
    unfamiliar: float = 0.0

    @property
    def best(self) -> NamedType:
        """The likeliest."""
        return self.types[0]

    @property
    def entropy(self) -> float:
        """Of the types, divided by its largest: 0 sure, 1 undecided."""
        p = np.array([max(one.probability, 1e-12) for one in self.types])
        return float(-(p * np.log(p)).sum() / math.log(len(p))) if len(p) > 1 else 0.0


@dataclass(frozen=True, eq=False)
class Namer:
    """Names areas by the examples of one category.

    Attributes:
        examples: of the category.
        settings: constants.
    """

    examples: DefectExamples
    settings: NamerSettings

    @classmethod
    def of(cls, examples: DefectExamples) -> Namer:
        """A namer with the constants of the program."""
        return cls(examples, NamerSettings.load())

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Names of the types that have examples, (K,), in alphabetical order."""
        return tuple(self.examples.counts)

    @property
    def share(self) -> float:
        """c, the share of the examples in the say; grows with the number of the rarest type's."""
        return self.settings.share_of(min(self.examples.counts.values(), default=0))

    @cached_property
    def rule(self) -> FewShot | None:
        """The fitted rule; None without examples."""
        found = self.examples.examples
        if not found:
            return None
        images = {name: index for index, name in enumerate(dict.fromkeys(e.image_sha256 for e in found))}
        return FewShot(
            weighted(np.concatenate([example.views for example in found])),
            np.array([self.types.index(found[index].defect_type) for index in self._owners]),
            np.array([images[found[index].image_sha256] for index in self._owners]),
        )

    @cached_property
    def _owners(self) -> tuple[int, ...]:
        """Which example each description is of, (N,)."""
        return tuple(index for index, one in enumerate(self.examples.examples) for _ in one.views)

    @cached_property
    def temperature(self) -> float:
        """T, at which leaving each image's examples out is likeliest, a little sharper: new images miss no example."""
        rule, settings = self.rule, self.settings
        if rule is None or rule.num_types < 2:
            return settings.temperature
        scores, _ = rule.left_out
        own = scores[np.arange(len(scores)), rule.labels]
        known = np.isfinite(own)
        if not known.any():
            return settings.single
        scores = np.where(np.isfinite(scores), scores, -1e9)[known]
        own = own[known]
        best, chosen = math.inf, settings.temperature
        for step in np.linspace(-3.0, 3.0, 61):
            scaled = scores / (settings.temperature * math.exp(step))
            most = scaled.max(1)
            lost = np.log(np.exp(scaled - most[:, None]).sum(1)) + most - own / (settings.temperature * math.exp(step))
            total = float(lost.sum()) + settings.trust * step**2
            if total < best:
                best, chosen = total, settings.temperature * math.exp(step)
        per_type = len(set(rule.groups.tolist())) / rule.num_types
        return chosen * (1 - 1 / max(per_type, 2.0))  # one of few that is left out is missed more than none is

    @cached_property
    def usual(self) -> float | None:
        """Distance to the others that nine of ten examples stay within, or half of them where each type has one.

        None where they are too few.
        """
        if self.rule is None or len(set(self.rule.groups.tolist())) < MIN_TO_REFUSE:
            return None
        distances = self.rule.left_out[1]
        finite = distances[np.isfinite(distances)]
        share = 0.5 if self._single else USUAL
        return float(np.quantile(finite, share)) if len(finite) >= MIN_TO_REFUSE else None

    @property
    def _single(self) -> bool:
        """Whether no example can be left out without its type going with it."""
        assert self.rule is not None
        scores = self.rule.left_out[0]
        return not np.isfinite(scores[np.arange(len(scores)), self.rule.labels]).any()

    def name(
        self, vector: Floats, said: Mapping[str, float] | None = None, same: SameName | None = None
    ) -> Naming | None:
        """Name one area.

        Args:
            vector: its description (LENGTH,).
            said: q, what model, look and knowledge say of the types that the knowledge names; they sum to 1.
            same: finds the name that means the same among others; equal names where None.

        Returns:
            None where there is neither an example nor anything said.
        """
        said = dict(said or {})
        rule = self.rule
        if rule is None:
            return Naming(_sorted(said)) if said else None
        points = weighted(vector[None])
        scores, distances = rule.scores(points)
        seen = _softmax(scores[0] / self.temperature)
        none, unfamiliar = self._none(float(distances[0]))
        matched = _match(self.types, said, same or _equal)
        joined = self._join(seen, [said.get(name, 0.0) if name else None for name in matched])
        others = {name: p for name, p in said.items() if name not in matched}
        unnamed = self.settings.unnamed * none if others else 0.0
        total = sum(others.values())
        shares = dict(zip(self.types, (float(p) * (1 - none) for p in joined), strict=True))
        shares |= {name: unnamed * p / total for name, p in others.items() if total > 0}
        shares[NONE] = 1 - sum(shares.values())
        return self._explain(points[0], _sorted(shares), unfamiliar)

    def _none(self, distance: float) -> tuple[float, float]:
        """Probability of "none of these" and how unfamiliar an area is, from its distance to the nearest type."""
        usual, settings = self.usual, self.settings
        if usual is None or usual <= 0:
            return settings.none_before, 0.0
        ratio = max(distance, 1e-9) / usual
        offset, slope = settings.none_offset, settings.none_slope
        if self._single:
            offset, slope = settings.single_offset, settings.single_slope
        odds = offset + slope * math.log(ratio)
        return 1 / (1 + math.exp(-min(max(odds, -30.0), 30.0))), ratio

    def _join(self, seen: Doubles, said: Sequence[float | None]) -> Doubles:
        """Probabilities (K,) from those by the examples and those said; a type that nothing was said of keeps its own.

        With one type only there is nothing to choose.
        """
        if len(seen) == 1 or all(p is None for p in said):
            return seen
        share = self.share
        told = np.array([math.nan if p is None else p for p in said])
        known = np.isfinite(told)
        told[known] /= max(float(told[known].sum()), 1e-9)
        logs = np.log(np.maximum(seen, 1e-9))
        spoken = np.where(known, np.log(np.maximum(np.where(known, told, 1.0), 1e-3)), 0.0)
        spoken[~known] = spoken[known].mean()  # neither for nor against
        return _softmax(share * logs + (1 - share) * spoken)

    def _explain(self, point: Doubles, types: tuple[NamedType, ...], unfamiliar: float) -> Naming:
        """Add the nearest examples, and what speaks against the second type."""
        assert self.rule is not None
        distances: dict[int, float] = {}  # of each example, by its nearest description
        for owner, far in zip(self._owners, np.sqrt(np.square(self.rule.points - point).sum(1)), strict=True):
            distances[owner] = min(float(far), distances.get(owner, math.inf))
        order = sorted(distances, key=lambda index: distances[index])
        with_examples = [one.name for one in types if one.name in self.types]

        def of(name: str) -> list[int]:
            return [index for index in order if self.examples.examples[index].defect_type == name]

        mine = of(with_examples[0])
        nearest = tuple(self.examples.examples[index] for index in mine[:2])
        if len(with_examples) < 2:
            return Naming(types, nearest, unfamiliar=unfamiliar)
        theirs = of(with_examples[1])[0]
        ratio = distances[theirs] / max(distances[mine[0]], 1e-9)
        against = (
            f"the nearest {with_examples[1]} is {ratio:.1f} times as far"
            if ratio >= 1.05
            else f"the nearest {with_examples[1]} is about as near"
        )
        return Naming(types, nearest, self.examples.examples[theirs], against, unfamiliar)


@functools.lru_cache(maxsize=16)
def _kept(category: str, changed: int) -> Namer:
    from reason_iad.naming.store import load_examples

    return Namer.of(load_examples(category))


def namer_of(category: str) -> Namer | None:
    """The namer of a category's examples, fitted once for each of their versions; None where there are none.

    Raises:
        InputError: the examples are damaged.
    """
    from reason_iad.naming.store import changed_at

    changed = changed_at(category)
    if changed is None:
        return None
    namer = _kept(category, changed)
    return namer if namer.examples.examples else None


def _sorted(shares: Mapping[str, float]) -> tuple[NamedType, ...]:
    found = [NamedType(name, min(max(p, 0.0), 1.0)) for name, p in shares.items()]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.name)))


def _softmax(scores: Doubles) -> Doubles:
    raised = np.exp(scores - scores.max())
    found: Doubles = raised / raised.sum()
    return found


def _match(types: Sequence[str], said: Mapping[str, float], same: SameName) -> list[str | None]:
    """Which name of `said` each type is; each is taken once."""
    left = list(said)
    found: list[str | None] = []
    for name in types:
        index = same(name, left) if left else None
        found.append(None if index is None else left.pop(index))
    return found


def _equal(name: str, others: Sequence[str]) -> int | None:
    """The name that is equal but for case and marks between words."""
    from reason_iad.datasets.names import plain

    return next((index for index, other in enumerate(others) if plain(other) == plain(name)), None)
