"""Messages reach a real broker, a real receiver, a real OPC UA client and a file; each says what is wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from made_line import Broker, has_mosquitto, running_broker
from ports import free_port

from reason_iad.errors import InputError
from reason_iad.line.delivery import REFUSALS, Delivery
from reason_iad.line.fields import Secret
from reason_iad.line.jsonl import Jsonl
from reason_iad.line.message import LineMessage, not_inspected
from reason_iad.line.mqtt import Mqtt
from reason_iad.line.opcua import OpcUa
from reason_iad.line.settings import LineName
from reason_iad.line.settings_sinks import JsonlSink, MqttSink, OpcUaSink, WebhookSink
from reason_iad.line.sinks import SinkDownError, SinkRefusedError
from reason_iad.line.webhook import Webhook
from reason_iad.store.lines import new_id
from reason_iad.store.outbox import Draft, Waiting
from reason_iad.store.store import Store

LINE = LineName(name="press", category="plate")


def message(number: int = 1, verdict: Any = "defective", at: datetime | None = None) -> Waiting:
    part = not_inspected("plate", f"A-{number}", "planted").model_copy(
        update={"verdict": verdict, "probability": 0.97, "anomaly_score": 0.8, "error": None}
    )
    made = LineMessage(
        id=new_id(), line="press", group="plant", sequence=number, kind="part", at=at or datetime.now(UTC), part=part
    )
    return Waiting(number, made.id, number, "part", made.to_json(), 0)


def subscriber(port: int, topic: str, heard: list[Any], wanted: int) -> threading.Event:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    done, ready = threading.Event(), threading.Event()
    client = Client(CallbackAPIVersion.VERSION2)

    def on_message(_c: Any, _d: Any, one: Any) -> None:
        heard.append(one)
        if len(heard) >= wanted:
            done.set()
            client.disconnect()

    client.on_message = on_message
    client.on_connect = lambda c, *_: c.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert ready.wait(10)
    return done


def test_a_part_is_published_once_and_kept_by_the_broker(broker: Broker) -> None:
    sink = Mqtt(MqttSink(kind="mqtt", host="127.0.0.1", port=broker.port), LINE)
    first, second = message(1), message(2)
    heard: list[Any] = []
    done = subscriber(broker.port, "reason-iad/v1/plant/DDATA/press/part", heard, 2)
    sink.send(first)
    sink.send(second)
    assert done.wait(10)
    assert [one.payload.decode() for one in heard] == [first.payload, second.payload]
    late: list[Any] = []
    assert subscriber(broker.port, "reason-iad/v1/plant/#", late, 2).wait(10)
    kept = {one.topic: one.payload for one in late}
    assert kept["reason-iad/v1/plant/DDATA/press/part"].decode() == second.payload
    assert json.loads(kept["reason-iad/v1/plant/STATE/press"])["online"] is True
    sink.close()
    gone: list[Any] = []
    assert subscriber(broker.port, "reason-iad/v1/plant/STATE/press", gone, 1).wait(10)
    assert json.loads(gone[0].payload)["online"] is False


def test_a_broker_that_is_not_there_or_refuses_is_told_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_mosquitto():
        pytest.skip("no mosquitto; on Debian: apt-get install mosquitto")
    with pytest.raises(SinkDownError, match="cannot be reached"):
        Mqtt(MqttSink(kind="mqtt", host="127.0.0.1", port=free_port()), LINE).send(message())
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(tmp_path / "users"), "line", "right"], check=True)
    monkeypatch.setenv("BROKER", "hunter2")
    with running_broker(tmp_path, f"allow_anonymous false\npassword_file {tmp_path}/users") as broker:
        settings = MqttSink(
            kind="mqtt", host="127.0.0.1", port=broker.port, user="line", password=Secret(env="BROKER"), timeout=3
        )
        with pytest.raises(SinkDownError, match="Not authorized") as caught:
            Mqtt(settings, LINE).check()
        assert "hunter2" not in str(caught.value)
        monkeypatch.setenv("BROKER", "right")
        assert "accepts" in Mqtt(settings, LINE).check()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho forgets a socket it gives up
def test_a_certificate_is_checked(tmp_path: Path) -> None:
    if not has_mosquitto():
        pytest.skip("no mosquitto; on Debian: apt-get install mosquitto")
    for name in ("good", "other"):
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=IP:127.0.0.1",
                "-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem"]  # fmt: skip
        subprocess.run(made, check=True, capture_output=True)
    with running_broker(
        tmp_path, f"certfile {tmp_path}/good.pem\nkeyfile {tmp_path}/good.key\nallow_anonymous true"
    ) as broker:

        def sink(authority: str) -> Mqtt:
            file = tmp_path / authority
            return Mqtt(MqttSink(kind="mqtt", host="127.0.0.1", port=broker.port, tls=True, ca_file=file), LINE)

        trusting = sink("good.pem")
        trusting.send(message())
        trusting.close()
        with pytest.raises(SinkDownError, match="is not trusted"):
            sink("other.pem").send(message())
        with pytest.raises(InputError, match="cannot be used"):
            sink("none.pem").send(message())


class Receiver:
    """A real HTTP server that checks signatures and answers as it is told to."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                identifier, stamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
                signed = f"{identifier}.{stamp}.".encode() + body
                expected = base64.b64encode(hmac.new(b"shared", signed, hashlib.sha256).digest()).decode()
                good = self.headers["webhook-signature"] == f"v1,{expected}"
                status = outer.answers.pop(0) if outer.answers else 204 if good else 401
                if status == 204:
                    outer.got.append((identifier, body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/parts"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    (tmp_path / "secret").write_text("shared\n", "utf-8")
    return Secret(file=tmp_path / "secret")


def test_a_webhook_is_signed_and_tells_what_may_be_tried_again(receiver: Receiver, secret: Secret) -> None:
    sink = Webhook(WebhookSink(kind="webhook", url=receiver.url, secret=secret))
    sent = message()
    sink.send(sent)
    assert receiver.got == [(sent.message_id, sent.payload.encode())]
    for status, error in ((500, SinkDownError), (401, SinkDownError), (429, SinkDownError), (422, SinkRefusedError)):
        receiver.answers = [status]
        with pytest.raises(error, match=str(status)):
            sink.send(message())
    sink.close()


def test_messages_are_delivered_in_order_through_failures_and_a_poisoned_one_steps_aside(
    receiver: Receiver, secret: Secret, tmp_path: Path
) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/record.db", tmp_path / "files")
    said: list[str] = []
    sink = Webhook(WebhookSink(kind="webhook", url=receiver.url, secret=secret))
    delivery = Delivery(store.outbox, "press", sink, said.append)
    receiver.answers = [204, 503, 503, 204, *[422] * REFUSALS]
    for _ in range(5):
        store.outbox.put(Draft(new_id(), "press", "part", ("webhook",), lambda number: json.dumps({"n": number})))
    delivery.start()
    delivery.wake()
    delivery.stop(20)
    assert [json.loads(body)["n"] for _, body in receiver.got] == [1, 2, 4, 5]
    assert store.outbox.counts("press") == {"webhook": {"delivered": 4, "refused": 1}}
    assert any("503" in one for one in said)
    assert any("message 3 is set aside" in one for one in said)
    store.close()


def test_a_controller_reads_nodes_and_hears_every_message(tmp_path: Path) -> None:
    asyncua = pytest.importorskip("asyncua")
    sink = OpcUa(OpcUaSink(kind="opcua", port=free_port()), LINE)
    sink.check()
    sent = [message(number, verdict) for number, verdict in enumerate(("normal", "defective", None, "defective"), 1)]

    class Heard:
        def __init__(self) -> None:
            self.messages: list[str] = []

        def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
            self.messages.append(value)

    async def listen() -> tuple[dict[str, Any], list[str]]:
        heard = Heard()
        async with asyncua.Client(sink.address) as client:
            space = await client.get_namespace_index("urn:reason-iad:line")
            node = client.get_node(f"ns={space};s=press.Message")
            watching = await client.create_subscription(20, heard)
            await watching.subscribe_data_change(node, queuesize=1000)
            for one in sent:
                await asyncio.to_thread(sink.send, one)
            for _ in range(200):
                if len(heard.messages) > len(sent):
                    break
                await asyncio.sleep(0.05)
            names = ("Verdict", "Sequence", "Defective", "Normal", "NotInspected", "Part", "Online")
            found = {one: await client.get_node(f"ns={space};s=press.{one}").read_value() for one in names}
            with pytest.raises(asyncua.ua.UaStatusCodeError):  # nobody but the line writes
                await node.write_value("forged")
        return found, heard.messages

    found, messages = asyncio.run(listen())
    sink.close()
    assert messages[-4:] == [one.payload for one in sent]
    assert found == {
        "Verdict": "defective", "Sequence": 4, "Defective": 2, "Normal": 1, "NotInspected": 1, "Part": "A-4",
        "Online": True,
    }  # fmt: skip


def test_a_guarded_opcua_server_lets_its_user_in_and_nobody_else(secret: Secret) -> None:
    asyncua = pytest.importorskip("asyncua")
    sink = OpcUa(OpcUaSink(kind="opcua", port=free_port(), user="plc", password=secret), LINE)
    sink.send(message())

    async def verdict(user: str | None, password: str | None) -> Any:
        client = asyncua.Client(sink.address)
        if user is not None:
            client.set_user(user)
            client.set_password(password)
        async with client:
            space = await client.get_namespace_index("urn:reason-iad:line")
            return await client.get_node(f"ns={space};s=press.Verdict").read_value()

    assert asyncio.run(verdict("plc", "shared")) == "defective"
    for user, password in (("plc", "wrong"), (None, None)):
        with pytest.raises(Exception, match=r"(?i)identity|access|denied|token|user"):
            asyncio.run(verdict(user, password))
    sink.close()


def test_an_opcua_port_that_is_taken_is_told(secret: Secret) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as other, pytest.raises(SinkDownError, match="be served"):
        OpcUa(OpcUaSink(kind="opcua", port=other.getsockname()[1]), LINE).check()


def test_lines_of_a_file_change_with_the_day_and_heal_after_a_kill(tmp_path: Path) -> None:
    settings = JsonlSink(kind="jsonl", path=tmp_path / "out" / "parts-%Y-%m-%d.jsonl")
    evening, night = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC), datetime(2026, 3, 2, 0, 0, 1, tzinfo=UTC)
    first, second, third = message(1, at=evening), message(2, at=night), message(3, at=night)
    sink = Jsonl(settings)
    for one in (first, second):
        sink.send(one)
    days = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert days == ["parts-2026-03-01.jsonl", "parts-2026-03-02.jsonl"]
    file = tmp_path / "out" / days[1]
    file.write_bytes(file.read_bytes() + third.payload.encode()[:40])  # cut off by a kill
    again = Jsonl(settings)
    for one in (second, third):  # second was written, and its delivery not noted
        again.send(one)
    assert file.read_text("utf-8").splitlines() == [second.payload, third.payload]


def test_a_file_that_cannot_be_written_waits(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file, no folder")
    with pytest.raises(SinkDownError, match="cannot be written"):
        Jsonl(JsonlSink(kind="jsonl", path=tmp_path / "blocked" / "parts.jsonl")).send(message())
