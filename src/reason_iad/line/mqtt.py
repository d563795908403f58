"""Messages by MQTT, under topics as Sparkplug orders them, with JSON for a payload.

    PREFIX/GROUP/DDATA/LINE/part     the last part, retained
    PREFIX/GROUP/DDATA/LINE/drift    the last alarm, retained
    PREFIX/GROUP/DDATA/LINE/notice   camera lost and back, started, stopped
    PREFIX/GROUP/STATE/LINE          {"online": true}, retained; the broker itself says false when the line is gone

All at quality of service 1. A message counts as delivered when the broker has acknowledged it.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

from reason_iad.errors import InputError
from reason_iad.languages import translatable
from reason_iad.line.settings import LineName
from reason_iad.line.settings_sinks import MqttSink
from reason_iad.line.settings_sources import MqttTrigger
from reason_iad.line.sinks import SinkDownError
from reason_iad.store.outbox import Waiting

if TYPE_CHECKING:
    from paho.mqtt.client import Client

MISSING = "paho-mqtt is not installed; expected it for MQTT: pip install 'reason-iad[line]'"


class Mqtt:
    """One connection, made when it is needed and anew after each failure."""

    def __init__(self, settings: MqttSink, line: LineName) -> None:
        self.name, self._settings, self._line = settings.name, settings, line
        self._base = f"{settings.prefix}/{line.group}"
        self._client: Client | None = None

    @property
    def state_topic(self) -> str:
        """Where it is told whether the line is there."""
        return f"{self._base}/STATE/{self._line.name}"

    def begin(self) -> None:
        """Connect; see `Sink`."""
        self._connected()

    def send(self, message: Waiting) -> None:
        """Publish a message and wait for its acknowledgment; see `Sink`."""
        topic = f"{self._base}/DDATA/{self._line.name}/{message.kind}"
        self._publish(self._connected(), topic, message.payload)

    def check(self) -> str:
        """Connect with the credentials and certificates; see `Sink`."""
        client = connect(self._settings, f"reason-iad-check-{self._line.name}")
        client.disconnect()
        client.loop_stop()
        return translatable(f"{self._settings.host}:{self._settings.port} accepts the connection")

    def close(self) -> None:
        """Say that the line is gone; see `Sink`."""
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(SinkDownError):
            self._publish(client, self.state_topic, _state(False))
        client.disconnect()
        client.loop_stop()

    def _connected(self) -> Client:
        if self._client is not None and self._client.is_connected():
            return self._client
        self._drop()
        gone = (self.state_topic, _state(False))
        client = connect(self._settings, f"reason-iad-{self._line.name}-{self.name}", gone)
        self._publish(client, self.state_topic, _state(True))
        self._client = client
        return client

    def _publish(self, client: Client, topic: str, payload: str) -> None:
        try:
            sent = client.publish(topic, payload.encode(), qos=1, retain=True)
            sent.wait_for_publish(self._settings.timeout)
            if sent.is_published():
                return
        except (RuntimeError, ValueError):
            pass
        self._drop()
        where = f"{self._settings.host}:{self._settings.port}"
        raise SinkDownError(f"{where} does not acknowledge messages; they wait")

    def _drop(self) -> None:
        """Forget a connection with everything that it may still try to send: the outbox sends it again."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()


def connect(settings: MqttSink | MqttTrigger, client_id: str, will: tuple[str, str] | None = None) -> Client:
    """A connection that the broker has accepted.

    Raises:
        SinkDownError: the broker cannot be reached, or refuses.
        InputError: certificates or credentials cannot be used.
    """
    try:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise InputError(MISSING) from error
    where = f"{settings.host}:{settings.port}"
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5, reconnect_on_failure=False)
    answered, refusal = threading.Event(), []

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            refusal.append(str(reason))
        answered.set()

    client.on_connect = on_connect
    client.connect_timeout = settings.timeout
    if settings.user is not None and settings.password is not None:
        client.username_pw_set(settings.user, settings.password.read())
    if settings.tls:
        _encrypt(client, settings)
    if will is not None:
        client.will_set(*will, qos=1, retain=True)
    try:
        client.connect(settings.host, settings.port, keepalive=30)
    except ssl.SSLCertVerificationError as error:
        raise SinkDownError(f"the certificate of {where} is not trusted ({error.verify_message})") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SinkDownError(f"the broker {where} cannot be reached ({why}); messages wait") from error
    client.loop_start()
    if not answered.wait(settings.timeout) or refusal:
        client.disconnect()
        client.loop_stop()
        why = refusal[0] if refusal else "no answer"
        raise SinkDownError(f"the broker {where} refuses the connection ({why}); check user and password")
    return client


def _encrypt(client: Client, settings: MqttSink | MqttTrigger) -> None:
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    named = ", ".join(str(file) for file in files if file is not None)
    try:
        authorities, certificate, key = (None if file is None else str(file) for file in files)
        client.tls_set(authorities, certificate, key)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise InputError(f"the certificates {named} cannot be used ({error}); expected PEM files") from error


def _state(online: bool) -> str:
    return json.dumps({"online": online, "timestamp": round(time.time() * 1000)})
