"""Labeling inspections of the record: which areas wait for a name, and what a name does.

An area is named with what the record keeps of it: no image is looked at again, so that a name counts at once.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.datasets.names import plain
from reason_iad.errors import InputError
from reason_iad.files import write_whole
from reason_iad.images import read_image
from reason_iad.naming.describe import picture_of
from reason_iad.naming.examples import Box, DefectExample, DefectExamples, clean_type
from reason_iad.naming.export import ExportedArea, ExportedImage, ExportFormat, as_coco, as_label_studio, label_config
from reason_iad.naming.kept import read_areas
from reason_iad.naming.namer import Namer
from reason_iad.naming.queue import Asked, Waiting, rank
from reason_iad.naming.said import spellings
from reason_iad.naming.store import load_examples, save_examples
from reason_iad.store.record import Filter, Record
from reason_iad.store.store import Store

AREAS = "areas"  # the role of the file with an inspection's described areas
MOST_READ = 400  # newest inspections that are looked through
SAID = "it is: "  # how the comment of a label begins


@dataclass(frozen=True)
class Labeled:
    """What a name did.

    Attributes:
        example: id of the example that it made.
        defect_type: the name as it is kept.
        examples: how many the category has now.
        version: of the category's examples.
        notes: what a person should know.
    """

    example: str
    defect_type: str
    examples: int
    version: int
    notes: tuple[str, ...] = ()


def waiting_of(store: Store, category: str) -> tuple[Waiting, ...]:
    """Areas of the newest inspections of a category that have no name yet; of each image once."""
    known = {(e.image_sha256, e.box_xyxy) for e in load_examples(category).examples}
    found: list[Waiting] = []
    seen: set[str] = set()
    for brief in store.find(Filter(state="done", category=category, limit=MOST_READ)):
        if brief.verdict == "normal" or brief.image_sha256 in seen:
            continue
        record = store.get(brief.id)
        if record is None or AREAS not in record.files or _dismissed(record):
            continue
        seen.add(record.image_sha256)
        found += [area for area in _areas(store, record) if (record.image_sha256, area.box_xyxy) not in known]
    return tuple(found)


def queue_of(store: Store, category: str, limit: int = 20) -> tuple[Asked, ...]:
    """The areas whose name would teach most, first."""
    examples = load_examples(category)
    return rank(waiting_of(store, category), Namer.of(examples) if examples.examples else None)[:limit]


def label(store: Store, identifier: str, index: int, defect_type: str, who: str) -> Labeled:
    """Name one area of an inspection: its category's examples have it at once, and the record says who said so.

    Raises:
        InputError: no such inspection or area, or a type that is no name.
    """
    name, record = clean_type(defect_type), _record(store, identifier)
    areas = read_areas(store.files.get(record.files[AREAS]))
    if not 0 <= index < len(areas):
        raise InputError(f"the inspection {identifier} has {len(areas)} odd areas; found number {index}: count from 0")
    box, vector = areas[index]
    image = read_image(store.files.get(record.files["image"]), name=record.name)
    example = DefectExample(
        name, record.name, record.image_sha256, image.image_hw, box, vector[None], picture_of(image.pixels, box),
        datetime.date.today().isoformat(), "label",
    )  # fmt: skip
    examples, notes = load_examples(str(record.category)).add([example])
    save_examples(examples)
    said = store.add_feedback(identifier, "confirmed", who, f"{SAID}{name} (area {index + 1})")
    store.note_effect(said.id, f"The examples of {record.category} are now version {examples.version}.")
    return Labeled(example.id, name, len(examples.examples), examples.version, notes)


def label_only_area(store: Store, identifier: str, defect_type: str, who: str) -> Labeled:
    """Name the odd area of an inspection that has one alone.

    Raises:
        InputError: as for `label`, or there are several areas.
    """
    count = len(read_areas(store.files.get(_record(store, identifier).files[AREAS])))
    if count != 1:
        raise InputError(f"the inspection has {count} odd areas; say which of them is meant: name it under Label")
    return label(store, identifier, 0, defect_type, who)


def known_types(category: str, in_knowledge: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Types that a category's examples and knowledge have, each with the ways it is written.

    A type of the examples that the knowledge has, too, is one type, by the name of the examples.

    Args:
        category: whose examples.
        in_knowledge: names of its types in the knowledge, by identifier.
    """
    found = {name: spellings(name) for name in load_examples(category).counts}
    written = {plain(one): name for name, ways in found.items() for one in ways}
    for identifier, name in in_knowledge.items():
        ways = spellings(name, identifier)
        same = next((written[plain(one)] for one in ways if plain(one) in written), None)
        found[same or name] = tuple({*found.get(same or name, ()), *ways})
    return found


def unlabel(store: Store, identifier: str, example: str, who: str) -> DefectExamples:
    """Take a name back that `label` gave.

    Raises:
        InputError: there is no such inspection or example.
    """
    record = _record(store, identifier)
    examples = load_examples(str(record.category)).without(example)
    save_examples(examples)
    said = store.add_feedback(identifier, "confirmed", who, "the name is taken back")
    store.note_effect(said.id, f"The examples of {record.category} are now version {examples.version}.")
    return examples


def _record(store: Store, identifier: str) -> Record:
    record = store.get(identifier)
    if record is None:
        raise InputError(f"there is no inspection {identifier!r}; list them with `reason-iad records list`")
    if record.state != "done" or AREAS not in record.files or not record.category or record.category == "unknown":
        raise InputError(
            f"the inspection {identifier} has no odd area that can be named (verdict {record.verdict}, category "
            f"{record.category}); expected a finished one that found something on a known category: inspect it again"
        )
    return record


def _areas(store: Store, record: Record) -> Sequence[Waiting]:
    try:
        areas = read_areas(store.files.get(record.files[AREAS]))
    except InputError:  # of an earlier version, or removed by hand: nothing to learn from
        return ()
    notes = (record.report or {}).get("notes", ())
    disagree = any("disagree" in str(note) for note in notes)
    return [
        Waiting(
            record.id, record.name, index, box, vector, str(record.verdict), float(record.probability or 0.0), disagree
        )
        for index, (box, vector) in enumerate(areas)
    ]  # fmt: skip


def _dismissed(record: Record) -> bool:
    """Whether a person said that it was a false alarm."""
    return any(said.kind == "false_alarm" for said in record.feedback)


def export_labels(store: Store, category: str, folder: Path, form: ExportFormat) -> tuple[int, int]:
    """Write the images of a category's inspections with names and areas for another tool; how many images and areas.

    Args:
        store: the record.
        category: of the inspections; those without an odd area are left out.
        folder: is made; gets images/ and the file of the tool.
        form: of the file.

    Raises:
        InputError: nothing was found, or the folder cannot be written.
    """
    named = {(one.image_sha256, one.box_xyxy): one.defect_type for one in load_examples(category).examples}
    images: dict[str, ExportedImage] = {}
    try:
        for record in store.records(Filter(state="done", category=category)):
            if record.report is None or record.image_sha256 in images or not record.report.get("regions"):
                continue
            data = store.files.get(record.files["image"])
            suffix = Path(record.name).suffix.lower()
            file = f"images/{record.image_sha256[:16]}{suffix if suffix.isascii() else ''}"
            write_whole(folder / file, data, durable=False)
            regions = tuple(_exported(region, record.image_sha256, named) for region in record.report["regions"])
            height, width = record.report["image_hw"]
            images[record.image_sha256] = ExportedImage(file, (height, width), regions)
        if not images:
            raise InputError(
                f"the record has no inspection of {category!r} with an odd area; there is nothing to export"
            )
        found = list(images.values())
        content = as_coco(found) if form == "coco" else as_label_studio(found)
        write_whole(folder / f"{form}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        if form == "label-studio":
            write_whole(folder / "label-config.xml", label_config(found))
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); expected a folder with room") from error
    return len(found), sum(len(image.areas) for image in found)


def _exported(region: dict[str, Any], sha256: str, named: dict[tuple[str, Box], str]) -> ExportedArea:
    left, top, right, bottom = region["box_xyxy"]
    box = (left, top, right, bottom)
    if (name := named.get((sha256, box))) is not None:
        return ExportedArea(name, box, True, 1.0)
    naming = region.get("naming") or {}
    types = naming.get("types") or []
    sure = naming.get("defect_type")
    return ExportedArea(sure, box, False, float(types[0]["probability"]) if sure and types else region["strength"])
