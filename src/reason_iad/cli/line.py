"""`reason-iad line`: run a production line, try what it needs, look at drift alarms, learn what an alarm proposes."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from reason_iad.errors import InputError
from reason_iad.languages import _, localized, note, number, say, told

if TYPE_CHECKING:
    from reason_iad.line.settings import LineSettings
    from reason_iad.store.store import Store

_EPILOG = """\
docs/line.md shows a line file. `line check` tries camera, broker and all else, and says what is wrong.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `line`."""
    parser = subparsers.add_parser(
        "line",
        help="inspect parts at a production line: cameras in, decisions out",
        description="Inspect parts at a production line: a camera, a trigger, and sinks that are told of each part.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="line_command", metavar="COMMAND", required=True)
    run = commands.add_parser("run", help="run a line until it is stopped")
    run.add_argument("file", type=Path, metavar="LINE.toml")
    run.set_defaults(run=_run)
    check = commands.add_parser("check", help="try everything that a line needs")
    check.add_argument("file", type=Path, metavar="LINE.toml")
    check.set_defaults(run=_check)
    alarms = commands.add_parser("alarms", help="list drift alarms, or acknowledge one")
    alarms.add_argument("file", type=Path, metavar="LINE.toml")
    alarms.add_argument("--acknowledge", metavar="ID", help="say that you have seen it; the test begins anew")
    alarms.set_defaults(run=_alarms)
    adopt = commands.add_parser("adopt", help="learn a new profile version from the parts that an alarm names")
    adopt.add_argument("alarm", metavar="ID", help="of the alarm, or its beginning")
    adopt.add_argument("file", type=Path, metavar="LINE.toml")
    adopt.set_defaults(run=_adopt)


def _run(args: argparse.Namespace) -> int:
    from reason_iad.line.parts import FACTORY
    from reason_iad.line.settings import read_line

    stop = threading.Event()
    before = [(number, signal.signal(number, lambda *_: stop.set())) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        run_line(read_line(args.file), stop, FACTORY)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    return 0


def run_line(settings: LineSettings, stop: threading.Event, factory: str) -> None:
    """Run a line until told to stop, or its source ends.

    Args:
        settings: of the line.
        stop: set to end it.
        factory: "module:function" that loads the inspector in the model process.

    Raises:
        InputError: something that it needs cannot be used, or another process runs this line.
    """
    import contextlib

    import filelock

    from reason_iad.line.clock import Clock
    from reason_iad.line.runner import LineRunner, make_pool
    from reason_iad.line.settings_sources import MqttTrigger
    from reason_iad.line.sinks import make_sink
    from reason_iad.line.sources import make_source
    from reason_iad.line.triggers import Called, make_trigger

    clock, name = Clock(), settings.line.name
    settings.record.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(settings.record.folder / f".line-{name}.lock", timeout=0))
        except filelock.Timeout:
            raise InputError(f"another process runs the line {name!r}; expected one: stop it, or rename this") from None
        store = open_record(settings)
        stack.callback(store.close)
        trigger = make_trigger(settings.trigger, settings.source, clock)
        pool = make_pool(settings, factory, note)
        stack.callback(pool.close)
        sinks = [make_sink(sink, settings.line) for sink in settings.sink]
        runner = LineRunner(settings, store, pool, make_source(settings.source, clock), trigger, sinks, clock, note)
        if settings.http is not None:
            from reason_iad.line.status import StatusServer

            server = StatusServer(settings.http, name, runner.state, trigger)
            server.start()
            stack.callback(server.stop)
        if isinstance(settings.trigger, MqttTrigger) and isinstance(trigger, Called):
            from reason_iad.line.listener import Listener

            listener = Listener(settings.trigger, name, trigger, note)
            listener.start()
            stack.callback(listener.stop)
        runner.run(stop)
        counts = ", ".join(
            f"{number(count)} {told(verdict.replace('_', ' '))}"
            for verdict, count in runner.telling.tally.parts.items()
        )
        dropped = number(runner.capture.slot.dropped)
        print(_("parts: {counts}; pictures dropped: {dropped}", counts=counts or _("none"), dropped=dropped))


def open_record(settings: LineSettings) -> Store:
    """The record that a line file names."""
    from reason_iad.store.store import Store

    return Store.open(settings.database_url, settings.record.folder / "evidence")


def _check(args: argparse.Namespace) -> int:
    from reason_iad.line.check import check_line
    from reason_iad.line.settings import read_line

    bad = 0
    for found in check_line(read_line(args.file)):
        bad += not found.good
        good = _("ok     ") if found.good else _("PROBLEM")
        print(f"{good} {told(found.what)}: {told(found.said)}", flush=True)
    return 2 if bad else 0


def _alarms(args: argparse.Namespace) -> int:
    from reason_iad.cli.recorder import user_name
    from reason_iad.line.settings import read_line

    settings = read_line(args.file)
    store = open_record(settings)
    try:
        if args.acknowledge is not None:
            alarm = store.lines.acknowledge(args.acknowledge, user_name())
            store.audit(user_name(), "", "acknowledge drift", alarm.id, "ok")
        for alarm in store.lines.alarms(settings.line.name):
            seen = _("acknowledged by {who}", who=alarm.acknowledged_by) if alarm.acknowledged_at else _("open")
            moves = [(one["quantity"], f"{one['shift']:+.1f}") for one in alarm.facts["shifts"][:3]]
            shifts = ", ".join(f"{told(quantity.replace('_', ' '))} {localized(shift)}" for quantity, shift in moves)
            moved = _("{quantity}: {shifts} spreads", quantity=told(alarm.quantity.replace("_", " ")), shifts=shifts)
            print(f"{alarm.id[:8]}  {alarm.raised_at:%Y-%m-%d %H:%M:%S} UTC  {moved}  {seen}")
    finally:
        store.close()
    return 0


def _adopt(args: argparse.Namespace) -> int:
    from reason_iad.cli.recorder import user_name
    from reason_iad.line.adopt import adopt
    from reason_iad.line.settings import read_line

    settings = read_line(args.file)
    store = open_record(settings)
    try:
        profile = adopt(store, settings, args.alarm, user_name(), note)
    finally:
        store.close()
    say(f"version {profile.version} of {profile.category!r} was learned from {len(profile.normals)} parts")
    return 0
