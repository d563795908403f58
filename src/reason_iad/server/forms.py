"""Multipart forms as clients send them, with the names of files also in the form `filename*=UTF-8''...`.

RFC 7578 forbids that form, .NET and some line controllers send it all the same, and the parser would take such a file
for a field of text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from reason_iad.server.problems import HttpProblem

if TYPE_CHECKING:
    from starlette.datastructures import FormData

MAX_FIELDS, MAX_TEXT = 256, 16_384  # fields of text, and bytes of each
MANY_FILES = 1_000  # that are read before a form is refused for having too many
_EXTENDED = re.compile(r";\s*filename\*\s*=\s*\"?([\w.:-]*)'[^']*'([^;\"]*)\"?", re.IGNORECASE)


class _Parser(MultiPartParser):
    """The parser of starlette, which knows `filename` alone."""

    def on_headers_finished(self) -> None:
        """Put a name in the extended form into the plain one before the headers are looked at."""
        part = self._current_part
        part.content_disposition = with_plain_name(part.content_disposition)
        super().on_headers_finished()


def with_plain_name(disposition: bytes | None) -> bytes | None:
    r"""A Content-Disposition whose extended name of a file stands in the plain form, in UTF-8.

    >>> with_plain_name(b"form-data; name=\"image\"; filename*=UTF-8''teil%20%C3%A4.png").decode()
    'form-data; name="image"; filename="teil ä.png"'
    """
    text = (disposition or b"").decode("latin-1")
    found = _EXTENDED.search(text)
    if found is None:
        return disposition
    data = unquote_to_bytes(found[2].strip())
    try:
        name = data.decode(found[1] or "utf-8")
    except (UnicodeDecodeError, LookupError):
        name = data.decode("utf-8", "replace")
    plain = re.sub(r'[\r\n"\\]', "_", name).encode("utf-8", "replace").decode("latin-1")
    kept = re.sub(r';\s*filename\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', "", _EXTENDED.sub("", text), flags=re.IGNORECASE)
    return f'{kept}; filename="{plain}"'.encode("latin-1")


async def read_form(request: Request) -> FormData:
    """Read a form; the caller closes it.

    Raises:
        HttpProblem: 400 where it is no form, 422 where it holds more than any request may.
    """
    parser = _Parser(
        request.headers, request.stream(), max_files=MANY_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_TEXT
    )  # fmt: skip
    try:
        form = await parser.parse()
    except (MultiPartException, HTTPException) as error:
        message = str(getattr(error, "message", "") or getattr(error, "detail", "") or error)
        if message.startswith(("Too many", "Part exceeded")):
            raise HttpProblem(422, "too_much", f"the form holds too much: {message}") from error
        raise HttpProblem(400, "bad_form", f"the form cannot be read: {message}") from error
    except (ValueError, LookupError, UnicodeError) as error:
        raise HttpProblem(400, "bad_form", f"the form cannot be read: {error}") from error
    kept = {id(part.file) for _, part in form.multi_items() if isinstance(part, UploadFile)}
    for file in parser._files_to_close_on_error:
        if id(file) not in kept:  # of a part that was cut off
            file.close()
    return form
