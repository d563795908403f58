"""Video files, cameras of the machine, and streams over the network, all read by FFmpeg through PyAV.

PyAV rather than OpenCV: it reports the time of each picture, lets a lost camera time out, and is the smaller of the two
(docs/choices.md has the measurements).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from reason_iad.errors import InputError
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, SourceLostError
from reason_iad.line.settings_sources import FileSource, StreamSource, UsbSource

MISSING = "PyAV is not installed; expected it for video: pip install 'reason-iad[line]'"


class Stream:
    """Anything that FFmpeg opens; implements `Source`."""

    live = True

    def __init__(self, clock: Clock, shown: str, timeout: float) -> None:
        """Describe a stream.

        Args:
            clock: of the line.
            shown: what messages call it, without credentials.
            timeout: seconds without a picture after which it is lost.
        """
        self._clock, self._shown, self._timeout = clock, shown, timeout
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())

    def address(self) -> tuple[str, str | None, dict[str, str]]:
        """What FFmpeg opens, by which of its readers, and with which options."""
        raise NotImplementedError

    def open(self) -> None:
        """Connect; see `Source`."""
        try:
            import av
        except ImportError as error:
            raise InputError(MISSING) from error
        url, reader, options = self.address()
        try:
            self._container = av.open(url, format=reader, options=options, timeout=(self._timeout, self._timeout))
            if not self._container.streams.video:
                raise InputError(f"{self._shown} holds no pictures; expected video")
            video = self._container.streams.video[0]
            video.thread_type = "SLICE" if self.live else "AUTO"  # threads by frame would delay each of them
            self._frames = self._container.decode(video)
        except InputError:
            self.close()
            raise
        except Exception as error:  # noqa: BLE001 - FFmpeg's errors are of many kinds
            self.close()
            raise self._lost(error) from None  # FFmpeg's own message holds the address with its credentials

    def read(self) -> Frame | None:
        """The next picture; see `Source`."""
        try:
            picture = next(self._frames, None)
            if picture is None:
                if self.live:
                    raise SourceLostError(f"{self._shown} ended")
                return None
            return self._frame(picture)
        except SourceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise self._lost(error) from None

    def close(self) -> None:
        """Let go; see `Source`."""
        container, self._container, self._frames = self._container, None, iter(())
        if container is not None:
            with contextlib.suppress(Exception):
                container.close()

    def _frame(self, picture: Any) -> Frame:
        return Frame(picture.to_ndarray(format="rgb24"), self._clock.now(), self._clock.seconds())

    def _lost(self, error: Exception) -> SourceLostError:
        import av

        unauthorized = getattr(av, "HTTPUnauthorizedError", ()), getattr(av, "HTTPForbiddenError", ())
        if isinstance(error, tuple(kind for kind in unauthorized if kind)):
            why = "it refuses the user or the password"
        elif isinstance(error, av.ExitError | TimeoutError):
            why = f"nothing came for {self._timeout:g} s"
        else:
            why = getattr(error, "strerror", None) or type(error).__name__
        return SourceLostError(f"{self._shown} cannot be read ({why}); expected pictures: check that it is there")


class FileStream(Stream):
    """A video file; at its own pace it is like a camera, and pictures that nobody takes are dropped."""

    def __init__(self, settings: FileSource, clock: Clock) -> None:
        super().__init__(clock, str(settings.path), 30.0)
        self._path = settings.path
        self.live = settings.pace == "real"
        self._ended = False
        self._began: float | None = None

    def address(self) -> tuple[str, str | None, dict[str, str]]:
        """The file."""
        if not self._path.is_file():
            raise InputError(f"{self._path} does not exist; expected a video file: check the path")
        return str(self._path), None, {}

    def read(self) -> Frame | None:
        """The next picture, at its time where the pace is real."""
        picture = next(self._frames, None)
        if picture is None:
            return None
        at = float(picture.time or 0.0)
        if self.live:
            if self._began is None:
                self._began = self._clock.seconds() - at
            ahead = self._began + at - self._clock.seconds()
            if ahead > 0:
                self._clock.sleep(ahead)
            return self._frame(picture)
        pixels = picture.to_ndarray(format="rgb24")
        return Frame(pixels, self._clock.now(), at)


class UsbStream(Stream):
    """A camera of the machine: V4L2 on Linux, DirectShow on Windows, AVFoundation on macOS."""

    def __init__(self, settings: UsbSource, clock: Clock) -> None:
        super().__init__(clock, settings.device, settings.timeout)
        self._settings = settings

    def address(self) -> tuple[str, str | None, dict[str, str]]:
        """The device, by the reader of this system."""
        wanted, options = self._settings, {}
        if wanted.size is not None:
            options["video_size"] = wanted.size
        if wanted.rate is not None:
            options["framerate"] = f"{wanted.rate:g}"
        reader = {"linux": "v4l2", "win32": "dshow"}.get(sys.platform, "avfoundation")
        if reader == "dshow":
            return f"video={wanted.device}", reader, options
        if reader == "v4l2" and not Path(wanted.device).exists():
            raise SourceLostError(f"{wanted.device} is not there; expected a camera: plug it in, or name another")
        if reader == "v4l2" and not os.access(wanted.device, os.R_OK | os.W_OK):
            raise InputError(f"{wanted.device} may not be read; expected to be in the group video")
        return wanted.device, reader, options


class NetworkStream(Stream):
    """A camera that sends by RTSP, or a stream over HTTP."""

    def __init__(self, settings: StreamSource, clock: Clock) -> None:
        super().__init__(clock, settings.url, settings.timeout)
        self._settings = settings

    def address(self) -> tuple[str, str | None, dict[str, str]]:
        """The address with its credentials, which no message repeats."""
        wanted, options = self._settings, {"fflags": "nobuffer"}
        parts = urlsplit(wanted.url)
        expected = ("rtsp", "rtsps") if wanted.kind == "rtsp" else ("http", "https")
        if parts.scheme not in expected:
            raise InputError(f"{wanted.url} begins with {parts.scheme}; expected {' or '.join(expected)}://")
        if wanted.kind == "rtsp":
            options["rtsp_transport"] = wanted.transport
        if wanted.user is None:
            return wanted.url, None, options
        secret = "" if wanted.password is None else f":{quote(wanted.password.read(), safe='')}"
        place = f"{quote(wanted.user, safe='')}{secret}@{parts.netloc}"
        return urlunsplit(parts._replace(netloc=place)), None, options
