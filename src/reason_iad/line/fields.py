"""What several parts of a line file share: strict models, credentials, addresses.

Credentials are named, never written: `password = {file = "secret.txt"}` or `{env = "LINE_PASSWORD"}`. They are read
when they are used and appear in no message.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from reason_iad.errors import InputError
from reason_iad.languages import translatable

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]{0,63}$")]


class Strict(BaseModel):
    """Nothing unknown, nothing changed afterwards, and no value in a message."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Secret(Strict):
    """Where a credential lies; `read` gives it."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                translatable("credentials are not written into the file: name their place as docs/line.md shows")
            )
        return value

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError(translatable("expected exactly one of file and env"))
        return self

    def read(self) -> str:
        """The credential.

        Raises:
            InputError: its file or variable is missing or empty.
        """
        try:
            text = self.file.read_text("utf-8").strip() if self.file is not None else os.environ.get(self.env or "", "")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "no text"
            raise InputError(f"the credential file {self.file} cannot be read ({why}); write it there") from error
        if not text:
            where = f"the file {self.file}" if self.file is not None else f"the environment variable {self.env}"
            raise InputError(f"{where} holds no credential; expected it there")
        return text


def _plain_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError(translatable("an address holds no credentials: give user and password beside it"))
    if not parts.hostname:
        raise ValueError(translatable("expected an address with a host, such as http://host/path"))
    return url


Url = Annotated[str, AfterValidator(_plain_url)]


class Broker(Strict):
    """Where an MQTT broker is, and how it is reached."""

    host: str
    port: Port = 1883
    tls: bool = False
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    user: str | None = None
    password: Secret | None = None
    timeout: Seconds = 5.0

    @model_validator(mode="after")
    def _both(self) -> Broker:
        if (self.ca_file or self.cert_file) and not self.tls:
            raise ValueError(translatable("found certificates and no tls; add tls = true"))
        if (self.password is None) != (self.user is None):
            raise ValueError(translatable("expected user and password together"))
        return self


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine alone.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
