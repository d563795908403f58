"""How a server runs, and who may use it."""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reason_iad.errors import InputError
from reason_iad.files import sha256, write_whole
from reason_iad.images import ImageLimits
from reason_iad.inspection.options import InspectorOptions

Role = Literal["viewer", "inspector", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "inspector", "admin")  # each may do what those before it may
MAX_WORKERS = 64
FACTORY = "reason_iad.server.job_handler:load_bundled"


@dataclass(frozen=True)
class Token:
    """A bearer token by its hash, with the name it acts under; the token itself is kept nowhere."""

    name: str
    role: Role
    sha256: str

    def matches(self, presented: str) -> bool:
        """Whether `presented` is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(self.sha256, sha256(presented))


@dataclass(frozen=True)
class Limits:
    """What one client may ask for."""

    max_bytes: int = 32 * 1024 * 1024  # of a request's body
    max_pixels: int = 50_000_000
    max_side: int = 12_000
    max_references: int = 8
    requests_per_minute: int = 600  # for each token, or address where tokens are off
    burst: int = 120
    body_seconds: float = 30.0  # for a request's body to arrive
    wait_seconds: float = 60.0  # longest wait for a result in one request
    inspection_seconds: float = 120.0  # an inspection that takes longer is stopped, and the model process restarted

    @property
    def image(self) -> ImageLimits:
        """Limits of one image."""
        return ImageLimits(max_pixels=self.max_pixels, max_bytes=self.max_bytes, max_side=self.max_side)


@dataclass(frozen=True)
class Settings:
    """Everything that a server is started with."""

    data: Path = Path("reason-iad-data")  # record and evidence
    database: str | None = None  # URL, or @FILE with one; SQLite inside `data` where None
    evidence: str | None = None  # folder or address of evidence files; where None, see `Store.open`
    host: str = "127.0.0.1"
    port: int = 8321
    tokens: tuple[Token, ...] = ()  # at the start
    token_source: Path | Literal["record"] | None = None  # where they are read again, so that a change holds soon
    queue_size: int = 16  # inspections that may wait
    workers: int = 1  # processes with a model each
    limits: Limits = field(default_factory=Limits)
    factory: str = FACTORY  # "module:function" that loads the inspector in the model process
    method: InspectorOptions = field(default_factory=InspectorOptions)  # handed to the factory
    stop_seconds: float = 30.0  # for what runs to end when the server is stopped
    lease_seconds: float = 20.0  # without a sign of life, after which another server takes an inspection over
    linger_seconds: float = 0.0  # between being told to stop and stopping: until no proxy sends requests any more
    mirror: bool = False  # keep profiles and knowledge of this machine as in the record, which servers share
    allowed_hosts: tuple[str, ...] = ()  # names that the server is reached by, besides its address
    traces: str | None = None  # address of a collector of OpenTelemetry

    def __post_init__(self) -> None:
        """Refuse settings that would be unsafe or meaningless.

        Raises:
            InputError: no tokens and an address that others can reach, or a queue without room.
        """
        if not self.guarded and not is_loopback(self.host):
            raise InputError(
                f"found no tokens and the address {self.host}; without tokens a server answers on this machine only: "
                "make one with `reason-iad records token NAME --role inspector --file tokens.json` and give "
                "--tokens tokens.json, or use --host 127.0.0.1"
            )
        if self.queue_size < 1:
            raise InputError(f"the queue has room for {self.queue_size}; expected at least 1")
        if not 1 <= self.workers <= MAX_WORKERS:
            raise InputError(f"found {self.workers} workers; expected 1 to {MAX_WORKERS} processes with a model each")
        if not 0 < self.port < 65536:
            raise InputError(f"the port is {self.port}; expected 1 to 65535")

    @property
    def guarded(self) -> bool:
        """Whether requests need a token."""
        return bool(self.tokens) or self.token_source is not None

    @property
    def database_url(self) -> str:
        """Where the record is."""
        return self.database or f"sqlite:///{self.data.absolute() / 'record.db'}"


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_tokens(path: Path) -> tuple[Token, ...]:
    """Read a file written by `add_token`.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        rows = json.loads(path.read_text("utf-8"))
        tokens = tuple(Token(str(r["name"]), _role(r["role"]), str(r["sha256"])) for r in rows)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist; make it with `reason-iad records token NAME --file {path}`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no token file ({error}); expected what `reason-iad records token` writes"
        ) from error
    if not tokens:
        raise InputError(f"{path} holds no token; add one with `reason-iad records token NAME --file {path}`")
    return tokens


def new_token(name: str, role: str) -> tuple[Token, str]:
    """A new token and what its owner presents, which is kept nowhere.

    Raises:
        InputError: the name is empty, or the role not known.
    """
    name = name.strip()
    if not name or len(name) > 100:
        raise InputError(f"the name {name!r} is empty or too long; expected one of up to 100 characters")
    secret = secrets.token_urlsafe(32)
    return Token(name, _role(role), sha256(secret)), secret


def add_token(path: Path, name: str, role: str) -> str:
    """Make a token, add its hash to a file that only its owner may read, and return it: it is shown this once.

    Raises:
        InputError: the name is taken or empty, or the role not known.
    """
    token, secret = new_token(name, role)
    kept = read_tokens(path) if path.exists() else ()
    if any(other.name == token.name for other in kept):
        raise InputError(f"the name {token.name!r} is taken; expected a new name of up to 100 characters")
    write_whole(path, json.dumps([vars(one) for one in (*kept, token)], indent=2) + "\n", mode=0o600)
    return secret


def _role(role: str) -> Role:
    if role not in ROLES:
        raise InputError(f"the role is {role!r}; expected one of {', '.join(ROLES)}")
    return role
