"""State, metrics and triggers of a line over HTTP: GET /status, GET /metrics, POST /trigger."""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from reason_iad.errors import InputError
from reason_iad.line.settings import HttpSettings
from reason_iad.line.triggers import Called, Trigger

MOST_BYTES = 4096  # of a trigger's body
State = Callable[[], dict[str, Any]]


class StatusServer:
    """Answers in threads of its own."""

    def __init__(self, settings: HttpSettings, line: str, state: State, trigger: Trigger | None = None) -> None:
        """Bind the address.

        Raises:
            InputError: it is taken, or the token cannot be read.
        """
        token = None if settings.token is None else settings.token.read()
        handler = _handler(line, state, trigger if isinstance(trigger, Called) else None, token)
        try:
            self._server = ThreadingHTTPServer((settings.host, settings.port), handler)
        except OSError as error:
            raise InputError(
                f"{settings.host}:{settings.port} cannot be served ({error.strerror}); expected a free port: change "
                "http.port"
            ) from error
        self._server.daemon_threads = True

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, name="status", daemon=True).start()

    def stop(self) -> None:
        """Answer no more; only after `start`."""
        self._server.shutdown()
        self._server.server_close()

    def release(self) -> None:
        """Give the address back without having answered."""
        self._server.server_close()


def _handler(line: str, state: State, trigger: Called | None, token: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "reason-iad"
        sys_version = ""

        def do_GET(self) -> None:
            if not self._allowed():
                return
            if self.path == "/status":
                self._answer(200, json.dumps({"line": line, **state()}))
            elif self.path == "/metrics":
                self._answer(200, metrics_text(line, state()), "text/plain; version=0.0.4; charset=utf-8")
            else:
                self._answer(404, '{"error": "expected /status or /metrics"}')

        def do_POST(self) -> None:
            if not self._allowed():
                return
            length = self.headers.get("content-length", "")
            if self.path != "/trigger" or trigger is None:
                self._answer(404, '{"error": "expected /trigger, on a line that is triggered by HTTP"}')
            elif not length.isdecimal() or int(length) > MOST_BYTES:
                self._answer(413, f'{{"error": "expected a length of at most {MOST_BYTES} bytes"}}')
            else:
                room = trigger.call(self.rfile.read(int(length)).decode("utf-8", "replace"))
                self._answer(*((202, '{"accepted": true}') if room else (429, '{"error": "too many wait"}')))

        def _allowed(self) -> bool:
            given = self.headers.get("authorization", "").encode()
            if token is None or hmac.compare_digest(given, f"Bearer {token}".encode()):
                return True
            self._answer(401, '{"error": "expected the token of this line"}')
            return False

        def _answer(self, status: int, text: str, kind: str = "application/json") -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: headers hold the token."""

    return Handler


def metrics_text(line: str, state: dict[str, Any]) -> str:
    """The state as Prometheus reads it."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(line, state))
    return generate_latest(registry).decode()


class _Collector:
    """One look at a line; implements prometheus_client's collector."""

    def __init__(self, line: str, state: dict[str, Any]) -> None:
        self._line, self._state = line, state

    def collect(self) -> Iterator[Any]:
        """Every number."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        state, line = self._state, self._line
        parts = CounterMetricFamily("reason_iad_line_parts", "Parts by verdict", labels=["line", "verdict"])
        for verdict, count in state["parts"].items():
            parts.add_metric([line, verdict], count)
        yield parts
        for name, text, key in (
            ("frames", "Pictures of the camera", "frames"),
            ("frames_dropped", "Pictures that nobody took", "frames_dropped"),
            ("camera_losses", "Times the camera was lost", "camera_losses"),
            ("record_errors", "Times the record could not be written", "record_errors"),
        ):
            counter = CounterMetricFamily(f"reason_iad_line_{name}", text, labels=["line"])
            counter.add_metric([line], state[key])
            yield counter
        drift = state["drift"] or {}
        for name, text, value in (
            ("camera_up", "1 while the camera sends", float(state["camera"] == "up")),
            ("waiting", "Parts that wait for their inspection", state["waiting"]),
            ("delay_p95_seconds", "From the picture to the record, of the last 200 parts", state["delay_p95"] or 0.0),
            ("drift_level", "How near an alarm is, from 0 to 1", drift.get("level", 0.0)),
            ("drift_alarm", "1 while an alarm is not acknowledged", float(drift.get("alarm") is not None)),
        ):
            gauge = GaugeMetricFamily(f"reason_iad_line_{name}", text, labels=["line"])
            gauge.add_metric([line], value)
            yield gauge
        sinks = GaugeMetricFamily("reason_iad_line_sink_up", "1 while a sink takes messages", labels=["line", "sink"])
        delivered = CounterMetricFamily("reason_iad_line_delivered", "Messages delivered", labels=["line", "sink"])
        for name, sink in state["sinks"].items():
            sinks.add_metric([line, name], float(sink["up"]))
            delivered.add_metric([line, name], sink["delivered"])
        yield sinks
        yield delivered
