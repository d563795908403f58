"""Choosing the knowledge that goes into a prompt, and citing it.

Modes: `none` (nothing), `retrieved` (ranked for the question, within `top_k` and a token budget) and `oracle` (every
entry of the category: the upper bound that published scripts use). The category's normal description is always there
in the last two, since a fault can only be judged against it. An image of no known category gets only what holds for
any product: knowledge of the wrong product misleads more than none.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reason_iad.errors import InputError
from reason_iad.knowledge import TOP_K
from reason_iad.knowledge.commands import withhold_orders
from reason_iad.knowledge.database import KnowledgeDatabase, Progress
from reason_iad.knowledge.encoders import Encoder, configured_encoder, encoder_name
from reason_iad.knowledge.entries import (
    ANY_PRODUCT,
    CategoryKnowledge,
    Entry,
    check_unique,
    load_categories,
)
from reason_iad.knowledge.names import identifier, normalize_name
from reason_iad.knowledge.store import EntryIndex, Hit, HybridIndex
from reason_iad.types import Citation, KnowledgeMode

MODES: tuple[KnowledgeMode, ...] = ("none", "retrieved", "oracle")
UNKNOWN = "unknown"
LOOKED_AT = 200  # entries of a category that selection chooses from: many more than a prompt holds

_log = logging.getLogger(__name__)


def estimate_tokens(text: str) -> int:
    """Tokens of an English text for a usual subword vocabulary, on the high side: 4 for each 3 words and marks."""
    return math.ceil(len(re.findall(r"\w+|[^\w\s]", text)) * 4 / 3)


def tell_encoding(say: Callable[[str], None], least: int = 200) -> Progress:
    """Progress that says, at most ten times, how far the encoding of at least `least` texts is."""
    tenths = 0

    def tell(done: int, total: int) -> None:
        nonlocal tenths
        if total >= least and 10 * done // total > tenths:
            tenths = 10 * done // total
            say(f"encoding knowledge, {done:,} of {total:,} texts")

    return tell


@dataclass(frozen=True)
class RetrievalOptions:
    """How much knowledge a prompt may hold."""

    top_k: int = TOP_K
    token_budget: int = 400  # the normal description is kept even where it alone is longer
    count_tokens: Callable[[str], int] = estimate_tokens  # give the model's own tokenizer for an exact budget

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise InputError(f"top_k is {self.top_k}; expected at least 1: use the mode 'none' for no knowledge")
        if self.token_budget < 1:
            raise InputError(f"token_budget is {self.token_budget}; expected at least 1")


class KnowledgeBase:
    """Entries, their categories, and retrieval over them."""

    def __init__(
        self,
        entries: Sequence[Entry],
        encoder: Encoder | None = None,
        categories: Sequence[CategoryKnowledge] = (),
        cache: Path | None = None,
        database: KnowledgeDatabase | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Hold `entries`; nothing is encoded before the first search.

        Args:
            entries: what can be retrieved, with unique ids.
            encoder: for dense search; None for the configured one, loaded when first needed.
            categories: display names and aliases of the entries' categories, where known; where two claim a name,
                the first has it.
            cache: folder for vectors, for a base without a store; None for none.
            database: the store that keeps the index; None to build it in memory.
            progress: told how many texts of how many are encoded when the store is built.

        Raises:
            KnowledgeError: two entries share an id.
        """
        check_unique(entries)
        self.entries = tuple(entries)
        self._encoder = encoder
        self._cache = cache
        self._database = database
        self._progress = progress
        self._knowledge = {knowledge.category: knowledge for knowledge in categories}

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        encoder: Encoder | None = None,
        base: str | Path | None = None,
        progress: Progress | None = None,
    ) -> KnowledgeBase:
        """Open the user's base over the starter knowledge.

        Args:
            folder: read the knowledge files of this folder instead of both.
            encoder: for dense search; None for the configured one.
            base: the user's folder; None for `knowledge` in the program's home, which need not exist.
            progress: told how many texts of how many are encoded when the store is built.

        Raises:
            KnowledgeError: a file breaks the schema.
        """
        from reason_iad import files

        if folder is not None:
            categories = load_categories(folder)
            entries = [entry for knowledge in categories for entry in knowledge.entries()]
            return cls(entries, encoder, categories, files.home() / "knowledge-cache")
        from reason_iad.knowledge.base import database_of, default_base, read_base

        where = default_base() if base is None else Path(base)
        content = read_base(where)
        return cls(content.entries, encoder, content.categories, database=database_of(where), progress=progress)

    @property
    def categories(self) -> tuple[str, ...]:
        """Identifiers of the categories that have entries, in order."""
        return tuple(sorted({entry.category for entry in self.entries}))

    @cached_property
    def index(self) -> EntryIndex:
        """The search index, opened or built on first use."""
        encoder = self._encoder or configured_encoder
        names = {category: category.replace("_", " ") for category in self.categories}
        names |= {knowledge.category: " ".join(knowledge.aliases) for knowledge in self._knowledge.values()}
        if self._database is None:
            return HybridIndex(self.entries, encoder, self._cache, names=names)
        from reason_iad.knowledge.starter import starter_vectors

        name = self._encoder.name if self._encoder else encoder_name()
        known = functools.partial(starter_vectors, name)
        try:
            return self._database.index(self.entries, encoder, name, known, self._progress, names)
        except OSError as error:
            _log.warning("%s cannot be written (%s); the index is built anew every time", self._database.folder, error)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return KnowledgeDatabase(Path(folder)).index(self.entries, encoder, name, known, self._progress, names)

    def knowledge_of(self, category: str) -> CategoryKnowledge | None:
        """The whole knowledge of one category by identifier, name or alias; None where the base has none."""
        found = self.find_category(category)
        return self._knowledge.get(found) if found else None

    def find_category(self, name: str) -> str | None:
        """The identifier that a name, alias or identifier stands for, or None."""
        found = self._names.get(normalize_name(name))
        return found or self._names.get(normalize_name(identifier(name)))

    def check_category(self, name: str) -> str:
        """The identifier that a name, alias or identifier stands for.

        Raises:
            InputError: the base does not know it; lists the nearest names.
        """
        found = self.find_category(name)
        if found:
            return found
        near = difflib.get_close_matches(normalize_name(name), self._names, 3, 0.6)
        nearest = list(dict.fromkeys(self._names[key] for key in near))
        more = len(self.categories) - 8
        known = ", ".join(self.categories[:8]) + (f" and {more} more" if more > 0 else "")
        hint = f"the nearest are {', '.join(nearest)}" if nearest else f"known are {known}"
        raise InputError(f"the category {name!r} is not in the knowledge base; {hint}: name one, or add a file for it")

    def search(self, query: str, category: str | None = None, top_k: int = 10) -> tuple[Hit, ...]:
        """The `top_k` best entries for a question, over the whole base or one category, with the reasons.

        Raises:
            InputError: the category is not in the base, the question is empty, or top_k is under 1.
        """
        if not query.strip():
            raise InputError("the question is empty; expected a few words to search for")
        if top_k < 1:
            raise InputError(f"top_k is {top_k}; expected at least 1")
        return self.index.rank(query, None if category is None else [self.check_category(category)], top_k)

    def support(self, question: str, options: Sequence[str], category: str) -> tuple[float, ...]:
        """How close the knowledge of a category comes to each option, in [-2, 2].

        The cosine to the closest entry or name, of the option as a statement of its own plus of the option as an
        answer to its question; every option stands beside the same entries, so only their differences mean something.

        Raises:
            InputError: the category is not in the base.
        """
        found = self.check_category(category)
        known = self._knowledge.get(found)
        names = () if known is None else (known.name, *known.aliases)
        alone = self.index.closeness([option.rstrip(".") for option in options], found, names)
        answering = self.index.closeness([f"{question} {option}" for option in options], found, names)
        return tuple(float(a + b) for a, b in zip(alone, answering, strict=True))

    def closest(self, text: str, candidates: Sequence[str]) -> tuple[int, float]:
        """Which of some texts means most nearly the same, and its cosine."""
        vectors = self.index.vectors_of([text, *candidates])
        cosines = vectors[1:] @ vectors[0]
        return int(cosines.argmax()), float(cosines.max())

    def retrieve(
        self,
        query: str,
        category: str | None,
        mode: KnowledgeMode = "retrieved",
        options: RetrievalOptions | None = None,
    ) -> tuple[Citation, ...]:
        """Choose the entries for a prompt: the normal description first, then best first.

        Args:
            query: the question about the image.
            category: identifier, name or alias; None or "unknown" where it is not known. A category without entries
                is treated like an unknown one: ask `check_category` first to refuse it.
            mode: none, retrieved or oracle.
            options: limits; they do not bind `oracle`.

        Raises:
            InputError: the mode is not one of the three.
        """
        if mode not in MODES:
            raise InputError(f"the knowledge mode is {mode!r}; expected one of {', '.join(MODES)}")
        if mode == "none":
            return ()
        known = self.find_category(category) if category and normalize_name(category) != UNKNOWN else None
        scope = known or ANY_PRODUCT
        if mode == "oracle":
            # Nothing was ranked, so all have one score; an unknown category has no oracle.
            return _safe(_cite(entry, 1.0) for entry in self.entries if entry.category == known)
        if scope not in self.categories:
            return ()
        options = options or RetrievalOptions()
        hits = self.index.rank(query, [scope], max(LOOKED_AT, 4 * options.top_k))
        if not any(hit.entry.kind == "normal" for hit in hits):
            hits += self.index.rank(query, [scope], 1, ["normal"])
        return _safe(_cite(hit.entry, hit.score) for hit in select(hits, options))

    @cached_property
    def _names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for knowledge in self._knowledge.values():
            for name in (knowledge.category, knowledge.name, *knowledge.aliases):
                names.setdefault(normalize_name(name), knowledge.category)
        for category in self.categories:
            names.setdefault(normalize_name(category), category)
        return names


def select(hits: Sequence[Hit], options: RetrievalOptions) -> tuple[Hit, ...]:
    """Keep the normal description and the best of the rest within `top_k` and the budget; `hits` best first.

    No defect type gets a second entry, nor do normal descriptions or standards, before every type has one. An entry
    that no longer fits the budget is passed over for shorter ones after it.
    """
    normal = next((hit for hit in hits if hit.entry.kind == "normal"), None)
    chosen = [normal] if normal else []
    spent = sum(options.count_tokens(hit.entry.text) for hit in chosen)
    for hit in _rounds(hits):
        if len(chosen) >= options.top_k:
            break
        cost = options.count_tokens(hit.entry.text)
        if hit is normal or spent + cost > options.token_budget:
            continue
        chosen.append(hit)
        spent += cost
    return tuple(chosen)


def _rounds(hits: Sequence[Hit]) -> Iterable[Hit]:
    """Order hits by how many of their own type came before, then by rank: first one of each type, then a second."""
    seen: dict[tuple[str, str], int] = {}
    rounds: list[tuple[int, int, Hit]] = []
    for rank, hit in enumerate(hits):
        key = (hit.entry.category, hit.entry.defect_type or hit.entry.kind)
        rounds.append((seen.get(key, 0), rank, hit))
        seen[key] = seen.get(key, 0) + 1
    return [hit for _, _, hit in sorted(rounds, key=lambda item: item[:2])]


def _safe(citations: Iterable[Citation]) -> tuple[Citation, ...]:
    """What may reach a prompt: sentences that read like orders are left out, and entries of nothing else with them."""
    kept = []
    for citation in citations:
        if text := withhold_orders(citation.text):
            kept.append(dataclasses.replace(citation, text=text))
        if text != citation.text:
            _log.warning("%s reads like an order to the model and was left out: see knowledge check", citation.entry_id)
    return tuple(kept)


def _cite(entry: Entry, score: float) -> Citation:
    return Citation(entry.id, entry.category, entry.kind, entry.text, entry.source, score, entry.defect_type)
