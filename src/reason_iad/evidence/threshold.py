"""The false-alarm rate that people set for a profile: who, when, why, and the way back.

It lies beside the profile as `threshold.json`, a line for each change, and travels with the folder. Lines are only ever
added: what is taken back stays to be read.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reason_iad.errors import EvidenceError
from reason_iad.evidence.profile_store import find_profile
from reason_iad.files import write_whole

MAX_WHY = 500


@dataclass(frozen=True)
class Choice:
    """One change of a profile's rate.

    Attributes:
        max_overkill: share of good parts that may be called defective, in (0, 1); None where a choice was taken back.
        who: changed it.
        at: when, in UTC, as ISO 8601 writes it.
        why: in their words.
    """

    max_overkill: float | None
    who: str
    at: str
    why: str = ""


@dataclass(frozen=True)
class SetRate:
    """The rate that holds now, and who set it when."""

    max_overkill: float
    who: str
    at: str

    @property
    def note(self) -> str:
        """Says so, on a report."""
        return f"The false-alarm rate of this profile is {self.max_overkill:.2%}, set by {self.who} on {self.at[:10]}."


@dataclass(frozen=True)
class Threshold:
    """Everything that was set for a profile, oldest first."""

    history: tuple[Choice, ...] = ()

    @property
    def current(self) -> SetRate | None:
        """What holds now; None where nothing was set, or all of it was taken back."""
        standing: list[SetRate] = []
        for choice in self.history:
            if choice.max_overkill is not None:
                standing.append(SetRate(choice.max_overkill, choice.who, choice.at))
            elif standing:
                standing.pop()
        return standing[-1] if standing else None


def read_threshold(folder: Path) -> Threshold:
    """What was set for the profile in a folder.

    Raises:
        EvidenceError: the file is damaged.
    """
    path = folder / "threshold.json"
    try:
        rows = json.loads(path.read_text("utf-8"))
        return Threshold(tuple(Choice(**row) for row in rows))
    except FileNotFoundError:
        return Threshold()
    except (OSError, ValueError, TypeError) as error:
        raise EvidenceError(f"{path} cannot be read ({error}); copy the profile again, or delete this file") from error


def set_threshold(category: str, max_overkill: float, who: str, why: str = "") -> Threshold:
    """Set the false-alarm rate of a category's profile from now on.

    Args:
        category: has a profile.
        max_overkill: share of good parts that may be called defective, in (0, 1).
        who: sets it.
        why: in their words.

    Raises:
        EvidenceError: there is no profile, or the rate is none.
    """
    if not 0.0 < max_overkill < 1.0:
        raise EvidenceError(f"the rate is {max_overkill}; expected a number between 0 and 1, such as 0.02")
    return _add(category, Choice(max_overkill, who[:100], _now(), why[:MAX_WHY]))


def take_back(category: str, who: str, why: str = "") -> Threshold:
    """Go back to the rate before the one that holds now.

    Raises:
        EvidenceError: there is no profile, or nothing to take back.
    """
    return _add(category, Choice(None, who[:100], _now(), why[:MAX_WHY]))


def _add(category: str, choice: Choice) -> Threshold:
    import filelock

    folder = find_profile(category)
    if folder is None:
        raise EvidenceError(f"there is no profile of {category!r}; learn it with `reason-iad learn CATEGORY DIR`")
    with filelock.FileLock(folder / ".lock"):
        before = read_threshold(folder)
        if choice.max_overkill is None and before.current is None:
            raise EvidenceError(f"no rate was set for {category!r}, so there is none to take back")
        after = Threshold((*before.history, choice))
        rows = [dataclasses.asdict(one) for one in after.history]
        write_whole(folder / "threshold.json", json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    return after


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
