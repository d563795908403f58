"""Messages as signed requests over HTTP, after the Standard Webhooks specification 1.0.

The receiver computes HMAC-SHA256 over `id.timestamp.body` with the shared secret and compares it, in base64, with what
follows `v1,` in the header webhook-signature; it refuses old timestamps and knows ids it has seen.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from reason_iad.languages import translatable
from reason_iad.line.settings_sinks import WebhookSink
from reason_iad.line.sinks import SinkDownError, SinkRefusedError
from reason_iad.store.outbox import Waiting

LATER = (401, 403, 404, 408, 421, 425, 429)  # answers that another time, or other settings, may change


class Webhook:
    """One request a message, in order; redirects are not followed."""

    def __init__(self, settings: WebhookSink) -> None:
        self.name, self._settings = settings.name, settings
        self._client: object | None = None
        self._secret = b""

    def begin(self) -> None:
        """Nothing takes long; see `Sink`."""

    def send(self, message: Waiting) -> None:
        """Post a message; see `Sink`."""
        self._post(message.message_id, message.payload.encode())

    def check(self) -> str:
        """Post an empty event of type ping; see `Sink`."""
        try:
            self._post("ping", b'{"kind":"ping"}')
        except SinkRefusedError as error:  # it is there and reads what comes; a ping is nothing it must want
            return translatable(f"{self._settings.url} is there ({error})")
        return translatable(f"{self._settings.url} takes messages")

    def close(self) -> None:
        """Let go; see `Sink`."""
        import httpx

        if isinstance(self._client, httpx.Client):
            self._client.close()
        self._client = None

    def _post(self, identifier: str, body: bytes) -> None:
        import httpx

        from reason_iad.line.snapshot import trusted

        wanted = self._settings
        if not isinstance(self._client, httpx.Client):
            self._secret = wanted.secret.read().encode()
            self._client = httpx.Client(timeout=wanted.timeout, verify=trusted(wanted.ca_file))
        now = str(int(time.time()))
        headers = {
            "content-type": "application/json", "webhook-id": identifier, "webhook-timestamp": now,
            "webhook-signature": signature(self._secret, identifier, now, body),
        }  # fmt: skip
        try:
            answer = self._client.post(wanted.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            why = "its certificate is not trusted" if "CERTIFICATE" in str(error) else type(error).__name__
            raise SinkDownError(f"{wanted.url} cannot be reached ({why}); messages wait") from None
        if answer.is_success:
            return
        if 400 <= answer.status_code < 500 and answer.status_code not in LATER:
            raise SinkRefusedError(f"{wanted.url} answers {answer.status_code}")
        raise SinkDownError(f"{wanted.url} answers {answer.status_code}; messages wait")


def signature(secret: bytes, identifier: str, timestamp: str, body: bytes) -> str:
    """What stands in the header webhook-signature."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
