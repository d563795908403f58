"""Cameras that give one picture for each request over HTTP."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reason_iad.errors import ImageError, InputError
from reason_iad.images import read_image
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, SourceLostError
from reason_iad.line.settings_sources import SnapshotSource

if TYPE_CHECKING:
    import httpx

MOST_BYTES = 64 * 1024 * 1024


class Snapshot:
    """Asks again and again; implements `Source`."""

    live = True

    def __init__(self, settings: SnapshotSource, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._client: httpx.Client | None = None
        self._next = 0.0

    def open(self) -> None:
        """Prepare to ask; see `Source`."""
        import httpx

        wanted = self._settings
        login = None
        if wanted.user is not None:
            login = httpx.BasicAuth(wanted.user, "" if wanted.password is None else wanted.password.read())
        self._client = httpx.Client(timeout=wanted.timeout, auth=login, verify=trusted(wanted.ca_file))

    def read(self) -> Frame | None:
        """Ask for the next picture when it is time; see `Source`."""
        import httpx

        wanted = self._settings
        assert self._client is not None
        if (wait := self._next - self._clock.seconds()) > 0:
            self._clock.sleep(wait)
        self._next = max(self._next + wanted.every, self._clock.seconds())
        try:
            with self._client.stream("GET", wanted.url) as answer:
                if answer.status_code in (401, 403):
                    raise SourceLostError(f"{wanted.url} refuses the user or the password ({answer.status_code})")
                if answer.status_code != 200:
                    raise SourceLostError(f"{wanted.url} answers {answer.status_code}; expected a picture")
                data = b""
                for piece in answer.iter_bytes():
                    data += piece
                    if len(data) > MOST_BYTES:
                        raise SourceLostError(f"{wanted.url} sends more than {MOST_BYTES:,} bytes; expected a picture")
            image = read_image(data, name="snapshot")
        except httpx.HTTPError as error:
            raise SourceLostError(f"{wanted.url} cannot be read ({type(error).__name__}); expected a picture") from None
        except ImageError as error:
            raise SourceLostError(f"{wanted.url}: {error}") from error
        return Frame(image.pixels, self._clock.now(), self._clock.seconds(), data=data)

    def close(self) -> None:
        """Let go; see `Source`."""
        if self._client is not None:
            self._client.close()
            self._client = None


def trusted(ca_file: Path | None) -> ssl.SSLContext | Literal[True]:
    """What decides whether a certificate is trusted: the system's authorities, or those of a file.

    Raises:
        InputError: the file cannot be used.
    """
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"the certificates {ca_file} cannot be used ({error}); expected a PEM file") from error
