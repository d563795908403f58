"""`reason-iad label`: name the odd areas of recorded inspections, those first that teach most; one key a name."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.cli.database import add_database
from reason_iad.errors import InputError
from reason_iad.languages import _, say, told
from reason_iad.words import counted

if TYPE_CHECKING:
    from reason_iad.naming.queue import Asked
    from reason_iad.store.labels import Labeled
    from reason_iad.store.store import Store

_KEYS = "123456789abcdefhijklmoprtvwxyz"  # g, n, q, s and u mean something else
_EPILOG = """\
keys:
  1, 2, ...  the type that stands beside the key     n  a type that has no key yet
  g          it is good: a false alarm               s  skip
  u          take the last name back                 q  stop

What is named counts at once. --picture writes the area in question to a file that a viewer can keep open.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `label`."""
    parser = subparsers.add_parser(
        "label",
        help="name defects, those first that teach most",
        description="Name the odd areas of recorded inspections, those first whose name would teach most.",
        epilog=_EPILOG,
    )
    parser.add_argument("category", metavar="CATEGORY", help="name of the product")
    parser.add_argument(
        "--data", type=Path, default=Path("reason-iad-data"), metavar="DIR", help="folder of the record"
    )
    add_database(parser)
    parser.add_argument("--list", action="store_true", help="say what would be asked, and why, and stop")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write images, names and areas for another tool")
    parser.add_argument("--format", choices=("coco", "label-studio"), default="coco", help="of --export")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="ask for at most N names (default: 20)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write each area in question to this JPEG")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, read_key: Callable[[], str] | None = None) -> int:
    """List, or ask until there is nothing left or the person stops; 0 when all is well."""
    from reason_iad.cli.records import open_record
    from reason_iad.store.labels import export_labels

    if args.limit < 1:
        raise InputError(f"the limit is {args.limit}; expected at least 1")
    store = open_record(args.data, args.database)
    try:
        if args.export is not None:
            images, areas = export_labels(store, args.category, args.export, args.format)
            say(f"{counted(images, 'image')} with {counted(areas, 'area')} in {args.export}")
            return 0
        if args.list:
            return _list(store, args.category, args.limit)
        return _ask(store, args, read_key or _read_key)
    finally:
        store.close()


def _list(store: Store, category: str, limit: int) -> int:
    from reason_iad.store.labels import queue_of

    found = queue_of(store, category, limit)
    for asked in found:
        print(_line(asked))
    if not found:
        say(f"no odd area of {category} waits for a name")
    return 0


def _ask(store: Store, args: argparse.Namespace, read_key: Callable[[], str]) -> int:
    from reason_iad.naming.store import load_examples
    from reason_iad.store.labels import label, queue_of, unlabel

    done: list[tuple[str, Labeled]] = []
    passed: set[tuple[str, int]] = set()
    while len(done) < args.limit:
        waiting = queue_of(store, args.category, args.limit + len(passed))
        asked = next((one for one in waiting if (one.area.inspection, one.area.index) not in passed), None)
        if asked is None:
            say(f"no odd area of {args.category} waits for a name")
            break
        types = list(load_examples(args.category).counts)
        _show(store, asked, types, args.picture)
        key = read_key()
        area = asked.area
        if key in ("q", ""):
            break
        if key == "u":
            _undo(store, done, unlabel)
        elif key == "g":
            store.add_feedback(area.inspection, "false_alarm", _who(), "it is good")
            passed.add((area.inspection, area.index))
            say("  kept: a false alarm; let the profile learn it with `reason-iad learn ... --add IMAGE --as normal`")
        elif key == "n" or (key in _KEYS and _KEYS.index(key) < len(types)):
            name = input(_("  type: ")) if key == "n" else types[_KEYS.index(key)]
            try:
                found = label(store, area.inspection, area.index, name, _who())
            except InputError as error:
                print(f"  {told(str(error))}")
                continue
            done.append((area.inspection, found))
            say(f"  {found.defect_type}; {counted(found.examples, 'example')} now")
        else:
            passed.add((area.inspection, area.index))
            say("  skipped")
    say(f"{counted(len(done), 'name')} given")
    return 0


def _undo(store: Store, done: list[tuple[str, Labeled]], unlabel: Callable[[Store, str, str, str], object]) -> None:
    if not done:
        say("  nothing to take back")
        return
    inspection, found = done.pop()
    unlabel(store, inspection, found.example, _who())
    say(f"  {found.defect_type} taken back")


def _show(store: Store, asked: Asked, types: list[str], picture: Path | None) -> None:
    print(_line(asked))
    keys = [f"{key} {name}" for key, name in zip(_KEYS, types, strict=False)]
    others = [_("n new type"), _("g good"), _("s skip"), _("u undo"), _("q stop")]
    print("  " + ", ".join([*keys, *others]), flush=True)
    if picture is not None:
        from reason_iad.files import write_whole
        from reason_iad.images import read_image
        from reason_iad.naming.describe import picture_of

        record = store.get(asked.area.inspection)
        if record is not None:
            image = read_image(store.files.get(record.files["image"]))
            write_whole(picture, picture_of(image.pixels, asked.area.box_xyxy), durable=False)


def _line(asked: Asked) -> str:
    from reason_iad.reporting.text import printable

    area = asked.area
    box = " ".join(map(str, area.box_xyxy))
    where = _("area {number} (box {box})", number=area.index + 1, box=box)
    return f"{printable(area.name)}, {where}: {printable('; '.join(map(told, asked.reasons)))}"


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a name for its user
        return "local"


def _read_key() -> str:
    """One key of the person, without return where there is a terminal; empty at the end of input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip().lower()[:1]
    try:
        import termios
        import tty
    except ImportError:  # not on Windows
        return input().strip().lower()[:1]
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        return sys.stdin.read(1).lower()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
