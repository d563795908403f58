"""Quality and speed of the knowledge base: retrieval, recognition of the category, and growth to 100,000 entries.

    python benchmarks/knowledge.py [--json]                       retrieval over the starter knowledge
    python benchmarks/knowledge.py --recognition ROOT [--json]    categories of the images of ROOT (manifest.csv)
    python benchmarks/knowledge.py --growth [--sizes 1000 ...]    time by number of entries

Retrieval: the questions of tests/knowledge/queries.yaml, each with one right defect type among all of the base. A hit
is an entry of that category and type. The product is not named, named, called by another of its names, or fixes the
category, as in an inspection (there recall@2, since a category has few types). Every second question chooses the
weights of the fusion, one pair among all products and one within a category, the others are reported; among all, the
pair is the one whose least gain in a setting over the better single ranking is largest. Intervals are 95 % bootstrap
intervals over questions.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.errors import ReasonIADError
from reason_iad.knowledge.retrieve import KnowledgeBase
from reason_iad.knowledge.store import AMONG_PRODUCTS, WITHIN_A_PRODUCT, Fusion, Hit
from reason_iad.metrics.intervals import Estimate, bootstrap

QUERIES = Path(__file__).parents[1] / "tests" / "knowledge" / "queries.yaml"
SETTINGS = ("not named", "named", "other name", "category given")
METHODS = ("bm25", "dense", "fused")
GRID = tuple(Fusion(k, bm25) for k, bm25 in product((5, 10, 20, 60), (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)))


@dataclass(frozen=True)
class Ranked:
    """What one question found: the scores of every candidate entry and which are right."""

    right: np.ndarray  # (n,) bool
    bm25: np.ndarray  # (n,)
    dense: np.ndarray  # (n,)

    def place(self, method: str, fusion: Fusion) -> int:
        """Rank of the first right entry, from 1; equals count as before it."""
        scores = {"bm25": self.bm25, "dense": self.dense}.get(method)
        if scores is None:
            ranks = [1 + np.searchsorted(np.sort(-s), -s, side="left") for s in (self.bm25, self.dense)]
            lexical = np.where(self.bm25 > 0, fusion.bm25 / (fusion.k + ranks[0]), 0.0)
            scores = lexical + fusion.dense / (fusion.k + ranks[1])
        best = scores[self.right].max()
        return int(np.sum(scores > best) + np.sum((scores == best) & ~self.right)) + 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the three measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--recognition", type=Path, metavar="ROOT", help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="keep image vectors there (.npz)")
    parser.add_argument("--limit", type=int, default=30, help="images per category, split and label (default: 30)")
    parser.add_argument("--growth", action="store_true", help="measure time by number of entries")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], metavar="N")
    options = parser.parse_args(arguments)
    try:
        if options.growth:
            from knowledge_growth import growth

            result: dict[str, Any] = growth(options.sizes)
        elif options.recognition:
            from knowledge_recognition import recognition

            result = recognition(options.recognition, options.limit, options.cache)
        else:
            result = retrieval()
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, default=vars))
    else:
        show(result)
    return 0


def show(result: Any, indent: int = 0) -> None:
    """Print nested results line by line."""
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{' ' * indent}{name}")
            show(value, indent + 2)
        else:
            print(f"{' ' * indent}{name:<22} {value}")


def retrieval() -> dict[str, Any]:
    """Recall and mean reciprocal rank of BM25, dense and fused retrieval, by setting."""
    import yaml

    rows = yaml.safe_load(QUERIES.read_text("utf-8"))
    base = KnowledgeBase.load(base=Path("/nonexistent/base"))
    english = [row for row in rows if len(row) == 3]
    foreign = [row for row in rows if len(row) == 4]
    result: dict[str, Any] = {"base": f"{len(base.categories)} categories, {len(base.entries)} entries"}
    found = {setting: [_ask(base, row, setting) for row in english] for setting in SETTINGS}
    tuning = {setting: ranked[0::2] for setting, ranked in found.items()}
    for where, settings in (("among products", SETTINGS[:-1]), ("within a product", SETTINGS[-1:])):
        chosen = max(GRID, key=lambda fusion: min(_gain(tuning[setting], fusion) for setting in settings))
        result[f"chosen {where}"] = f"{chosen} on {len(tuning['named'])} questions"
    used = {setting: WITHIN_A_PRODUCT if setting == SETTINGS[-1] else AMONG_PRODUCTS for setting in SETTINGS}
    for setting, ranked in found.items():
        result[setting] = _report(ranked[1::2], used[setting], 2 if setting == SETTINGS[-1] else 5)
    result["mean of the four"] = _pooled([(ranked[1::2], used[setting]) for setting, ranked in found.items()])
    for language in sorted({row[3] for row in foreign}):
        asked = [_ask(base, row[:3], "not named") for row in foreign if row[3] == language]
        result[f"in {language}, not named"] = {
            f"{method}, recall@5": _mean([float(r.place(method, AMONG_PRODUCTS) <= 5) for r in asked])
            for method in METHODS
        }
    return result


def _report(ranked: Sequence[Ranked], fusion: Fusion, depth: int) -> dict[str, Any]:
    report: dict[str, Any] = {}
    places = {method: np.array([r.place(method, fusion) for r in ranked]) for method in METHODS}
    for method in METHODS:
        report[f"{method}, recall@{depth}"] = _mean((places[method] <= depth).astype(float))
        report[f"{method}, MRR"] = _mean(1 / places[method])
    return report | _gains({method: 1 / places[method] for method in METHODS})


def _pooled(settings: Sequence[tuple[Sequence[Ranked], Fusion]]) -> dict[str, Any]:
    """The mean over settings, question by question, so that the interval is over questions."""
    mean = {
        method: np.mean([[1 / r.place(method, fusion) for r in ranked] for ranked, fusion in settings], axis=0)
        for method in METHODS
    }
    return {f"{method}, MRR": _mean(values) for method, values in mean.items()} | _gains(mean)


def _gains(values: dict[str, np.ndarray]) -> dict[str, Estimate]:
    return {f"fused - {method}, MRR": _mean(values["fused"] - values[method]) for method in ("bm25", "dense")}


def _ask(base: KnowledgeBase, row: Sequence[str], setting: str) -> Ranked:
    question, category, defect_type = row
    knowledge = base.knowledge_of(category)
    assert knowledge is not None  # the questions are about starter categories
    name = {"named": knowledge.name, "other name": (knowledge.aliases or (knowledge.name,))[0]}.get(setting, "")
    hits: Sequence[Hit] = base.index.rank(f"{question} {name}".strip(), [category] if setting == SETTINGS[-1] else None)
    right = np.array([(hit.entry.category, hit.entry.defect_type) == (category, defect_type) for hit in hits])
    return Ranked(right, np.round([hit.bm25 for hit in hits], 4), np.round([hit.similarity for hit in hits], 6))


def _gain(ranked: Sequence[Ranked], fusion: Fusion) -> float:
    """Mean reciprocal rank of the fused ranking less that of the better single one."""
    return _mrr(ranked, "fused", fusion) - max(_mrr(ranked, method, fusion) for method in ("bm25", "dense"))


def _mrr(ranked: Sequence[Ranked], method: str, fusion: Fusion) -> float:
    return float(np.mean([1 / r.place(method, fusion) for r in ranked]))


def _mean(values: Sequence[float] | np.ndarray) -> Estimate:
    array = np.asarray(values, float)
    return bootstrap(range(len(array)), lambda index: float(array[index].mean()))


if __name__ == "__main__":
    raise SystemExit(main())
