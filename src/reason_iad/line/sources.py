"""Which source a line file names."""

from __future__ import annotations

from reason_iad.line.clock import Clock
from reason_iad.line.frames import Source, View
from reason_iad.line.settings_sources import (
    AnySource,
    FileSource,
    FolderSource,
    GenicamSource,
    SnapshotSource,
    StreamSource,
    UsbSource,
)


def make_source(settings: AnySource, clock: Clock) -> Source:
    """The source that settings describe; nothing is opened yet."""
    if isinstance(settings, SnapshotSource):
        from reason_iad.line.snapshot import Snapshot

        return Snapshot(settings, clock)
    if isinstance(settings, FolderSource):
        from reason_iad.line.folder import Folder

        return Folder(settings, clock)
    if isinstance(settings, GenicamSource):
        from reason_iad.line.genicam import Genicam

        return Genicam(settings, clock)
    from reason_iad.line.stream import FileStream, NetworkStream, UsbStream

    if isinstance(settings, FileSource):
        return FileStream(settings, clock)
    if isinstance(settings, UsbSource):
        return UsbStream(settings, clock)
    assert isinstance(settings, StreamSource)
    return NetworkStream(settings, clock)


def view_of(settings: AnySource) -> View:
    """What of its pictures is looked at."""
    return View(settings.region, settings.rotate)
