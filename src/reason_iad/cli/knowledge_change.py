"""The actions of `reason-iad knowledge` that change a base: add, edit, import, export and draft."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import shlex
import subprocess
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.languages import _, note, say, told
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.knowledge.importers import ImportResult

_PARTS = ("look", "cause", "consequence", "check")


def add_change_actions(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], base: argparse.ArgumentParser
) -> None:
    """Register the actions; `base` holds the options that all of them share."""
    add = actions.add_parser("add", parents=[base], help="add a description of good parts, a defect, or a whole file")
    add.add_argument("category", nargs="?", metavar="CATEGORY", help="known, or new with --normal")
    add.add_argument("--from", type=Path, dest="file", metavar="FILE", help="a category file to check and add")
    add.add_argument("--normal", metavar="TEXT", help="what a good part looks like")
    add.add_argument("--defect", metavar="NAME", help="a defect; with --look, --cause, --consequence and --check")
    for part in _PARTS:
        add.add_argument(f"--{part}", metavar="TEXT", help=f"the defect's {part}")
    add.add_argument("--source", metavar="TEXT", help="where this is from, cited in reports (default: added by hand)")
    add.set_defaults(act=_add)
    edit = actions.add_parser("edit", parents=[base], help="correct a category in $EDITOR, or one field of it")
    edit.add_argument("category", metavar="CATEGORY")
    edit.add_argument("--set", nargs=2, action="append", default=[], metavar=("FIELD", "TEXT"),
                      help="such as --set crack.look 'A thin dark line.'; may be repeated")  # fmt: skip
    edit.set_defaults(act=_edit)
    bring = actions.add_parser("import", parents=[base], help="import documents, tables and MMAD's knowledge")
    bring.add_argument("sources", nargs="+", type=Path, metavar="PATH", help="files or folders")
    bring.add_argument("--category", help="category of what names none (default: the file's or folder's name if known)")
    bring.add_argument(
        "--language", dest="text_language", default="en", metavar="CODE", help="language of the texts (default: en)"
    )
    bring.add_argument("--encoding", default="utf-8-sig", metavar="NAME", help="of text files (default: UTF-8)")
    bring.add_argument("--dry-run", action="store_true", help="say how everything is read, and store nothing")
    bring.add_argument("--as", dest="corrections", action="append", default=[], metavar="NAME=MEANING",
                       help="what a heading, a column or a value means, such as 'Not acceptable=defect', 'Look=text', "
                       "'Remarks=ignore'; may be repeated")  # fmt: skip
    bring.set_defaults(act=_import)
    export = actions.add_parser("export", parents=[base], help="write .jsonl, .csv, or a folder of files")
    export.add_argument("target", type=Path, metavar="FILE_OR_DIR")
    export.add_argument("--category", help="only this category")
    export.add_argument("--version", type=int, metavar="N", help="as it was in version N (not for folders)")
    export.set_defaults(act=_export)
    versions = actions.add_parser("versions", parents=[base], help="list what changed in the store, and when")
    versions.set_defaults(act=_versions)
    draft = actions.add_parser("draft", parents=[base], help="let the model describe good parts, for you to approve")
    draft.add_argument("category", metavar="CATEGORY")
    draft.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="images of good parts")
    draft.add_argument("--model", default="nano", help="the model that describes (default: nano)")
    draft.add_argument("--images", type=int, default=4, metavar="N", help="how many images are described (default: 4)")
    draft.add_argument("--approve", metavar="WHO", help="put the draft, as you edited it, into the base")
    draft.set_defaults(act=_draft)


def _base(args: argparse.Namespace) -> Path:
    from reason_iad.knowledge.base import default_base

    return args.base or default_base()


def _add(args: argparse.Namespace) -> int:
    from reason_iad.errors import InputError
    from reason_iad.knowledge import editing
    from reason_iad.knowledge.entries import CategoryKnowledge, DefectKnowledge, read_text
    from reason_iad.knowledge.names import identifier

    base = _base(args)
    if args.file:
        saved = editing.save_text(base, f"{identifier(args.file.stem)}.yaml", read_text(args.file))
        return _changed(args, saved)
    if not args.category or not (args.normal or args.defect):
        raise InputError("nothing to add; expected CATEGORY with --normal TEXT or --defect NAME, or --from FILE")
    source = args.source or "added by hand"
    knowledge: CategoryKnowledge | None = None
    if args.normal:
        knowledge = editing.add_normal(base, args.category, args.normal, source)
    if args.defect:
        if missing := [f"--{part}" for part in _PARTS if not getattr(args, part)]:
            raise InputError(
                f"the defect {args.defect!r} of {args.category} lacks {', '.join(missing)}; expected all four, in a "
                "sentence each"
            )
        fields = {part: getattr(args, part) for part in _PARTS}
        defect = DefectKnowledge(identifier(args.defect), args.defect, **fields)
        knowledge = editing.add_defect(base, args.category, defect)
    return _changed(args, knowledge)


def _edit(args: argparse.Namespace) -> int:
    from reason_iad.errors import InputError, KnowledgeError
    from reason_iad.knowledge import editing

    base = _base(args)
    for field, text in args.set:
        knowledge = editing.set_field(base, args.category, field, text)
    if args.set:
        return _changed(args, knowledge)
    name, text = editing.own_text(base, args.category)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise InputError(f"no editor is named; set EDITOR, use --set, or edit {base / name} yourself")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, "utf-8")
        subprocess.run([*shlex.split(editor), str(path)], check=False)  # noqa: S603 - the user's own editor
        changed = path.read_text("utf-8")
    if changed == text:
        note(f"{args.category}: nothing changed")
        return 0
    try:
        return _changed(args, editing.save_text(base, name, changed, text))
    except KnowledgeError:
        kept = base / f"{name}.rejected"
        base.mkdir(parents=True, exist_ok=True)
        kept.write_text(changed, "utf-8")
        note(f"what you wrote is kept in {kept}")
        raise


def _changed(args: argparse.Namespace, knowledge: Any) -> int:
    from reason_iad.cli.knowledge import print_json

    if args.json:
        return print_json(dataclasses.asdict(knowledge))
    say(
        f"{knowledge.category}: {len(knowledge.normal)} normal, {counted(len(knowledge.defects), 'defect')}, "
        f"in {_base(args)}"
    )
    return 0


def _import(args: argparse.Namespace) -> int:
    from reason_iad.cli.knowledge import print_json
    from reason_iad.knowledge.importers import ImportOptions, import_sources
    from reason_iad.knowledge.rows import parse_corrections

    options = ImportOptions(
        args.category, args.text_language, args.encoding, parse_corrections(args.corrections), args.dry_run
    )
    result = import_sources(_base(args), args.sources, options)
    if args.json:
        print_json(dataclasses.asdict(result))
        return 2 if result.refused else 0
    _print_understanding(result, args.dry_run)
    said = (
        (_("known already"), result.duplicates),
        (_("reads like an order"), result.flagged),
        (_("names no product, so it holds for every one; say which with --category"), result.of_no_product),
    )
    for title, lines in said:
        print(*(f"{title}: {line}" for line in lines[:10]), sep="\n", end="\n" if lines else "")
        if len(lines) > 10:
            say(f"... and {len(lines) - 10} more")
    if result.left_out:
        say(f"left out: {', '.join(f'{count} {suffix}' for suffix, count in result.left_out.items())}")
    for message in result.refused:
        note(_("error: {message}", message=told(message)))
    total = sum(result.taken.values())
    more = len(result.categories) - 8
    names = ", ".join(result.categories[:8]) + (f" and {more} more categories" if more > 0 else "")
    say(
        f"{counted(total, 'entry', 'entries')} of {names or 'no category'}: {result.new} new, "
        f"{len(result.duplicates)} known already, {len(result.flagged)} to look at, "
        f"{counted(len(result.refused), 'file')} refused"
    )
    if args.dry_run:
        say(
            "Nothing was stored. Correct what is read wrongly with --as NAME=MEANING "
            "(normal, defect, process, standard, ignore; for columns also category, defect_type, text, cause, "
            "consequence, check, subject), then import without --dry-run."
        )
    return 2 if result.refused else 0


def _print_understanding(result: ImportResult, every_entry: bool) -> None:
    """How each source was read; with every entry where the import was only tried."""
    source_of = iter(result.entries)
    for path, count in result.taken.items():
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(result.kinds[path].items()))
        print(f"{path}: {told(counted(count, 'entry', 'entries'))}{f' ({kinds})' if kinds else ''}")
        lines = list(map(told, result.understood[path]))
        print(*(f"  {line}" for line in lines[:20]), sep="\n", end="\n" if lines else "")
        if len(lines) > 20:
            say(f"  ... and {len(lines) - 20} more")
        for entry in itertools.islice(source_of, count):
            if every_entry:
                about = f"{entry.category}, {entry.kind}" + (f", {entry.defect_type}" if entry.defect_type else "")
                print(f"    [{about}] {textwrap.shorten(entry.text, 100, placeholder=' ...')}")


def _export(args: argparse.Namespace) -> int:
    from reason_iad.errors import InputError
    from reason_iad.files import write_whole
    from reason_iad.knowledge.base import database_of
    from reason_iad.knowledge.bulk import dump_lines
    from reason_iad.knowledge.editing import dump_category
    from reason_iad.knowledge.export import dump_csv
    from reason_iad.knowledge.retrieve import KnowledgeBase

    base = KnowledgeBase.load(base=_base(args))
    category = base.check_category(args.category) if args.category else None
    suffix = args.target.suffix.lower()
    if suffix in (".jsonl", ".csv"):
        entries = base.entries
        if args.version is not None:
            if args.version not in {version.version for version in database_of(_base(args)).versions()}:
                raise InputError(f"there is no version {args.version}; see `reason-iad knowledge versions`")
            entries = database_of(_base(args)).entries_of(args.version)
        chosen = [entry for entry in entries if category in (None, entry.category)]
        if not chosen:
            where = "the base" if args.version is None else f"version {args.version}"
            about = "" if category is None else f" of {category}"
            raise InputError(f"{where} holds no entry{about}; choose another version or category")
        text = dump_lines(chosen) if suffix == ".jsonl" else dump_csv(chosen)
        write_whole(args.target, text.encode())
        print(f"{args.target}: {told(counted(len(chosen), 'entry', 'entries'))}")
        return 0
    if suffix or args.version is not None:
        raise InputError(f"{args.target} is no target for that; expected NAME.jsonl, NAME.csv, or a folder")
    found = [base.knowledge_of(name) for name in ([category] if category else base.categories)]
    files = [knowledge for knowledge in found if knowledge is not None]
    for knowledge in files:
        write_whole(args.target / f"{knowledge.category}.yaml", dump_category(knowledge).encode())
    print(f"{args.target}: {told(counted(len(files), 'category file'))}")
    return 0


def _versions(args: argparse.Namespace) -> int:
    from reason_iad.cli.knowledge import print_json
    from reason_iad.knowledge.base import database_of

    found = database_of(_base(args)).versions()
    if args.json:
        return print_json([dataclasses.asdict(version) for version in found])
    for v in found:
        entries = told(counted(v.entries, "entry", "entries"))
        print(f"{v.version}  {v.at}  {entries} (+{v.added} -{v.removed})  {v.encoder}")
    if not found:
        say("no version yet: the store is built by the first search or inspection")
    return 0


def _draft(args: argparse.Namespace) -> int:
    from reason_iad.cli.knowledge_draft import approve, draft
    from reason_iad.errors import InputError

    if args.approve:
        return _changed(args, approve(_base(args), args.category, args.approve))
    if args.folder is None:
        raise InputError("no folder of images; expected `draft CATEGORY DIR`, or --approve WHO for a draft that exists")
    say(draft(_base(args), args.category, args.folder, args.model, args.images))
    return 0
