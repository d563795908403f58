"""Messages as nodes of an OPC UA server that this program runs, for controllers that read or subscribe.

    Objects/ReasonIAD/LINE   Online, Sequence, MessageId, Verdict, Probability, AnomalyScore, DefectType, Part, TakenAt,
                             Normal, Defective, Uncertain, NotInspected, Camera, Drift, Message (all of it, JSON)

`Message` is written last: whoever subscribes to it, with room in its queue, gets every message while it is connected.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from typing import Any

from reason_iad.errors import InputError
from reason_iad.languages import translatable
from reason_iad.line.settings import LineName
from reason_iad.line.settings_sinks import OpcUaSink
from reason_iad.line.sinks import SinkDownError
from reason_iad.store.outbox import Waiting

NAMESPACE = "urn:reason-iad:line"
MISSING = "asyncua is not installed; expected it for OPC UA: pip install 'reason-iad[line]'"
START: dict[str, Any] = {
    "Online": True, "Sequence": 0, "MessageId": "", "Verdict": "", "Probability": 0.0, "AnomalyScore": 0.0,
    "DefectType": "", "Part": "", "TakenAt": "", "Normal": 0, "Defective": 0, "Uncertain": 0, "NotInspected": 0,
    "Camera": True, "Drift": False, "Message": "",
}  # fmt: skip
COUNTERS = {"normal": "Normal", "defective": "Defective", "uncertain": "Uncertain", None: "NotInspected"}
NODES_OF = {
    "drift_cleared": {"Drift": False}, "camera_lost": {"Camera": False}, "camera_back": {"Camera": True},
    "stopped": {"Online": False}, "started": {"Online": True},
}  # fmt: skip
SECONDS, START_SECONDS = 10.0, 90.0  # for the server to do what it is asked; its address space takes a while


class OpcUa:
    """A server in a thread of its own, begun with the first message; implements `Sink`."""

    def __init__(self, settings: OpcUaSink, line: LineName) -> None:
        self.name, self._settings, self._line = settings.name, settings, line
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Any = None
        self._nodes: dict[str, Any] = {}
        self._values = dict(START)

    @property
    def address(self) -> str:
        """Where clients connect to."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return f"opc.tcp://{host}:{self._settings.port}/reason-iad/"

    def begin(self) -> None:
        """Begin to serve; see `Sink`."""
        self._open()

    def send(self, message: Waiting) -> None:
        """Write a message into the nodes; see `Sink`."""
        self._open()
        self._run(self._write(values_of(message, self._values)))

    def check(self) -> str:
        """Begin the server; see `Sink`."""
        self._open()
        return translatable(f"{self.address} can be served")

    def close(self) -> None:
        """Say that the line is gone, and end the server; see `Sink`."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._server.stop(), loop).result(SECONDS)
        except Exception as error:
            raise SinkDownError(f"{self.address} does not end ({type(error).__name__})") from error
        finally:
            loop.call_soon_threadsafe(loop.stop)

    def _open(self) -> None:
        if self._loop is not None:
            return
        try:
            import asyncua  # noqa: F401
        except ImportError as error:
            raise InputError(MISSING) from error
        loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(loop,), name="opcua", daemon=True).start()
        self._loop = loop
        try:
            self._run(self._begin(), START_SECONDS)
        except SinkDownError:
            self._loop = None
            loop.call_soon_threadsafe(loop.stop)
            raise

    def _run(self, work: Coroutine[Any, Any, None], seconds: float = SECONDS) -> None:
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)
        except InputError:
            raise
        except Exception as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise SinkDownError(f"{self.address} cannot be served ({why}); messages wait") from error

    async def _begin(self) -> None:
        import asyncua

        ua: Any = asyncua.ua

        user = self._settings.user
        password = "" if self._settings.password is None else self._settings.password.read()
        make: Any = vars(asyncua)["Server"]  # which the package does not declare as its own
        server = make(user_manager=None if user is None else _OneUser(user, password))
        await server.init()
        server.set_endpoint(self.address)
        server.set_server_name("Reason-IAD")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        server.set_identity_tokens([ua.AnonymousIdentityToken if user is None else ua.UserNameIdentityToken])
        space = await server.register_namespace(NAMESPACE)
        top = await server.nodes.objects.add_object(space, "ReasonIAD")
        place = await top.add_object(ua.NodeId(self._line.name, space), self._line.name)
        for name, value in START.items():
            identifier = ua.NodeId(f"{self._line.name}.{name}", space)
            kind = ua.VariantType.Int64 if type(value) is int else None
            self._nodes[name] = await place.add_variable(identifier, name, value, kind)
        await server.start()
        self._server = server

    async def _write(self, changed: dict[str, Any]) -> None:
        import asyncua

        ua: Any = asyncua.ua

        for name in sorted(changed, key=lambda one: one == "Message"):  # last
            value = changed[name]
            kind = ua.VariantType.Int64 if type(value) is int else None
            await self._nodes[name].write_value(value, kind)
        self._values |= changed


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Be the thread of a server, until its loop is stopped."""
    loop.run_forever()
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


class _OneUser:
    """Lets one user read; implements asyncua's user manager."""

    def __init__(self, name: str, password: str) -> None:
        self._name, self._password = name, password

    def get_user(self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        """The user, or None for anybody else."""
        import hmac

        from asyncua.server.user_managers import User, UserRole

        same = hmac.compare_digest(str(username).encode() + b"\0" + str(password).encode(),
                                   f"{self._name}\0{self._password}".encode())  # fmt: skip
        return User(role=UserRole.User, name=self._name) if same else None


def values_of(message: Waiting, before: dict[str, Any]) -> dict[str, Any]:
    """Nodes that a message changes, and to what."""
    content = json.loads(message.payload)
    changed = {"Sequence": message.sequence, "MessageId": message.message_id, "Message": message.payload}
    if content["drift"] is not None:
        changed["Drift"] = True
    event = None if content["notice"] is None else content["notice"]["event"]
    if event in NODES_OF:
        changed |= NODES_OF[event]
    part = content["part"]
    if part is not None:
        counter = COUNTERS[part["verdict"]]
        changed |= {
            "Verdict": part["verdict"] or "not inspected", "Probability": part["probability"] or 0.0,
            "AnomalyScore": part["anomaly_score"] or 0.0, "DefectType": part["defect_type"] or "",
            "Part": part["part"] or "", "TakenAt": content["at"], counter: before[counter] + 1,
        }  # fmt: skip
    return changed
