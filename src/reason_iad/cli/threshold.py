"""`reason-iad threshold`: what other false-alarm rates would have meant over the record; set one, take it back."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.database import add_database
from reason_iad.errors import InputError
from reason_iad.languages import _, localized, number

if TYPE_CHECKING:
    from reason_iad.evidence.threshold import Threshold
    from reason_iad.inspection.what_if import Share, WhatIf

_EPILOG = """\
examples:
  reason-iad threshold hazelnut --data DIR             what each rate would have done with the parts of the record
  reason-iad threshold hazelnut --set 0.03 --why "too many stopped"
  reason-iad threshold hazelnut --back                 go back to the rate before

What was missed is known only of parts that people gave feedback on. A command's --max-overkill goes before what is set.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `threshold`."""
    parser = subparsers.add_parser(
        "threshold",
        help="try other false-alarm rates on the record, and set one",
        description="Say what other false-alarm rates would have stopped, missed and left open; set one for a profile.",
        epilog=_EPILOG,
    )
    parser.add_argument("category", metavar="CATEGORY", help="a category with a profile")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--set", type=float, metavar="X", dest="rate", help="share of good parts that may be stopped")
    change.add_argument("--back", action="store_true", help="take back what was set last")
    parser.add_argument("--who", metavar="NAME", help="who does it (default: the user of this machine)")
    parser.add_argument("--why", default="", metavar="TEXT", help="kept beside it")
    parser.add_argument(
        "--data", type=Path, default=Path("reason-iad-data"), metavar="DIR", help="folder of the record"
    )
    add_database(parser)
    parser.add_argument("--newer-than", metavar="AGE", help="parts of the record, such as 90d (default: all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Set, take back, or look; 0 when all is well."""
    import getpass

    from reason_iad.evidence.profile_store import find_profile, list_profiles
    from reason_iad.evidence.threshold import read_threshold, set_threshold, take_back

    folder, who = find_profile(args.category), args.who or getpass.getuser()
    if folder is None:
        known = ", ".join(list_profiles()) or "none"
        raise InputError(
            f"there is no profile of {args.category!r} (learned so far: {known}); learn it with `reason-iad learn`"
        )
    if args.rate is not None:
        print(_now(set_threshold(args.category, args.rate, who, args.why)))
    elif args.back:
        print(_now(take_back(args.category, who, args.why)))
    else:
        found = read_threshold(folder)
        print(_now(found))
        for choice in found.history:
            rate = "" if choice.max_overkill is None else localized(f"{choice.max_overkill:.2%}")
            did = _("set to {rate}", rate=rate) if rate else _("taken back")
            who = _("by {who}", who=choice.who)
            print(f"  {choice.at}  {did} {who}{f': {choice.why}' if choice.why else ''}")
        _look(args, found)
    return 0


def _now(threshold: Threshold) -> str:
    from reason_iad.inspection.options import USUAL_OVERKILL

    held = threshold.current
    if held is None:
        return _("false-alarm rate {rate}: the usual one, nothing was set", rate=localized(f"{USUAL_OVERKILL:.2%}"))
    rate = localized(f"{held.max_overkill:.2%}")
    return _("false-alarm rate {rate}: set by {who} on {day}", rate=rate, who=held.who, day=held.at[:10])


def _look(args: argparse.Namespace, threshold: Threshold) -> None:
    from reason_iad.cli.records import open_record, parse_age
    from reason_iad.evidence.profile_store import same_category
    from reason_iad.inspection.options import USUAL_OVERKILL
    from reason_iad.inspection.what_if import what_if
    from reason_iad.words import padded

    if args.database is None and not (args.data / "record.db").is_file():
        print(
            _(
                "no record at {path}: name its folder with --data to see what other rates would have meant",
                path=args.data,
            )
        )
        return
    since = None if args.newer_than is None else datetime.now(UTC) - parse_age(args.newer_than)
    store = open_record(args.data, args.database)
    try:
        names = [name for name in store.categories() if same_category(name, args.category)]
        parts = store.past_parts(names, since)
    finally:
        store.close()
    now = USUAL_OVERKILL if threshold.current is None else threshold.current.max_overkill
    print("\n" + _("{count} parts of the record, with the 95 % interval of each share", count=number(len(parts))))
    heads = (_("stopped"), _("uncertain"), _("missed, of known"), _("good ones stopped, of known"))
    rate = _("rate")
    print(f"  {padded(rate, 9)}{''.join(padded(head, 28) for head in heads)}".rstrip())
    for row in what_if(parts, now):
        print(_row(row, now))


def _row(row: WhatIf, now: float) -> str:
    from reason_iad.words import padded

    total = row.total
    shares = (total.stopped, total.uncertain, total.missed, total.false_alarms)
    cells = "".join(padded(_cell(one), 28) for one in shares)
    rate = localized(f"{row.max_overkill:>7.2%}")
    return f"{'>' if row.max_overkill == now else ' '} {rate}  {cells}".rstrip()


def _cell(share: Share) -> str:
    if not share.of:
        return _("nothing known")
    low, high = share.interval
    ends = localized(f"{low:.1%}-{high:.1%}")
    return _("{count} of {n}", count=number(share.count), n=number(share.of)) + f" ({ends})"
