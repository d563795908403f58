"""Votes that a panel has cast, kept in a file that several processes may add to, and the weights that follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.errors import InputError
from reason_iad.files import home, sha256_of_json, write_whole
from reason_iad.inspection.panel_weights import EVIDENCE, Agreed, Earned, Votes, Weights, earn, weigh
from reason_iad.inspection.session import DETECTION

MAX_KEPT = 2000  # items of a type that are remembered
GOOD = "known good parts"  # the type under which votes on these are kept


@dataclass
class PanelMemory:
    """Votes that a panel has cast, by type of question, and the weights that follow; kept in a file.

    Attributes:
        path: of the file; None keeps nothing.
        votes: by type, by item, the probabilities of each annotator.

    Several processes may remember for the same panel: what each adds is joined with what is on disk.
    """

    path: Path | None = None
    votes: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    _agreed: dict[str, Agreed] = field(default_factory=dict)
    _earned: Earned | None = None
    _new: list[tuple[str, str, dict[str, list[float]]]] = field(default_factory=list)  # not yet on disk

    @classmethod
    def of(cls, fingerprints: Mapping[str, str]) -> PanelMemory:
        """What is remembered of a panel.

        Args:
            fingerprints: of its models, by name.

        Raises:
            InputError: the file is damaged.
        """
        path = home() / "panels" / f"{sha256_of_json(sorted(fingerprints.items()))[:16]}.json"
        return cls(path, _votes_in(path))

    def add(self, kind: str, item: str, votes: Votes) -> None:
        """Remember the votes on an item, those of an earlier time replaced."""
        mine = {name: [round(float(p), 5) for p in probabilities] for name, probabilities in votes.items()}
        self._new.append((kind, item, mine))
        self._put(kind, item, mine)

    def save(self) -> None:
        """Write what is remembered, beside what other processes have added since.

        Raises:
            InputError: the file is damaged.
            OSError: it cannot be written.
        """
        import filelock

        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self.path.with_suffix(".lock")):
            self.votes = _votes_in(self.path)
            self._agreed.clear()
            for kind, item, votes in self._new:
                self._put(kind, item, votes)
            write_whole(self.path, json.dumps(self.votes), durable=False)
        self._new.clear()

    def _put(self, kind: str, item: str, votes: dict[str, list[float]]) -> None:
        mine = self.votes.setdefault(kind, {})
        mine.pop(item, None)
        mine[item] = votes
        while len(mine) > MAX_KEPT:
            mine.pop(next(iter(mine)))
        self._agreed.pop(kind, None)
        self._earned = None

    def count(self, kind: str) -> int:
        """Items of a type on which two or more voted."""
        return sum(len(votes) > 1 for votes in self.votes.get(kind, {}).values())

    def agreed(self, kind: str) -> Agreed:
        """What each voice is worth by agreement alone."""
        if kind not in self._agreed:
            shared = [votes for votes in self.votes.get(kind, {}).values() if len(votes) > 1]
            self._agreed[kind] = Agreed(weigh(kind, shared), len(shared))
        return self._agreed[kind]

    def on_defects(self, votes: Mapping[str, float]) -> Weights:
        """What votes on a defect are worth: beside the comparison where it is among them, else by agreement."""
        if EVIDENCE not in votes:
            return self.agreed(DETECTION)
        if self._earned is None:
            compared = [said for said in self.votes.get(DETECTION, {}).values() if EVIDENCE in said]
            self._earned = earn(compared, list(self.votes.get(GOOD, {}).values()))
        return self._earned


def _votes_in(path: Path) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The votes in a file; none where there is no file."""
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {k: {i: {a: list(map(float, p)) for a, p in v.items()} for i, v in kept[k].items()} for k in kept}
    except (OSError, ValueError, AttributeError, TypeError, LookupError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); remove it: the panel then begins anew") from error
