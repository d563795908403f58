"""`reason-iad knowledge`: look at what the inspector knows about products, and make it the factory's own."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.languages import _, note, number, say, told
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.knowledge.retrieve import KnowledgeBase

DESCRIPTION = """\
What inspections retrieve and cite: what good parts look like, the usual defects, their causes and consequences. Your
own base is a folder of files laid over the starter knowledge: `knowledge` in the program's home, or --base DIR.
"""
_EPILOG = """\
examples:
  reason-iad knowledge search "dark line beside the bead" --category weld
  reason-iad knowledge import instructions/ --category "pump housing"
  reason-iad knowledge add "pump housing" --normal "The flange is flat and bare."
  reason-iad knowledge check
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `knowledge` and its subcommands."""
    from reason_iad.cli.knowledge_change import add_change_actions

    parser = subparsers.add_parser(
        "knowledge", help="look up, import, edit and check product knowledge", description=DESCRIPTION, epilog=_EPILOG,
    )  # fmt: skip
    base = argparse.ArgumentParser(add_help=False)
    base.add_argument("--base", type=Path, metavar="DIR", help="your base (default: knowledge in the program's home)")
    base.add_argument("--json", action="store_true", help="print JSON")
    common = argparse.ArgumentParser(add_help=False, parents=[base])
    common.add_argument("--folder", type=Path, metavar="DIR", help="only the category files of this folder, no base")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", parents=[common], help="list the categories")
    listed.set_defaults(act=_list)
    show = actions.add_parser("show", parents=[common], help="show what is known about one category")
    show.add_argument("category", metavar="CATEGORY", help="identifier, name or alias, such as hazelnut")
    show.set_defaults(act=_show)
    search = actions.add_parser("search", parents=[common], help="find entries for a question, with scores")
    search.add_argument("query", metavar="QUERY", help="a question or a few words")
    search.add_argument("--category", help="only entries of this category")
    search.add_argument("--top-k", type=int, default=5, metavar="N", help="how many entries (default: 5)")
    search.set_defaults(act=_search)
    check = actions.add_parser("check", parents=[common], help="check knowledge files and flag texts that give orders")
    check.add_argument("files", nargs="*", type=Path, metavar="FILE", help="files or folders (default: your base)")
    check.set_defaults(act=_check)
    add_change_actions(actions, base)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one action; 0 when all is well, 2 when something has to be corrected."""
    return int(args.act(args))


def open_base(args: argparse.Namespace) -> KnowledgeBase:
    """The base that the options name, with progress where its store has to be built."""
    from reason_iad.knowledge.retrieve import KnowledgeBase, tell_encoding

    tell = tell_encoding(note)
    return KnowledgeBase.load(args.folder, base=args.base, progress=tell)


def print_json(value: Any) -> int:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0


def _list(args: argparse.Namespace) -> int:
    base = open_base(args)
    bulk: dict[str, int] = {}
    for entry in base.entries:
        bulk[entry.category] = bulk.get(entry.category, 0) + 1
    rows: list[dict[str, Any]] = []
    for category in base.categories:
        knowledge = base.knowledge_of(category)
        rows.append(
            {
                "category": category,
                "name": knowledge.name if knowledge else category.replace("_", " "),
                "normal": len(knowledge.normal) if knowledge else 0,
                "defects": [defect.type for defect in knowledge.defects] if knowledge else [],
                "entries": bulk[category],
                "source": knowledge.source if knowledge else "imported",
            }
        )
    if args.json:
        return print_json(rows)
    width = max(len(str(row["category"])) for row in rows)
    for row in rows:
        imported = _("{count} imported entries", count=row["entries"])
        print(f"{row['category']:<{width}}  {', '.join(row['defects']) or imported}")
    defects = sum(len(row["defects"]) for row in rows)
    counts = counted(defects, "defect"), counted(len(base.entries), "entry", "entries")
    print("\n" + ", ".join(map(told, (counted(len(rows), "category", "categories"), *counts))))
    return 0


def _show(args: argparse.Namespace) -> int:
    base = open_base(args)
    category = base.check_category(args.category)
    knowledge = base.knowledge_of(category)
    written = {entry.id for entry in knowledge.entries()} if knowledge else set()
    imported = [entry for entry in base.entries if entry.category == category and entry.id not in written]
    if args.json:
        fields = dataclasses.asdict(knowledge) if knowledge else {"category": category}
        return print_json(fields | {"imported": [dataclasses.asdict(entry) for entry in imported]})
    from reason_iad.words import padded

    if knowledge:
        print(f"{knowledge.category}: {knowledge.name}")
        if knowledge.aliases:
            say(f"also called: {', '.join(knowledge.aliases)}")
        say(f"source: {knowledge.source}")
        print("\n" + _("Normal"))
        print(*(f"  - {text}" for text in knowledge.normal), sep="\n")
        for defect in knowledge.defects:
            print(f"\n{defect.name} ({defect.type})")
            labels = {"look": _("look"), "cause": _("cause"), "consequence": _("consequence"), "check": _("check")}
            for label, said in labels.items():
                print(f"  {padded(said + ':', 13)}{getattr(defect, label)}")
        if knowledge.standards:
            print("\n" + _("Standards"))
            print(*(f"  - {text}" for text in knowledge.standards), sep="\n")
    if imported:
        heading = _("Imported: {count}", count=number(len(imported)))
        print(f"\n{heading}" if knowledge else f"{category}: {heading}")
        print(*(f"  - {entry.text}  [{entry.source}]" for entry in imported[:20]), sep="\n")
        if len(imported) > 20:
            say(f"  ... and {len(imported) - 20} more: use --json, or search")
    return 0


def _search(args: argparse.Namespace) -> int:
    hits = open_base(args).search(args.query, args.category, args.top_k)
    if args.json:
        return print_json([dataclasses.asdict(hit) for hit in hits])
    for place, hit in enumerate(hits, 1):
        words = _("words: rank {rank}", rank=hit.bm25_rank) if hit.bm25_rank else _("words: none in common")
        near = number(hit.similarity, 2)
        meaning = _("meaning: rank {rank}, similarity {similarity}", rank=hit.dense_rank, similarity=near)
        print(f"{place}. {hit.entry.id}  {_('score {score}', score=number(hit.score, 4))} ({words}; {meaning})")
        print(f"   {hit.entry.text}\n   {told(f'source: {hit.entry.source}')}")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Check every file by itself, then, for a folder, that no name leads to two categories."""
    from reason_iad.errors import KnowledgeError
    from reason_iad.knowledge.base import default_base, read_base
    from reason_iad.knowledge.entries import STARTER_FOLDER, find_files, load_categories

    base: Path = args.base or default_base()
    targets: list[Path] = args.files or ([args.folder] if args.folder else [STARTER_FOLDER, base])
    checked = 0
    findings: list[dict[str, str]] = []
    for target in targets:
        if target == base and not args.files:
            paths = [path for kind in ("*.y*ml", "*.jsonl", "imports/*.jsonl") for path in sorted(base.glob(kind))]
        else:
            paths = find_files(target) if target.is_dir() else [target]
        found = [finding for path in paths for finding in _check_file(path)]
        checked += len(paths)
        if target.is_dir() and not any(finding["kind"] == "error" for finding in found):
            try:
                read_base(base) if target == base else load_categories(target)
            except KnowledgeError as error:
                found.append({"file": str(target), "kind": "error", "message": str(error)})
        findings += found
    if args.json:
        print_json({"files": checked, "findings": findings})
    else:
        for finding in findings:
            print(told(finding["message"]))
        say(f"{counted(checked, 'file')} checked, {counted(len(findings), 'finding')}")
    return 2 if findings else 0


def _check_file(path: Path) -> list[dict[str, str]]:
    from reason_iad.errors import KnowledgeError
    from reason_iad.knowledge.bulk import load_lines
    from reason_iad.knowledge.commands import find_instructions
    from reason_iad.knowledge.entries import load_file

    texts: list[tuple[str, str]] = []
    try:
        if path.suffix.lower() == ".jsonl":
            texts = [pair for entry in load_lines(path) for pair in ((entry.id, entry.text), (entry.id, entry.source))]
        else:
            knowledge = load_file(path)
            texts = [("name", knowledge.name), ("source", knowledge.source)]
            texts += [("aliases", alias) for alias in knowledge.aliases]
            texts += [(entry.id, entry.text) for entry in knowledge.entries()]
    except KnowledgeError as error:
        return [{"file": str(path), "kind": "error", "message": str(error)}]
    findings = []
    for where, text in texts:
        if phrases := find_instructions(text):
            quoted = ", ".join(repr(phrase) for phrase in phrases)
            message = f"{path}: {where} reads like an order to the model: found {quoted}; describe the product instead"
            findings.append({"file": str(path), "kind": "instruction", "message": message})
    return findings
