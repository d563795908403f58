"""`reason-iad knowledge`: list, show, search and check what the inspector knows about products."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Look at the knowledge that inspections retrieve and cite: what good parts look like, the usual defects, their causes
and consequences. Knowledge files are YAML, one per category; without --folder the starter knowledge is used.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `knowledge` and its subcommands."""
    parser = subparsers.add_parser(
        "knowledge", help="list, search and check product knowledge", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, help="a folder of knowledge files instead of the starter knowledge")
    common.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", parents=[common], help="list the categories")
    show = actions.add_parser("show", parents=[common], help="show what is known about one category")
    show.add_argument("category", metavar="CATEGORY", help="identifier, name or alias, such as hazelnut")
    search = actions.add_parser("search", parents=[common], help="find entries for a question, with scores")
    search.add_argument("query", metavar="QUERY", help="a question or a few words")
    search.add_argument("--category", help="only entries of this category")
    search.add_argument("--top-k", type=int, default=5, metavar="N", help="how many entries (default: 5)")
    check = actions.add_parser("check", parents=[common], help="check knowledge files and flag texts that give orders")
    check.add_argument("files", nargs="*", type=Path, metavar="FILE", help="files or folders (default: --folder)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one action; 0 when all is well, 2 when `check` found something to correct."""
    actions = {"list": _list, "show": _show, "search": _search, "check": _check}
    return actions[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from reason_iad.knowledge.entries import load_categories

    rows: list[dict[str, Any]] = [
        {
            "category": knowledge.category,
            "name": knowledge.name,
            "normal": len(knowledge.normal),
            "defects": [defect.type for defect in knowledge.defects],
            "source": knowledge.source,
        }
        for knowledge in load_categories(args.folder)
    ]
    if args.json:
        return _print_json(rows)
    width = max(len(str(row["category"])) for row in rows)
    for row in rows:
        print(f"{row['category']:<{width}}  {', '.join(row['defects'])}")
    print(f"\n{len(rows)} categories, {sum(len(row['defects']) for row in rows)} defects")
    return 0


def _show(args: argparse.Namespace) -> int:
    from reason_iad.knowledge.retrieve import KnowledgeBase

    base = KnowledgeBase.load(args.folder)
    knowledge = base.knowledge_of(base.check_category(args.category))
    assert knowledge is not None  # check_category refused everything else, and loaded bases know their categories
    if args.json:
        return _print_json(dataclasses.asdict(knowledge))
    print(f"{knowledge.category}: {knowledge.name}")
    if knowledge.aliases:
        print(f"also called: {', '.join(knowledge.aliases)}")
    print(f"source: {knowledge.source}\n\nNormal")
    print(*(f"  - {text}" for text in knowledge.normal), sep="\n")
    for defect in knowledge.defects:
        print(f"\n{defect.name} ({defect.type})")
        for label in ("look", "cause", "consequence", "check"):
            print(f"  {label + ':':<13}{getattr(defect, label)}")
    if knowledge.standards:
        print("\nStandards")
        print(*(f"  - {text}" for text in knowledge.standards), sep="\n")
    return 0


def _search(args: argparse.Namespace) -> int:
    from reason_iad.knowledge.retrieve import KnowledgeBase

    hits = KnowledgeBase.load(args.folder).search(args.query, args.category, args.top_k)
    if args.json:
        return _print_json([dataclasses.asdict(hit) for hit in hits])
    for number, hit in enumerate(hits, 1):
        words = f"words: rank {hit.bm25_rank}" if hit.bm25_rank else "words: none in common"
        meaning = f"meaning: rank {hit.dense_rank}, similarity {hit.similarity:.2f}"
        print(f"{number}. {hit.entry.id}  score {hit.score:.4f} ({words}; {meaning})")
        print(f"   {hit.entry.text}\n   source: {hit.entry.source}")
    return 0


def _check(args: argparse.Namespace) -> int:
    """Check every file by itself, then, for a folder, that no name leads to two categories."""
    from reason_iad.errors import KnowledgeError
    from reason_iad.knowledge.entries import STARTER_FOLDER, find_files, load_categories

    targets: list[Path] = args.files or [args.folder or STARTER_FOLDER]
    checked = 0
    findings: list[dict[str, str]] = []
    for target in targets:
        paths = find_files(target) if target.is_dir() else [target]
        found = [finding for path in paths for finding in _check_file(path)]
        checked += len(paths)
        if target.is_dir() and not any(finding["kind"] == "error" for finding in found):
            try:
                load_categories(target)
            except KnowledgeError as error:
                found.append({"file": str(target), "kind": "error", "message": str(error)})
        findings += found
    if args.json:
        _print_json({"files": checked, "findings": findings})
    else:
        for finding in findings:
            print(finding["message"])
        print(f"{checked} files checked, {len(findings)} findings")
    return 2 if findings else 0


def _check_file(path: Path) -> list[dict[str, str]]:
    from reason_iad.errors import KnowledgeError
    from reason_iad.knowledge.commands import find_instructions
    from reason_iad.knowledge.entries import load_file

    try:
        knowledge = load_file(path)
    except KnowledgeError as error:
        return [{"file": str(path), "kind": "error", "message": str(error)}]
    texts = [("name", knowledge.name), ("source", knowledge.source)]
    texts += [("aliases", alias) for alias in knowledge.aliases]
    texts += [(entry.id, entry.text) for entry in knowledge.entries()]
    findings = []
    for where, text in texts:
        if phrases := find_instructions(text):
            quoted = ", ".join(repr(phrase) for phrase in phrases)
            message = f"{path}: {where} reads like an order to the model: found {quoted}; describe the product instead"
            findings.append({"file": str(path), "kind": "instruction", "message": message})
    return findings


def _print_json(value: Any) -> int:
    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0
