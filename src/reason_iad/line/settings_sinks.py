"""What a line file may say of sinks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from reason_iad.languages import translatable
from reason_iad.line.fields import Broker, Name, Port, Seconds, Secret, Strict, Url, is_loopback


class MqttSink(Broker):
    """Topics below `prefix`, as Sparkplug orders them."""

    kind: Literal["mqtt"]
    name: Name = "mqtt"
    prefix: Annotated[str, Field(pattern=r"^[^+#\s]{1,100}$")] = "reason-iad/v1"


class WebhookSink(Strict):
    """One signed request for each message."""

    kind: Literal["webhook"]
    name: Name = "webhook"
    url: Url
    secret: Secret
    timeout: Seconds = 5.0
    ca_file: Path | None = None


class OpcUaSink(Strict):
    """Nodes of an OPC UA server that this program runs."""

    kind: Literal["opcua"]
    name: Name = "opcua"
    host: str = "127.0.0.1"
    port: Port = 4840
    user: str | None = None
    password: Secret | None = None

    @model_validator(mode="after")
    def _guarded(self) -> OpcUaSink:
        if (self.password is None) != (self.user is None):
            raise ValueError(translatable("expected user and password together"))
        if self.user is None and not is_loopback(self.host):
            raise ValueError(translatable("an address that others reach needs user and password"))
        return self


class JsonlSink(Strict):
    """Lines of a file; the name may hold %Y, %m and %d of the day in UTC."""

    kind: Literal["jsonl"]
    name: Name = "jsonl"
    path: Path


AnySink = Annotated[MqttSink | WebhookSink | OpcUaSink | JsonlSink, Field(discriminator="kind")]
