"""`reason-iad records`: list, show, export and prune the record of inspections, and make tokens for the server."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.database import add_database
from reason_iad.errors import InputError, RecordUnavailableError
from reason_iad.files import write_whole
from reason_iad.languages import _, say, told, translatable
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.store.record import Filter
    from reason_iad.store.store import Store

_ROW = "{:<32}  {:<20}  {:<10}  {:>5}  {:<20}  {}"
_AGE = re.compile(r"(\d{1,5})\s*(d|days?|w|weeks?|h|hours?)")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `records` and its actions."""
    parser = subparsers.add_parser("records", help="look into, export and prune the record of inspections")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data", type=Path, default=Path("reason-iad-data"), metavar="DIR", help="folder of the record"
    )
    add_database(common)
    select = argparse.ArgumentParser(add_help=False)
    select.add_argument("--verdict", choices=("normal", "defective", "uncertain"))
    select.add_argument("--state", choices=("queued", "running", "done", "failed"))
    select.add_argument("--category", metavar="C")
    select.add_argument("--feedback", choices=("false_alarm", "missed", "confirmed"))
    select.add_argument("--name", metavar="TEXT", help="part of the image's name")
    select.add_argument("--newer-than", metavar="AGE", help="such as 7d or 12h")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[common, select], help="list inspections, newest first")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show = actions.add_parser("show", parents=[common], help="show one inspection as JSON")
    show.add_argument("id", metavar="ID")
    export = actions.add_parser("export", parents=[common, select], help="write inspections into a ZIP archive")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="the archive, such as june.zip")
    export.add_argument("--no-files", action="store_true", help="leave out images and maps")
    pdf = actions.add_parser("pdf", parents=[common], help="write the report of one inspection as PDF")
    pdf.add_argument("id", metavar="ID")
    shift = actions.add_parser("shift", parents=[common], help="write the report of a shift as PDF")
    shift.add_argument("--hours", type=float, default=8.0, metavar="H", help="hours of it (default: 8)")
    shift.add_argument("--until", metavar="TIME", help="its end, such as 2026-11-28T14:00 (default: now)")
    shift.add_argument("--category", metavar="C", help="of one category")
    shift.add_argument("--line", metavar="NAME", help="of one line, by the name it acts under")
    for paper in (pdf, shift):
        paper.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file, such as shift.pdf")
        paper.add_argument("--paper", choices=("A4", "Letter"), default="A4", help="its format (default: A4)")
    prune = actions.add_parser("prune", parents=[common], help="delete old inspections and their files")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="such as 90d")
    prune.add_argument("--with-feedback", action="store_true", help="also those that people said something about")
    actions.add_parser("migrate", parents=[common], help="bring the database to this version")
    verify = actions.add_parser("verify", parents=[common], help="check that the audit log and the files are whole")
    verify.add_argument(
        "--head", metavar="LINES:HASH", help="what an earlier check printed: the log must hold it still"
    )
    verify.add_argument("--no-files", action="store_true", help="leave out the files of evidence, which are all read")
    token = actions.add_parser("token", parents=[common], help="make a token for the server; it is shown once")
    token.add_argument("name", metavar="NAME", help="who will act under it")
    token.add_argument("--role", default="inspector", choices=("viewer", "inspector", "admin"))
    token.add_argument("--file", type=Path, default=Path("tokens.json"), help="where its hash is kept")
    token.add_argument(
        "--in-record", action="store_true", help="keep it in the record instead, for `serve --tokens record`"
    )
    token.add_argument("--revoke", action="store_true", help="take a token of the record back instead")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run one action; 0 when all is well."""
    if args.action == "token" and not (args.in_record or args.revoke):
        from reason_iad.server.settings import add_token

        print(add_token(args.file, args.name, args.role))
        return 0
    store = open_record(args.data, args.database, make=args.action in ("migrate", "token"))
    try:
        actions = {
            "list": _list, "show": _show, "export": _export, "pdf": _pdf, "shift": _shift, "prune": _prune,
            "migrate": _migrate, "verify": _verify, "token": _token,
        }  # fmt: skip
        return actions[args.action](args, store)
    finally:
        store.close()


def parse_age(text: str) -> timedelta:
    """Read an age such as 7d, 2w or 12h.

    >>> parse_age("7d"), parse_age("12 hours")
    (datetime.timedelta(days=7), datetime.timedelta(seconds=43200))
    """
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise InputError(f"the age is {text!r}; expected a number with h, d or w, such as 90d")
    unit = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}[match[2][0]]
    return int(match[1]) * unit


def open_record(data: Path, database: str | None, make: bool = False) -> Store:
    """The record in a folder, or in a database; made where it is missing if `make` says so.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    from reason_iad.store.store import Store

    kept = data / "record.db"
    if database is None and not make and not kept.is_file():
        raise InputError(f"there is no record at {kept}; name its folder with --data, or its --database")
    return Store.open(database or f"sqlite:///{kept.absolute()}", data / "evidence")


def _filter(args: argparse.Namespace, limit: int = 50) -> Filter:
    from reason_iad.store.record import Filter

    since = None if args.newer_than is None else datetime.now(UTC) - parse_age(args.newer_than)
    return Filter(
        state=args.state, verdict=args.verdict, category=args.category, text=args.name, feedback=args.feedback,
        since=since, limit=limit,
    )  # fmt: skip


def _list(args: argparse.Namespace, store: Store) -> int:
    from reason_iad.reporting.text import printable
    from reason_iad.store.export import as_json

    if args.limit < 1:
        raise InputError(f"the limit is {args.limit}; expected at least 1")
    found = store.find(_filter(args, args.limit))
    if args.json:
        for record in found:
            print(as_json(record))
        return 0
    heads = ("id", _("when (UTC)"), _("verdict"), "p", _("category"), _("image"))
    print(_ROW.format(*heads).rstrip())
    for record in found:
        share = "" if record.probability is None else f"{record.probability:.2f}"
        when = f"{record.created_at:%Y-%m-%d %H:%M:%S}"
        verdict, name = told(record.verdict or record.state), printable(record.name)
        print(_ROW.format(record.id, when, verdict, share, record.category or "", name))
    return 0


def _show(args: argparse.Namespace, store: Store) -> int:
    import json

    from reason_iad.store.export import as_json

    record = store.get(args.id)
    if record is None:
        raise InputError(f"there is no inspection {args.id!r}; list them with `reason-iad records list`")
    print(json.dumps(json.loads(as_json(record)), indent=2, ensure_ascii=False))
    return 0


def _export(args: argparse.Namespace, store: Store) -> int:
    from reason_iad.store.export import export

    say(f"{counted(export(store, args.out, _filter(args), files=not args.no_files), 'inspection')} in {args.out}")
    return 0


def _pdf(args: argparse.Namespace, store: Store) -> int:
    from reason_iad.server.rendering import render_pdf

    record = store.get(args.id)
    if record is None or record.report is None:
        raise InputError(f"there is no finished inspection {args.id!r}; list them with `reason-iad records list`")
    write_whole(args.out, render_pdf(store, record, args.paper))
    print(args.out)
    return 0


def _shift(args: argparse.Namespace, store: Store) -> int:
    from reason_iad.reporting.pdf import shift_pdf
    from reason_iad.reporting.shift import read_shift
    from reason_iad.store.record import BoardFilter

    try:
        until = datetime.now().astimezone() if args.until is None else datetime.fromisoformat(args.until).astimezone()
    except ValueError as error:
        raise InputError(f"the end is {args.until!r}; expected a time such as 2026-11-28T14:00") from error
    if not 0 < args.hours <= 24 * 366:
        raise InputError(f"the shift has {args.hours:g} hours; expected more than 0 and at most a year")
    found = read_shift(store, BoardFilter(args.category, args.line), until - timedelta(hours=args.hours), until)
    write_whole(args.out, shift_pdf(found, args.paper))
    say(f"{counted(sum(found.counts.values()), 'part')} in {args.out}")
    return 0


def _prune(args: argparse.Namespace, store: Store) -> int:
    gone = store.prune(datetime.now(UTC) - parse_age(args.older_than), keep_feedback=not args.with_feedback)
    inspections, files = counted(gone.inspections, "inspection"), counted(gone.files, "file")
    say(f"{inspections} and {files} ({gone.num_bytes:,} bytes) deleted")
    return 0


def _migrate(args: argparse.Namespace, store: Store) -> int:
    from reason_iad.store.migrate import known

    say(f"the record is at revision {known()[0]}")
    return 0


def _verify(args: argparse.Namespace, store: Store) -> int:
    """Check the record; 1 where something does not fit."""
    found = store.trail.verify(args.head)
    say(f"audit log: {counted(found.lines, 'line')} fit; head {found.lines}:{found.head}")
    faults = [] if found.fault is None else [translatable(f"the audit log was changed: {found.fault}")]
    if not args.no_files:
        checked = 0
        for digest in store.named_files():
            checked += 1
            try:
                store.files.get(digest)
            except RecordUnavailableError:
                raise
            except InputError as error:
                faults.append(str(error))
        say(f"evidence: {counted(checked, 'file')} read from {store.files.place}")
    for fault in faults:
        print(told(fault))
    say("the record is whole" if not faults else f"{counted(len(faults), 'fault')} found")
    return 1 if faults else 0


def _token(args: argparse.Namespace, store: Store) -> int:
    from reason_iad.server.settings import new_token
    from reason_iad.store.tokens import KeptToken

    if args.revoke:
        store.tokens.revoke(args.name)
        say(f"the token of {args.name} holds no more")
        return 0
    token, secret = new_token(args.name, args.role)
    store.tokens.add(KeptToken(token.name, token.role, token.sha256))
    print(secret)
    return 0
