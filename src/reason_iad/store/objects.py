"""Files of evidence in an object store that speaks S3, for servers without a common disk.

    s3://bucket/prefix?endpoint=https://host:9000&region=eu-central-1&credentials=/run/secrets/s3

Keys come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or the role of the machine), or from a file as
AWS's own tools write it; never from the address. An endpoint with https is spoken to by TLS, checked against the
system's authorities, or against those in the file that `root_certificate=FILE` names.
"""

from __future__ import annotations

import configparser
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from reason_iad.errors import InputError, RecordUnavailableError
from reason_iad.files import sha256
from reason_iad.store.files import CLOCK, IDENTITY, checked_bytes, checked_digest

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Store

T = TypeVar("T")
OPTIONS = ("endpoint", "region", "credentials", "root_certificate", "virtual_hosted")
YOUNG_SECONDS = 20.0  # for which a file that was just kept is not sent again; less than the grace of a clean-up
MAX_YOUNG = 4096
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


class ObjectFiles:
    """A bucket, or a part of it, as `EvidenceFiles` describes."""

    def __init__(self, store: S3Store, place: str) -> None:
        """Keep files in a store of obstore that is at `place`."""
        self._store, self._place = store, place
        self._young: OrderedDict[str, float] = OrderedDict()  # when this process kept a file, by its own stopwatch

    @classmethod
    def open(cls, address: str) -> ObjectFiles:
        """The files at an address; nothing is asked of the store yet.

        Raises:
            InputError: the address cannot be used, or the library is not installed.
        """
        parts = urlsplit(address)
        if parts.scheme != "s3" or not parts.netloc:
            raise InputError(
                f"evidence at {parts.scheme}://{parts.hostname or ''} is not known; expected a folder, or "
                "s3://bucket/prefix?endpoint=https://host"
            )
        if parts.username or parts.password:
            raise InputError(
                "the address of the evidence holds keys; expected them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or in a file: s3://bucket?credentials=FILE"
            )
        asked = dict(parse_qsl(parts.query))
        if unknown := sorted(set(asked) - set(OPTIONS)):
            raise InputError(f"the address of the evidence says {unknown[0]!r}; expected one of {', '.join(OPTIONS)}")
        try:
            from obstore.store import S3Store
        except ImportError as error:
            raise InputError("the library for object stores is missing: pip install 'reason-iad[s3]'") from error
        endpoint = asked.get("endpoint", "")
        settings: dict[str, Any] = {"region": asked.get("region", "us-east-1")}
        settings |= {"endpoint": endpoint} if endpoint else {}
        settings |= {"virtual_hosted_style_request": asked.get("virtual_hosted", "") == "true"}
        settings |= _read_keys(Path(asked["credentials"])) if "credentials" in asked else {}
        client: ClientConfig = {
            "connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=30),
            "allow_http": endpoint.startswith("http://"),
        }  # fmt: skip
        if "root_certificate" in asked:
            client["root_certificate"] = _read(Path(asked["root_certificate"]), "certificates")
        store = S3Store(
            parts.netloc, prefix=parts.path.strip("/") or None, **settings, client_options=client,
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
        )  # fmt: skip
        return cls(store, f"s3://{parts.netloc}{parts.path}" + (f" at {endpoint}" if endpoint else ""))

    @property
    def place(self) -> str:
        """Bucket, prefix and endpoint."""
        return self._place

    def put(self, data: bytes) -> str:
        """Keep `data`; what is there already is sent again, so that a clean-up at this moment leaves it alone."""
        digest = sha256(data)
        if time.monotonic() - self._young.get(digest, float("-inf")) > YOUNG_SECONDS:
            self._ask(lambda: self._store.put(_key(digest), data))
            self._young[digest] = time.monotonic()
            while len(self._young) > MAX_YOUNG:
                self._young.popitem(last=False)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes kept under `digest`, checked."""
        try:
            data = self._ask(lambda: bytes(self._store.get(_key(checked_digest(digest))).bytes()))
        except FileNotFoundError as error:
            raise InputError(f"the evidence file {digest} is missing; it may have been removed by hand") from error
        return checked_bytes(digest, data)

    def remove(self, digest: str, before: float = float("inf")) -> int:
        """Forget an old file."""
        key = _key(checked_digest(digest))
        try:
            found = self._ask(lambda: self._store.head(key))
            if found["last_modified"].timestamp() >= before:
                return 0
            self._ask(lambda: self._store.delete(key))
        except FileNotFoundError:
            return 0
        return int(found["size"])

    def digests(self) -> Iterator[str]:
        """Every digest in the bucket."""
        pages = self._ask(lambda: iter(self._store.list()))
        while (page := self._ask(lambda: next(pages, None))) is not None:
            names = [str(one["path"]).rsplit("/", 1)[-1] for one in page]
            yield from (name for name in names if len(name) == 64 and set(name) <= set("0123456789abcdef"))

    def now(self) -> float:
        """The time by the clock of the store."""
        self._ask(lambda: self._store.put(CLOCK, b"now"))
        return float(self._ask(lambda: self._store.head(CLOCK))["last_modified"].timestamp())

    def ping(self) -> None:
        """Check that the store answers."""
        self.identity()

    def identity(self) -> str | None:
        """Id of the record whose files these are."""
        try:
            return self._ask(lambda: bytes(self._store.get(IDENTITY).bytes())).decode() or None
        except FileNotFoundError:
            return None

    def identify(self, record: str) -> None:
        """Note whose files these are."""
        self._ask(lambda: self._store.put(IDENTITY, record.encode()))

    def _ask(self, call: Callable[[], T]) -> T:
        """Ask the store; only that something is not there is told as it is.

        Raises:
            FileNotFoundError: it is not there.
            RecordUnavailableError: the store does not answer, or refuses.
        """
        from obstore.exceptions import BaseError

        try:
            return call()
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise RecordUnavailableError(
                f"{self._place} does not take or give evidence files now ({_reason(error)}); check its address, its "
                "keys and that it runs"
            ) from error


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _reason(error: Exception) -> str:
    """What kind of trouble it is: the whole text may hold requests with their keys."""
    name = type(error).__name__.removesuffix("Error")
    return {"Unauthenticated": "the keys are not known", "PermissionDenied": "the keys may not do that"}.get(
        name, "no answer, or an error of the store"
    )


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the file of {what} {path} cannot be read ({type(error).__name__}); expected it there"
        ) from None


def _read_keys(path: Path) -> dict[str, str]:
    """Keys from a file like ~/.aws/credentials.

    Raises:
        InputError: it cannot be read, or holds none.
    """
    parser = configparser.ConfigParser()
    try:
        parser.read_string(_read(path, "keys"))
    except configparser.Error as error:
        raise InputError(
            f"the file of keys {path} cannot be read ({type(error).__name__}); expected [default] with "
            "aws_access_key_id and aws_secret_access_key"
        ) from None  # the text of the error may quote a key
    found = dict(parser.items("default")) if parser.has_section("default") else {}
    if not all(name in found for name in _KEYS[:2]):
        raise InputError(f"the file {path} holds no keys; expected {_KEYS[0]} and {_KEYS[1]} under [default]")
    return {name.removeprefix("aws_"): found[name] for name in _KEYS if name in found}
