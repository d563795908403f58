"""What the server says when it does not do what was asked: a status, a short code for programs, words for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reason_iad.languages import told

if TYPE_CHECKING:
    from reason_iad.types import InspectionRequest


@dataclass(frozen=True)
class Upload:
    """An image that was sent and cannot be inspected."""

    name: str
    sha256: str  # of what was sent
    asked: InspectionRequest | None = None


class HttpProblem(Exception):  # noqa: N818 - it is an answer, not a fault
    """Ends a request with an error in the one shape that all errors have."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        """Hold the answer.

        Args:
            status: of HTTP, 400 to 599.
            code: stable, for programs, such as "queue_full".
            message: found, expected, what to do.
            retry_after: seconds after which to try again.
        """
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after
        self.upload: Upload | None = None  # where it is about an image that came

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to the answer."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        return found

    def body(self, request_id: str) -> dict[str, dict[str, str]]:
        """The JSON of the answer."""
        return error_body(self.code, self.message, request_id)


def error_body(code: str, message: str, request_id: str) -> dict[str, dict[str, str]]:
    """The one shape of every error."""
    return {"error": {"code": code, "message": told(message), "request_id": request_id}}
