"""Models by hub id: what is fetched, how far it is, and what went wrong in words.

Only what a model needs is fetched: configuration, tokenizer, image processor and safetensors; never Python, never a
pickle. Files lie in the hub's own cache ($HF_HOME), where other programs find them too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reason_iad.errors import ModelError
from reason_iad.models.memory import gigabytes

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SMALL = ("*.json", "*.jinja", "*.txt", "tokenizer.model")
_WEIGHTS = "*.safetensors"
_SKIPPED = ("original/*", "consolidated*", "*/*")  # copies of the weights in other layouts

Say = Callable[[str], None]


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/model.

    >>> is_hub_id("Qwen/Qwen2.5-VL-7B-Instruct"), is_hub_id("./model"), is_hub_id("a/b/c")
    (True, False, False)
    """
    return _HUB_ID.fullmatch(name) is not None


def fetch_description(name: str) -> tuple[Path, str]:
    """Fetch all but the weights, or find it in the cache: the folder and the revision.

    Raises:
        ModelError: no such model, no access, or no hub in reach and nothing cached.
    """
    from huggingface_hub import snapshot_download

    with _explained(name):
        folder = snapshot_download(
            name,
            allow_patterns=list(_SMALL),
            ignore_patterns=list(_SKIPPED),
            endpoint=_endpoint(),
            tqdm_class=_silent(),
        )
    return Path(folder), Path(folder).name[:12]


def fetch_weights(name: str, say: Say) -> Path:
    """Fetch the weights as well, telling how far it is; what is cached already is not fetched again.

    Raises:
        ModelError: as for `fetch_description`.
    """
    from huggingface_hub import HfApi, snapshot_download

    with _explained(name):
        total = 0
        with contextlib.suppress(Exception):  # a hub out of reach: what is cached may do, and the next call says so
            files = HfApi(endpoint=_endpoint()).model_info(name, files_metadata=True).siblings or []
            total = sum(f.size or 0 for f in files if "/" not in f.rfilename and f.rfilename.endswith(_WEIGHTS[1:]))
        _check_disk(name, total)
        with _watching(name, total, say):
            folder = snapshot_download(
                name,
                allow_patterns=[*_SMALL, _WEIGHTS],
                ignore_patterns=list(_SKIPPED),
                endpoint=_endpoint(),
                tqdm_class=_silent(),
            )
    return Path(folder)


def cached_models() -> dict[str, tuple[Path, int]]:
    """Models in the hub's cache: id to newest snapshot and bytes on disk."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    found = {}
    for repo in repos:
        snapshots = sorted(repo.revisions, key=lambda revision: revision.last_modified)
        if repo.repo_type == "model" and snapshots:
            found[repo.repo_id] = (snapshots[-1].snapshot_path, repo.size_on_disk)
    return found


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what the hub's client raises into words."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name} is gated: its owner grants access to people who accept the terms. Accept them on its page on the "
            "hub, then set HF_TOKEN to a token of yours with read access"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"the hub has no model {name}, or it is private; check the spelling, or set HF_TOKEN to a token that may "
            "read it"
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(
            f"the hub cannot be reached and {name} is not, or not wholly, in the cache; connect, or give the folder of "
            "a copy: --model FOLDER"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "an error")
        raise ModelError(f"the hub answered {status} for {name}; try again later, or give a local folder") from error
    except _client_errors() as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{name} could not be fetched ({reason}); check the network and the space on disk") from error


def _client_errors() -> tuple[type[Exception], ...]:
    """What the hub's client may raise besides its own: of the system, of names, of the HTTP library that it uses."""
    from huggingface_hub import errors

    bases = errors.HfHubHTTPError.__mro__
    return (OSError, errors.HFValidationError, *(base for base in bases if base.__name__ == "HTTPError"))


@contextlib.contextmanager
def _watching(name: str, total: int, say: Say) -> Iterator[None]:
    """Say every second how much of a model has come: the bytes in its cache, whoever writes them."""
    began, cached, done = time.monotonic(), _cached_bytes(name), threading.Event()

    def watch() -> None:
        said = ""
        while not done.wait(1.0):
            line = _describe(name, _cached_bytes(name), cached, total, time.monotonic() - began)
            if line != said:
                say(said := line)

    thread = threading.Thread(target=watch, daemon=True)
    if total > cached:
        say(f"downloading {name}: {gigabytes(total - cached)}")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _describe(name: str, come: int, before: int, total: int, seconds: float) -> str:
    """How far a download is, and how long the rest should take.

    >>> _describe("a/b", 6_000_000_000, 2_000_000_000, 10_000_000_000, 60.0)
    'downloading a/b: 60 % of 10.0 GB, about 1 min left'
    """
    if not total:
        return f"downloading {name}: {gigabytes(come)}"
    left = seconds * (total - come) / (come - before) / 60 if come > before else 0.0
    rest = f", about {max(1, round(left))} min left" if left else ""
    return f"downloading {name}: {min(100, 100 * come // total)} % of {gigabytes(total)}{rest}"


def _cached_bytes(name: str) -> int:
    """Bytes of a model in the hub's cache, whole files and parts of files."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in blobs.iterdir())
    return 0


def _check_disk(name: str, total: int) -> None:
    """Refuse a download that the disk has no room for.

    Raises:
        ModelError: what is needed and what is free.
    """
    from huggingface_hub import constants

    place = Path(constants.HF_HUB_CACHE)
    there = next((folder for folder in (place, *place.parents) if folder.is_dir()), Path("/"))
    free, missing = shutil.disk_usage(there).free, total - _cached_bytes(name)
    if missing > free:
        raise ModelError(
            f"{name} takes {gigabytes(missing)} to download and {there} has {gigabytes(free)} free; free some, or set "
            "HF_HOME to a folder on a larger disk"
        )


def _endpoint() -> str | None:
    """The hub that the environment names, read when asked; None is the public one."""
    return os.environ.get("HF_ENDPOINT") or None


def _silent() -> Any:
    """The hub's progress bar, switched off: the tool tells the progress in its own line."""
    from tqdm import tqdm

    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        tqdm.__init__(self, *args, **{**kwargs, "disable": True})

    return type("Silent", (tqdm,), {"__init__": initialize})
