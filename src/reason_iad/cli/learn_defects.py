"""`reason-iad learn CATEGORY --defects ...`: learn the types of defects from labeled examples, and correct them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError
from reason_iad.languages import _, note, told, translatable
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.images import LoadedImage
    from reason_iad.naming.examples import DefectExample, DefectExamples

_MOST_NOTES = 40
LoadVision = Callable[[], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `learn` that are about named defects."""
    group = parser.add_argument_group("named defects")
    group.add_argument(
        "--defects",
        metavar="PATH",
        help="learn types from a folder with a folder for each (masks where there are any), or from an export of COCO, "
        "Label Studio (.json), YOLO (data.yaml) or CVAT (.xml)",
    )
    group.add_argument(
        "--templates", metavar="DIR", help="of --defects: each image's own good template, under the image's name"
    )
    group.add_argument("--type", metavar="NAME", help="of --add IMAGE --as defective, or of --move: what defect it is")
    group.add_argument("--examples", action="store_true", help="list the named defects")
    group.add_argument("--forget", metavar="ID", help="take a named defect back, by the beginning of its id")
    group.add_argument("--move", metavar="ID", help="give a named defect another --type")
    group.add_argument("--undo", action="store_true", help="take the last change of the named defects back")


def asked(args: argparse.Namespace) -> bool:
    """Whether the command is about named defects alone.

    Raises:
        InputError: arguments that do not go together.
    """
    chosen = [
        name
        for name, given in (
            ("DIR", args.images), ("--add", args.add), ("--remove", args.remove), ("--defects", args.defects),
            ("--examples", args.examples), ("--forget", args.forget), ("--move", args.move), ("--undo", args.undo),
        )
        if given
    ]  # fmt: skip
    if len(chosen) > 1:
        raise InputError(f"found {' and '.join(chosen)} together; expected one of them: do one after the other")
    if (args.type is not None) != bool(args.move or (args.add and args.label == "defective" and args.type)):
        raise InputError(
            "expected --type with --add IMAGE --as defective, or with --move ID, which needs it; found one without "
            "the other"
        )
    if args.templates and not args.defects:
        raise InputError("found --templates without --defects; expected both: templates belong to labeled images")
    return bool(args.defects or args.examples or args.forget or args.move or args.undo)


def run(args: argparse.Namespace, load_vision: LoadVision) -> int:
    """Learn, list or correct named defects; 0 when all could be used, 2 when something was left out."""
    from reason_iad.naming.store import load_examples, save_examples, undo

    notes: list[str] = []
    examples = load_examples(args.category)
    if args.defects:
        examples, notes = _learn(args, examples, load_vision)
    elif args.forget or args.move:
        examples = examples.without(args.forget) if args.forget else examples.move(args.move, args.type)
        save_examples(examples)
    elif args.undo:
        examples = undo(args.category)
    for one in notes[:_MOST_NOTES]:
        note(_("note: {what}", what=told(one)))
    if len(notes) > _MOST_NOTES:
        note(_("note: {what}", what=told(counted(len(notes) - _MOST_NOTES, "more note"))))
    print(_json(examples, notes) if args.json else _text(examples, args.examples))
    return 2 if any("left out" in one for one in notes) else 0


def add_named(args: argparse.Namespace, images: Sequence[LoadedImage], vision: Any) -> str:
    """Add images that a person called defective to the examples of a type, each by its oddest area; says so."""
    from reason_iad.evidence.profile import load_profile
    from reason_iad.naming.store import load_examples, save_examples
    from reason_iad.naming.teach import Teacher, strongest

    teacher = Teacher(vision, load_profile(args.category))
    new: list[DefectExample] = []
    assert teacher.profile is not None
    for image in images:
        evidence = teacher.profile.compare(image.pixels, vision)
        box = strongest(evidence, image.image_hw)
        new += teacher.of_boxes(image, [(box, args.type)], "feedback", evidence)
    examples, notes = load_examples(args.category).add(new)
    save_examples(examples)
    added = translatable(f"{counted(len(new), 'example')} of {new[0].defect_type} added")
    return "; ".join([added, *notes])


def _learn(
    args: argparse.Namespace, examples: DefectExamples, load_vision: LoadVision
) -> tuple[DefectExamples, list[str]]:
    from reason_iad.cli.progress import Progress
    from reason_iad.evidence.profile import load_profile
    from reason_iad.evidence.profile_store import find_profile
    from reason_iad.naming.labels import read_labels
    from reason_iad.naming.store import save_examples
    from reason_iad.naming.teach import Teacher, find_templates

    labels = read_labels(args.defects)
    notes = list(labels.notes)
    templates = find_templates(args.templates) if args.templates else {}
    profile = None if find_profile(args.category) is None else load_profile(args.category)
    if profile is None and not templates:
        notes.append(
            translatable(
                f"{args.category} has no profile of good parts: areas are described without comparing them, and what "
                "nobody marked is what stands out in the image itself"
            )
        )
    progress = Progress(1)
    progress.say("loading vision towers")
    teacher = Teacher(load_vision(), profile, templates)
    progress = Progress(len(labels.images), verb="describing")
    try:
        new = teacher.examples(labels, notes, lambda done, _, name: progress.begin(done, name))
    finally:
        progress.close()
    changed, said = examples.add(new)
    save_examples(changed)
    return changed, [*notes, *said]


def _text(examples: DefectExamples, listed: bool) -> str:
    """What is known, in words."""
    if not examples.examples:
        return told(translatable(f"{examples.category}: no named defects yet; add some with --defects"))
    first = translatable(
        f"{examples.category}: {counted(len(examples.examples), 'named defect')} of "
        f"{counted(len(examples.counts), 'type')}, version {examples.version}"
    )
    lines = [told(first)]
    lines += [f"  {name}: {count}" for name, count in examples.counts.items()]
    if len(examples.counts) == 1:
        lines.append(_("  one type only: an area is this or none of these; add examples of others to tell them apart"))
    if listed:
        for one in examples.examples:
            box = " ".join(map(str, one.box_xyxy))
            lines.append(
                f"  {one.id}  {one.defect_type}  {one.date}  {one.origin}  {_('box {box}', box=box)}  {one.image}"
            )
    elif examples.history:
        lines.append(_("  last change: {change}", change=told(examples.history[-1], own=True)))
    return "\n".join(lines)


def _json(examples: DefectExamples, notes: Sequence[str]) -> str:
    found = {
        "category": examples.category,
        "version": examples.version,
        "types": examples.counts,
        "history": list(examples.history),
        "notes": list(notes),
        "examples": [
            {
                "id": one.id, "defect_type": one.defect_type, "image": one.image, "image_sha256": one.image_sha256,
                "box_xyxy": list(one.box_xyxy), "date": one.date, "origin": one.origin,
            }
            for one in examples.examples
        ],
    }  # fmt: skip
    return json.dumps(found, indent=2, ensure_ascii=False)
