"""Named defects on disk, inside the folder of their category's profile.

    defects/defects.json              the current version, and its facts for people
    defects/versions/0003.json        what a version is made of; older ones stay, so that a change can be taken back
    defects/packs/<digest>.safetensors  descriptions of the examples that came together, (n views, D) float16
    defects/pictures/<id>.jpg         a small picture of each

Packs and pictures never change, so versions share them; `defects.json` is replaced last, under a lock. A category may
have named defects without a learned profile. Nothing that is read is executed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.errors import InputError
from reason_iad.evidence.profile_store import profile_folder
from reason_iad.files import sha256, write_whole
from reason_iad.naming.describe import DESCRIPTION_VERSION, LENGTH
from reason_iad.naming.examples import DefectExample, DefectExamples

FORMAT_VERSION = 1
KEPT_VERSIONS = 5
FOLDER = "defects"


def examples_folder(category: str) -> Path:
    """Where the named defects of a category are kept, whether or not there are any."""
    return profile_folder(category) / FOLDER


def find_named(category: str) -> Path | None:
    """The folder of a category that has named defects; None where it has none."""
    return None if changed_at(category) is None else profile_folder(category)


def changed_at(category: str) -> int | None:
    """When the named defects of a category were changed last, in nanoseconds; None where there are none."""
    from reason_iad.errors import EvidenceError

    try:
        return (examples_folder(category) / "defects.json").stat().st_mtime_ns
    except (EvidenceError, OSError):
        return None


def load_examples(category: str, version: int | None = None) -> DefectExamples:
    """The named defects of a category, by default at their current version; an empty collection where there are none.

    Raises:
        InputError: they are damaged, or another version of the program wrote them.
    """
    folder = examples_folder(category)
    if version is None:
        if not (folder / "defects.json").is_file():
            return DefectExamples(category)
        version = int(_read_json(folder / "defects.json").get("version", 0))
    facts = _read_json(folder / "versions" / f"{version:04d}.json")
    found = (facts.get("format_version"), facts.get("description_version"))
    if found != (FORMAT_VERSION, DESCRIPTION_VERSION):
        raise InputError(
            f"{folder} has the versions {found}; this program reads {(FORMAT_VERSION, DESCRIPTION_VERSION)}: "
            "name the defects again with `reason-iad learn CATEGORY --defects`"
        )
    packs: dict[str, Any] = {}
    try:
        examples = tuple(_read_example(folder, record, packs) for record in facts["examples"])
        return DefectExamples(str(facts["category"]), examples, version, tuple(facts["history"]))
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{folder} lacks {error}; copy the folder again, or name the defects again") from error


def save_examples(examples: DefectExamples) -> Path:
    """Write a version; it must follow the one that is there. Returns the folder.

    Raises:
        InputError: another change came first.
    """
    import filelock

    folder = examples_folder(examples.category)
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock"):
        current = _current(folder)
        if examples.version != current + 1:
            raise InputError(
                f"{folder} is at version {current} and this would be {examples.version}: another change came first; "
                "repeat yours"
            )
        places = _places(folder, current)
        new = [example for example in examples.examples if example.id not in places]
        places |= _write_pack(folder, new)
        facts = {
            "format_version": FORMAT_VERSION,
            "description_version": DESCRIPTION_VERSION,
            "category": examples.category,
            "history": list(examples.history[-100:]),
            "counts": examples.counts,
            "examples": [_record(example, places[example.id]) for example in examples.examples],
        }
        write_whole(folder / "versions" / f"{examples.version:04d}.json", _json(facts))
        summary = {"version": examples.version, "counts": examples.counts, "history": facts["history"]}
        write_whole(folder / "defects.json", _json(summary))
        _forget(folder, examples.version)
    return folder


def undo(category: str) -> DefectExamples:
    """Take the last change back: what was known before it becomes the next version.

    Raises:
        InputError: there is no earlier version.
    """
    examples = load_examples(category)
    if examples.version < 1:
        raise InputError(f"{category!r} has no named defects; there is no change to take back")
    last = examples.history[-1] if examples.history else ""
    before = examples.version - 1
    earlier = DefectExamples(category) if before == 0 else load_examples(category, before)
    change = (*examples.history, f"taken back: {last}")
    restored = DefectExamples(examples.category, earlier.examples, examples.version + 1, change)
    save_examples(restored)
    return restored


def _record(example: DefectExample, place: tuple[str, int]) -> dict[str, Any]:
    return {
        "id": example.id, "defect_type": example.defect_type, "image": example.image,
        "image_sha256": example.image_sha256, "image_hw": list(example.image_hw), "box_xyxy": list(example.box_xyxy),
        "date": example.date, "origin": example.origin, "pack": place[0], "row": place[1],
        "views": len(example.views),
    }  # fmt: skip


def _write_pack(folder: Path, new: Sequence[DefectExample]) -> dict[str, tuple[str, int]]:
    """Write the descriptions and pictures of examples; which pack and row each has."""
    if not new:
        return {}
    from safetensors.numpy import save

    data = save({"views": np.concatenate([example.views for example in new]).astype(np.float16)})
    name = sha256(data)[:16]
    write_whole(folder / "packs" / f"{name}.safetensors", data)
    for example in new:
        write_whole(folder / "pictures" / f"{example.id}.jpg", example.picture_jpeg, durable=False)
    starts = np.cumsum([0, *(len(example.views) for example in new)])
    return {example.id: (name, int(start)) for start, example in zip(starts, new, strict=False)}


def _read_example(folder: Path, record: dict[str, Any], packs: dict[str, Any]) -> DefectExample:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    name = str(record["pack"])
    if name not in packs:
        path = folder / "packs" / f"{name}.safetensors"
        try:
            packs[name] = load(path.read_bytes())["views"].astype(np.float32)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} cannot be read ({error}); copy the folder again") from error
        if packs[name].ndim != 2 or packs[name].shape[1] != LENGTH:
            raise InputError(f"{path} holds descriptions {packs[name].shape}; expected (n, {LENGTH})")
    picture = folder / "pictures" / f"{record['id']}.jpg"
    height, width = record["image_hw"]
    left, top, right, bottom = record["box_xyxy"]
    row = record["row"]
    return DefectExample(
        defect_type=record["defect_type"],
        image=record["image"],
        image_sha256=record["image_sha256"],
        image_hw=(height, width),
        box_xyxy=(left, top, right, bottom),
        views=packs[name][row : row + record["views"]],
        picture_jpeg=picture.read_bytes() if picture.is_file() else b"",
        date=record["date"],
        origin=record["origin"],
    )


def _places(folder: Path, version: int) -> dict[str, tuple[str, int]]:
    """Pack and row of each example that any kept version names, by id."""
    if not version:
        return {}
    found = {}
    for path in (folder / "versions").glob("*.json"):
        for record in _read_json(path).get("examples", []):
            found[record["id"]] = (record["pack"], record["row"])
    return found


def _current(folder: Path) -> int:
    path = folder / "defects.json"
    return int(_read_json(path).get("version", 0)) if path.is_file() else 0


def _forget(folder: Path, version: int) -> None:
    """Drop versions older than the last few, and packs and pictures that no version names."""
    for path in (folder / "versions").glob("*.json"):
        if path.stem.isdecimal() and int(path.stem) <= version - KEPT_VERSIONS:
            path.unlink(missing_ok=True)
    places = _places(folder, version)
    packs = {name for name, _ in places.values()}
    for kind, named in (("packs", packs), ("pictures", set(places))):
        for path in (folder / kind).glob("*"):
            if path.stem not in named:
                path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); copy the folder again, or name the defects again"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is no JSON object; copy the folder again, or name the defects again")
    return found


def _json(facts: dict[str, Any]) -> bytes:
    return (json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
