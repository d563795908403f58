"""Knowledge for the page: categories, profiles and search, without the model process.

Only the small sentence encoder runs here, so that a search never waits behind an inspection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reason_iad.errors import EvidenceError
from reason_iad.knowledge.translations import text_of
from reason_iad.languages import told

if TYPE_CHECKING:
    from reason_iad.knowledge.retrieve import KnowledgeBase


def load_starter() -> KnowledgeBase:
    """The knowledge that inspections use."""
    from reason_iad.knowledge.retrieve import KnowledgeBase

    return KnowledgeBase.load()


class KnowledgeSearch:
    """Loaded when first needed; safe to use from several threads."""

    def __init__(self, load: Callable[[], KnowledgeBase] = load_starter) -> None:
        self._load, self._lock = load, threading.Lock()

    @cached_property
    def _base(self) -> KnowledgeBase:
        return self._load()

    def renew(self) -> None:
        """Read the knowledge again; until that is done, and where it cannot be, searches run over that of before."""
        found = self._load()
        with self._lock:
            self.__dict__["_base"] = found  # what the cached property holds

    def search(self, query: str, category: str | None, limit: int) -> list[dict[str, Any]]:
        """The best entries for a question."""
        with self._lock:
            hits = self._base.search(query, category, limit)
        shown = {h.entry.id: text_of(h.entry.id, h.entry.text) for h in hits}
        return [
            {
                "id": h.entry.id, "category": h.entry.category, "kind": h.entry.kind, "text": h.entry.text,
                "translation": shown[h.entry.id] if shown[h.entry.id] != h.entry.text else None,
                "source": h.entry.source, "defect_type": h.entry.defect_type, "score": h.score,
            }
            for h in hits
        ]  # fmt: skip

    def defects_of(self, category: str) -> dict[str, str]:
        """Names of the types of defects that the knowledge of a category has, by identifier."""
        with self._lock:
            found = self._base.knowledge_of(category)
        return {} if found is None else {defect.type: defect.name for defect in found.defects}

    def categories(self) -> list[dict[str, Any]]:
        """Every category that has knowledge or a profile."""
        from reason_iad.evidence.profile_store import list_profiles

        with self._lock:
            names, base = self._base.categories, self._base
            known = {name: base.knowledge_of(name) for name in names}
        learned = set(list_profiles())
        found = []
        for name in sorted({*names, *learned} - {"any_product"}):
            knowledge = known.get(name)
            found.append(
                {
                    "category": name,
                    "name": knowledge.name if knowledge else name.replace("_", " "),
                    "defects": [defect.name for defect in knowledge.defects] if knowledge else [],
                    "profile": name in learned,
                }
            )
        return found

    def check(self, category: str) -> None:
        """Refuse a category that neither knowledge nor a profile has.

        Raises:
            InputError: not known; names the nearest.
        """
        from reason_iad.evidence.profile_store import find_profile

        if find_profile(category) is None:
            with self._lock:
                self._base.check_category(category)


def profile_facts(category: str) -> dict[str, Any]:
    """What a profile is made of, from its file.

    Raises:
        EvidenceError: there is none.
    """
    from reason_iad.evidence.profile_store import read_facts

    facts = read_facts(category)
    try:
        return {
            "category": facts["category"], "version": facts["version"], "normals": facts["num_normals"],
            "defectives": facts["num_defectives"], "history": [told(one, own=True) for one in facts["history"]],
            "warnings": [told(one) for one in facts["warnings"]],
        }  # fmt: skip
    except KeyError as error:
        raise EvidenceError(f"the profile of {category!r} lacks {error}; learn the category again") from error
