"""Knowledge that changes under a running server: seen within seconds, loaded beside the old, and taken over."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from reason_iad.errors import ReasonIADError
from reason_iad.server.knowledge import KnowledgeSearch
from reason_iad.server.model_workers import ModelWorkers

LOOK_SECONDS = 5.0
_log = logging.getLogger("reason_iad.server")
_KINDS = {".yaml", ".yml", ".jsonl"}


def state_of(base: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells whether the files of a knowledge base changed: name, size and time of each."""
    found = []
    for path in base.rglob("*"):
        if path.suffix.lower() in _KINDS and not any(part.startswith(".") for part in path.relative_to(base).parts):
            try:
                status = path.stat()
            except OSError:  # gone meanwhile
                continue
            found.append((str(path.relative_to(base)), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


async def keep_fresh(model: ModelWorkers, knowledge: KnowledgeSearch, look_seconds: float = LOOK_SECONDS) -> None:
    """Load models and knowledge anew whenever the files of the user's own knowledge have changed; never ends.

    Profiles need none of this: each inspection looks whether its profile has changed.
    """
    from reason_iad.knowledge.base import default_base

    base = default_base()
    known = await asyncio.to_thread(state_of, base)
    while True:
        await asyncio.sleep(look_seconds)
        found = await asyncio.to_thread(state_of, base)
        if found == known or model.ready == 0:
            continue
        if found != await asyncio.to_thread(state_of, base):  # in the middle of a change
            continue
        known = found
        try:
            await asyncio.to_thread(knowledge.renew)
        except ReasonIADError as error:
            _log.error("the knowledge has changed and cannot be used, so that of before holds: %s", error)
            continue
        if await model.renew():
            _log.warning("the knowledge has changed and holds from now on")
