"""Tries everything that a line needs, and says of each what was found."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reason_iad.errors import InputError, ReasonIADError
from reason_iad.languages import translatable
from reason_iad.line.clock import Clock
from reason_iad.line.frames import SourceLostError
from reason_iad.line.motion import RestDetector, grid_of
from reason_iad.line.settings import LineSettings
from reason_iad.line.settings_sinks import AnySink
from reason_iad.line.settings_sources import MqttTrigger, RestTrigger
from reason_iad.line.sinks import make_sink
from reason_iad.line.sources import make_source, view_of
from reason_iad.line.triggers import make_trigger

LOOK_SECONDS = 2.0  # at the camera
MOST_FRAMES = 100


@dataclass(frozen=True)
class Found:
    """What one thing is like."""

    what: str
    good: bool
    said: str


def check_line(settings: LineSettings) -> Iterator[Found]:
    """Try profile, record, source, trigger, sinks and status, one after the other; none stops the others."""
    steps: list[tuple[str, Callable[[], str]]] = [
        (translatable("profile"), lambda: _profile(settings)),
        (translatable("record"), lambda: _record(settings)),
        (translatable("source"), lambda: _source(settings)),
        (translatable("trigger"), lambda: _trigger(settings)),
    ]
    steps += [(translatable(f"sink {sink.name}"), functools.partial(_sink, settings, sink)) for sink in settings.sink]
    if settings.http is not None:
        steps.append(("http", lambda: _http(settings)))
    for what, step in steps:
        try:
            yield Found(what, True, step())
        except ReasonIADError as error:
            yield Found(what, False, str(error))


def _profile(settings: LineSettings) -> str:
    from reason_iad.evidence.profile import load_profile
    from reason_iad.line.watch import FEWEST

    profile = load_profile(settings.line.category)
    count = len(profile.normals)
    if settings.drift.on and count < FEWEST:
        raise InputError(f"the profile knows {count} good parts; expected {FEWEST} to see drift: learn it from more")
    return translatable(f"{settings.line.category}, version {profile.version}, {count} good parts")


def _record(settings: LineSettings) -> str:
    from reason_iad.store.store import Store

    store = Store.open(settings.database_url, settings.record.folder / "evidence")
    try:
        waiting = sum(states.get("waiting", 0) for states in store.outbox.counts(settings.line.name).values())
    finally:
        store.close()
    return translatable(f"{settings.record.folder} can be used; {waiting:,} messages wait")


def _source(settings: LineSettings) -> str:
    """Look at the camera for two seconds; of a folder, only whether it is there."""
    clock = Clock()
    source, view = make_source(settings.source, clock), view_of(settings.source)
    try:
        source.open()
        if settings.source.kind == "folder":
            return translatable(f"{settings.source.path} is there")
        began, frames, detector = time.monotonic(), 0, RestDetector(1.0, 255.0, 254.0)
        while time.monotonic() - began < LOOK_SECONDS and frames < MOST_FRAMES:
            frame = source.read()
            if frame is None:
                break
            seen = view.of(frame)
            frames += 1
            detector.see(grid_of(seen.pixels), seen.seconds)
        if not frames:
            raise SourceLostError("no picture came; expected some")
    finally:
        source.close()
    height, width = seen.pixels.shape[:2]
    said = f"{frames} pictures of {width} x {height} pixels; they change by {detector.usual_change:.1f} gray levels"
    if isinstance(settings.trigger, RestTrigger) and detector.usual_change > settings.trigger.still:
        raise InputError(
            f"{said}, and nothing counts as still above {settings.trigger.still:g}: if nothing moved just now, raise "
            "trigger.still"
        )
    return translatable(said)


def _trigger(settings: LineSettings) -> str:
    make_trigger(settings.trigger, settings.source, Clock())
    if isinstance(settings.trigger, MqttTrigger):
        from reason_iad.line.mqtt import connect

        client = connect(settings.trigger, f"reason-iad-check-{settings.line.name}-trigger")
        client.disconnect()
        client.loop_stop()
        return translatable(f"{settings.trigger.host}:{settings.trigger.port} accepts the connection")
    return settings.trigger.kind


def _sink(settings: LineSettings, wanted: AnySink) -> str:
    sink = make_sink(wanted, settings.line)
    try:
        return sink.check()
    finally:
        sink.close()


def _http(settings: LineSettings) -> str:
    from reason_iad.line.status import StatusServer

    assert settings.http is not None
    StatusServer(settings.http, settings.line.name, dict).release()
    return translatable(f"{settings.http.host}:{settings.http.port} is free")
