"""Category profiles on disk; `profile` says how their folder is laid out.

Every file is written beside its name and renamed, `profile.json` last and under a lock, so that a server and a command
line may change one profile at once and a reader never sees half of it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np

from reason_iad import files
from reason_iad.errors import EvidenceError
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.profile import CategoryProfile, Member
from reason_iad.files import write_whole
from reason_iad.images import Scale

FORMAT_VERSION = 1
KEPT_VERSIONS = 5


def profiles_home() -> Path:
    """The folder that holds the profile of each category: `$REASON_IAD_HOME/profiles`."""
    return files.home() / "profiles"


def profile_folder(category: str) -> Path:
    """Where the profile of a category is kept, whether or not there is one.

    Raises:
        EvidenceError: the name holds no letter or digit, or one that no folder should have.
    """
    name = "_".join(re.split(r"[\s_\-]+", category.strip().casefold()))
    if not re.fullmatch(r"\w{1,100}", name) or not re.search(r"[^_]", name):
        raise EvidenceError(f"the category is {category!r}; expected letters, digits, spaces, '-' and '_' only")
    return profiles_home() / name


def same_category(one: str, other: str) -> bool:
    """Whether two spellings name one category, as folders of profiles do.

    >>> same_category("metal nut", "Metal_Nut"), same_category("metal nut", "hazelnut")
    (True, False)
    """
    try:
        return profile_folder(one) == profile_folder(other)
    except EvidenceError:
        return one == other


def find_profile(category: str) -> Path | None:
    """The folder of a category's profile, or None where it has none."""
    try:
        folder = profile_folder(category)
    except EvidenceError:
        return None
    return folder if (folder / "profile.json").is_file() else None


def list_profiles() -> tuple[str, ...]:
    """Names of the categories that have a profile."""
    home = profiles_home()
    return tuple(sorted(path.parent.name for path in home.glob("*/profile.json"))) if home.is_dir() else ()


def read_facts(category: str) -> dict[str, Any]:
    """What is known for people about the current version of a category's profile, without reading its bank.

    Raises:
        EvidenceError: there is none, or it is damaged.
    """
    folder = find_profile(category)
    if folder is None:
        raise EvidenceError(f"there is no profile of {category!r}; learn it with `reason-iad learn CATEGORY DIR`")
    return _read_json(folder / "profile.json")


def load_stored(category: str) -> CategoryProfile:
    """The profile of a category; see `profile.load_profile`."""
    folder = find_profile(category)
    if folder is None:
        known = ", ".join(list_profiles()) or "none"
        raise EvidenceError(
            f"there is no profile of {category!r} (learned so far: {known}); "
            "learn it with `reason-iad learn CATEGORY DIR` from images of good parts"
        )
    return read_profile(folder)


def write_profile(profile: CategoryProfile, folder: Path) -> None:
    """Write a profile; its version must follow the one that is there. One learned anew takes the next number.

    Raises:
        EvidenceError: another change came first.
    """
    import filelock

    (folder / "members").mkdir(parents=True, exist_ok=True)
    (folder / "versions").mkdir(exist_ok=True)
    with filelock.FileLock(folder / ".lock"):
        for member in profile.members:
            _write_member(member, folder / "members")
        current = _current(folder)
        if current is not None and profile.version == 1:
            profile = dataclasses.replace(profile, version=current + 1)
        elif current is not None and profile.version <= current:
            raise EvidenceError(
                f"{folder} is at version {current} and this would be {profile.version}: "
                "another change came first; load the profile again and repeat the change"
            )
        name = f"{profile.version:04d}"
        profile.bank.save(folder / "versions" / f"{name}.bank")
        facts = _facts(profile)
        write_whole(folder / "versions" / f"{name}.json", _json(facts))
        write_whole(folder / "profile.json", _json({"version": profile.version, **facts}))
        _forget(folder, profile.version)


def read_profile(folder: Path, version: int | None = None) -> CategoryProfile:
    """Read a profile, by default its current version; see `CategoryProfile.load`."""
    found = _current(folder) if version is None else version
    if found is None:
        raise EvidenceError(f"{folder} holds no profile; expected a folder written by `reason-iad learn`")
    facts = _read_json(folder / "versions" / f"{found:04d}.json")
    if facts.get("format_version") != FORMAT_VERSION:
        raise EvidenceError(
            f"{folder} has format version {facts.get('format_version')}; this program reads {FORMAT_VERSION}: "
            f"learn {folder.name} again"
        )
    try:
        members = tuple(_read_member(folder / "members", record) for record in facts["members"])
        bank = _read_bank(folder, found)
        scale = Scale.from_dict(facts["scale"]) if facts.get("scale") else None
        return CategoryProfile(facts["category"], bank, members, found, tuple(facts["history"]), scale)
    except (KeyError, TypeError) as error:
        raise EvidenceError(f"{folder} lacks {error}; learn {folder.name} again") from error


def _facts(profile: CategoryProfile) -> dict[str, Any]:
    """What `versions/NNNN.json` holds."""
    references = {member.sha256 for member in profile.references}
    return {
        "format_version": FORMAT_VERSION,
        "category": profile.category,
        "history": list(profile.history),
        "scale": None if profile.scale is None else profile.scale.as_dict(),
        "num_normals": len(profile.normals),
        "num_defectives": len(profile.defectives),
        "warnings": list(profile.warnings),
        "members": [
            {
                "id": member.id, "name": member.name, "sha256": member.sha256, "label": member.label,
                "from_feedback": member.from_feedback, "reference": member.sha256 in references,
            }
            for member in profile.members
        ],
    }  # fmt: skip


def _write_member(member: Member, folder: Path) -> None:
    from safetensors.torch import save

    path = folder / f"{member.id}.safetensors"
    if path.is_file() and (folder / f"{member.id}.jpg").is_file():
        return
    import torch

    tensors = {f"features/{name}": one.contiguous() for name, one in member.features.items()}
    if member.embedding is not None:
        tensors["embedding"] = torch.from_numpy(np.asarray(member.embedding, np.float32))
    write_whole(path, save(tensors))
    write_whole(folder / f"{member.id}.jpg", member.preview_jpeg)


def _read_member(folder: Path, record: dict[str, Any]) -> Member:
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / f"{record['id']}.safetensors"
    try:
        tensors = load(path.read_bytes())
        preview = path.with_suffix(".jpg").read_bytes()
    except (OSError, SafetensorError) as error:
        name = folder.parent.name
        raise EvidenceError(
            f"{path} cannot be read ({error}); copy the profile of {name} again, or learn it again"
        ) from error
    embedding = tensors.pop("embedding", None)
    features = {name.removeprefix("features/"): one for name, one in tensors.items()}
    return Member(
        record["name"], record["sha256"], record["label"], features, preview,
        None if embedding is None else embedding.numpy(), bool(record["from_feedback"]),
    )  # fmt: skip


def _read_bank(folder: Path, version: int) -> MemoryBank:
    try:
        return MemoryBank.load(folder / "versions" / f"{version:04d}.bank")
    except EvidenceError as error:
        raise EvidenceError(f"the profile of {folder.name} cannot be used: {error}, or learn it again") from error


def _current(folder: Path) -> int | None:
    """The current version, or None where there is no profile."""
    path = folder / "profile.json"
    if not path.is_file():
        return None
    version = _read_json(path).get("version")
    if not isinstance(version, int) or version < 1:
        raise EvidenceError(f"{path} has version {version!r}; expected a whole number: learn {folder.name} again")
    return version


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"{path} cannot be read ({error}); copy the profile of {_category_of(path)} again, or learn it again"
        ) from error
    if not isinstance(found, dict):
        raise EvidenceError(
            f"{path} is no JSON object; copy the profile of {_category_of(path)} again, or learn it again"
        )
    return cast(dict[str, Any], found)


def _category_of(path: Path) -> str:
    """The category to whose profile a file belongs: one in its folder, or in `versions` below it."""
    return (path.parent.parent if path.parent.name == "versions" else path.parent).name


def _forget(folder: Path, version: int) -> None:
    """Drop versions older than the last few, and members that no version names."""
    for path in (folder / "versions").glob("*.json"):
        if path.stem.isdecimal() and int(path.stem) <= version - KEPT_VERSIONS:
            shutil.rmtree(path.with_suffix(".bank"), ignore_errors=True)
            path.unlink(missing_ok=True)
    named = {
        record["id"] for path in (folder / "versions").glob("*.json") for record in _read_json(path).get("members", [])
    }
    for path in (folder / "members").iterdir():
        if path.stem not in named:
            path.unlink(missing_ok=True)


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
