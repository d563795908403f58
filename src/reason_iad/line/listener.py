"""Triggers by MQTT: each message on a topic asks for a picture, and what it holds names the part."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reason_iad.errors import ReasonIADError
from reason_iad.line.capture import WAITS
from reason_iad.line.mqtt import connect
from reason_iad.line.settings_sources import MqttTrigger
from reason_iad.line.triggers import Called

if TYPE_CHECKING:
    from paho.mqtt.client import Client


class Listener(threading.Thread):
    """Listens to a broker, and connects again when it is lost."""

    def __init__(self, settings: MqttTrigger, line: str, trigger: Called, say: Callable[[str], None]) -> None:
        super().__init__(name="trigger", daemon=True)
        self._settings, self._line, self._trigger, self._say = settings, line, trigger, say
        self._halt = threading.Event()
        self.up = threading.Event()

    def run(self) -> None:
        """Listen until stopped."""
        failures = 0
        while not self._halt.is_set():
            client: Client | None = None
            try:
                client = self._listen()
                failures = 0
                self.up.set()
                while client.is_connected() and not self._halt.wait(0.2):
                    pass
                if not self._halt.is_set():
                    self._say("the broker of the trigger is lost; it is tried again")
            except ReasonIADError as error:
                if not failures:
                    self._say(f"trigger: {error}")
                self._halt.wait(WAITS[min(failures, len(WAITS) - 1)])
                failures += 1
            finally:
                self.up.clear()
                if client is not None:
                    client.disconnect()
                    client.loop_stop()

    def stop(self) -> None:
        """End listening."""
        self._halt.set()
        with contextlib.suppress(RuntimeError):  # it may never have begun
            self.join(5)

    def _listen(self) -> Client:
        client = connect(self._settings, f"reason-iad-{self._line}-trigger")

        def on_message(_client: Any, _data: Any, message: Any) -> None:
            if not message.retain:  # an old one asks for nothing now
                self._trigger.call(message.payload.decode("utf-8", "replace"))

        client.on_message = on_message
        client.subscribe(self._settings.topic, qos=1)
        return client
