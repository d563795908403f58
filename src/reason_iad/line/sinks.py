"""The form of a sink, and which there are."""

from __future__ import annotations

from typing import Protocol

from reason_iad.errors import ReasonIADError
from reason_iad.line.settings import LineName
from reason_iad.line.settings_sinks import AnySink, JsonlSink, MqttSink, OpcUaSink
from reason_iad.store.outbox import Waiting


class SinkDownError(ReasonIADError):
    """A sink that cannot take messages now; they wait."""


class SinkRefusedError(ReasonIADError):
    """A sink that is there and does not want this message."""


class Sink(Protocol):
    """Where messages go."""

    @property
    def name(self) -> str:
        """Of the sink, in its line."""

    def begin(self) -> None:
        """Do what takes long, before the first message: connect, or begin to serve.

        Raises:
            SinkDownError: it cannot be reached now; `send` tries again.
        """

    def send(self, message: Waiting) -> None:
        """Hand over one message; on return the sink has it.

        Raises:
            SinkDownError: it cannot take messages now.
            SinkRefusedError: it does not want this one.
            InputError: it never will take any: its settings cannot be used.
        """

    def check(self) -> str:
        """Try the connection without a message; says what was found.

        Raises:
            SinkDownError: it cannot be reached.
            InputError: its settings cannot be used.
        """

    def close(self) -> None:
        """Say goodbye."""


def make_sink(settings: AnySink, line: LineName) -> Sink:
    """The sink that settings describe; nothing is connected yet."""
    if isinstance(settings, MqttSink):
        from reason_iad.line.mqtt import Mqtt

        return Mqtt(settings, line)
    if isinstance(settings, OpcUaSink):
        from reason_iad.line.opcua import OpcUa

        return OpcUa(settings, line)
    if isinstance(settings, JsonlSink):
        from reason_iad.line.jsonl import Jsonl

        return Jsonl(settings)
    from reason_iad.line.webhook import Webhook

    return Webhook(settings)
