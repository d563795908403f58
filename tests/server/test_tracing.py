"""Traces from request to stage, by the real SDK of OpenTelemetry; and over HTTP to a collector."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from small_inspectors import load_knowledge
from until import until

from reason_iad.errors import InputError
from reason_iad.server.app import create_app
from reason_iad.server.settings import Settings
from reason_iad.server.tracing import Tracing

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is an extra")

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"  # a traceparent, of the standard's example


@contextmanager
def server(exporter, data: Path, factory: str = "load_scripted", **changes):
    """A client of a server whose spans go to `exporter`."""
    from fastapi.testclient import TestClient
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    settings = Settings(data=data, factory=f"small_inspectors:{factory}", **{"stop_seconds": 5.0, **changes})
    app = create_app(settings, load_knowledge, Tracing(provider))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def traced(tmp_path):
    """A client of a server, and the exporter that holds its spans."""
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    with server(exporter, tmp_path / "data", workers=2) as client:
        until(lambda: client.get("/v1/status").json()["workers_ready"] == 2)
        exporter.clear()
        yield client, exporter


def send(client, data: bytes, name: str = "secret.png", wait: float = 30, **headers: str):
    return client.post(f"/v1/inspections?wait={wait}", files={"image": (name, data, "image/png")}, headers=headers)


def tree(spans) -> dict[str, list[str]]:
    """Names of the spans within each span, by its name."""
    names = {span.context.span_id: span.name for span in spans}
    found: dict[str, list[str]] = {}
    for span in sorted(spans, key=lambda one: one.start_time):
        parent = span.parent and names.get(span.parent.span_id, "client")
        found.setdefault(str(parent), []).append(span.name)
    return found


def test_one_trace_goes_from_the_clients_request_to_the_stages_in_the_model_process(traced, picture):
    client, exporter = traced
    answer = send(client, picture(), traceparent=CLIENT)
    assert answer.status_code == 200
    spans = exporter.get_finished_spans()
    assert {format(span.context.trace_id, "032x") for span in spans} == {CLIENT.split("-")[1]}
    stages = ["read", "recognize", "knowledge", "prefix", "verdict", "pictures"]
    assert tree(spans) == {
        "client": ["POST /v1/inspections"],
        "POST /v1/inspections": ["inspect"],
        "inspect": ["wait", "work", "record"],
        "work": [f"stage {name}" for name in stages],
    }
    by_name = {span.name: span for span in spans}
    request, inspect, work = by_name["POST /v1/inspections"], by_name["inspect"], by_name["work"]
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["reason_iad.request_id"] == answer.headers["x-request-id"]
    assert inspect.attributes["reason_iad.id"] == answer.json()["id"]
    assert inspect.attributes["reason_iad.verdict"] == "defective"
    assert work.attributes["reason_iad.worker"] in (0, 1)
    for span in spans:  # what lies within a span lies within its time
        if span.parent is not None and span.name != request.name:
            outer = next(one for one in spans if one.context.span_id == span.parent.span_id)
            assert outer.start_time <= span.start_time <= span.end_time <= outer.end_time, span.name
    assert "secret" not in "".join(span.to_json() for span in spans)


def test_both_tries_of_a_job_whose_process_died_are_in_its_trace(traced, picture):
    client, exporter = traced
    identifier = send(client, picture(), "slow_secret.png", wait=0).json()["id"]
    workers = lambda: client.get("/v1/status?whole=true").json()["whole"]["workers"]  # noqa: E731
    (busy,) = until(lambda: [one for one in workers() if one["doing"]])
    assert (busy["doing"], busy["id"]) == ("inspect", identifier)
    os.kill(busy["pid"], signal.SIGKILL)
    until(lambda: client.get(f"/v1/inspections/{identifier}").json()["state"] == "done")
    until(lambda: any(span.name == "inspect" for span in exporter.get_finished_spans()))
    spans = [span for span in exporter.get_finished_spans() if span.name == "work"]
    first, second = sorted(spans, key=lambda span: span.attributes["reason_iad.attempt"])
    assert (first.status.status_code.name, first.status.description) == ("ERROR", "the model process was lost")
    assert first.attributes["reason_iad.worker"] == busy["number"]
    assert second.status.status_code.name == "UNSET"
    assert second.start_time >= first.end_time
    metrics = client.get("/metrics").text
    lost = f'reason_iad_worker_jobs_total{{kind="inspect",result="lost",worker="{busy["number"]}"}} 1.0'
    assert lost in metrics
    assert f'reason_iad_worker_restarts_total{{worker="{busy["number"]}"}} 1.0' in metrics


def test_a_refused_image_and_a_crash_are_errors_in_their_traces_without_any_name(traced, picture):
    client, exporter = traced
    assert send(client, picture(), "refuse_secret.png").status_code == 422
    assert send(client, picture(), "crash_secret.png").status_code == 503
    spans = exporter.get_finished_spans()
    jobs = [span.status.description for span in spans if span.name == "inspect"]
    assert jobs == ["not_inspectable", "interrupted"]
    requests = [span for span in spans if span.name == "POST /v1/inspections"]
    assert [span.status.status_code.name for span in requests] == ["UNSET", "ERROR"]
    assert "secret" not in "".join(span.to_json() for span in spans)


def test_pages_health_and_metrics_make_no_traces(traced):
    client, exporter = traced
    for path in ("/", "/healthz", "/metrics", "/assets/app.js"):
        assert client.get(path).status_code == 200
    assert exporter.get_finished_spans() == ()


def test_an_inspection_that_another_server_does_stays_in_the_trace_of_its_request(tmp_path, picture, shared_url):
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    asked, doing = InMemorySpanExporter(), InMemorySpanExporter()
    shared = {"database": shared_url, "stop_seconds": 0.1}
    with (
        server(asked, tmp_path / "data", "load_never", **shared) as client,
        server(doing, tmp_path / "data", **shared) as other,
    ):
        until(lambda: other.get("/readyz").status_code == 200)
        identifier = send(client, picture(), wait=0, traceparent=CLIENT).json()["id"]
        until(lambda: client.get(f"/v1/inspections/{identifier}").json()["state"] == "done")
        until(lambda: any(span.name == "inspect" for span in doing.get_finished_spans()))
    (request,) = [span for span in asked.get_finished_spans() if span.name == "POST /v1/inspections"]
    (inspect,) = [span for span in doing.get_finished_spans() if span.name == "inspect"]
    assert inspect.parent.span_id == request.context.span_id
    assert inspect.context.trace_id == request.context.trace_id == int(CLIENT.split("-")[1], 16)
    assert tree(doing.get_finished_spans())["inspect"] == ["wait", "work", "record"]


def test_spans_reach_a_collector_over_http(serve, picture, monkeypatch):
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "press-hall")
        client = serve(traces=f"http://127.0.0.1:{collector.server_port}")
        assert send(client, picture()).status_code == 200
        until(lambda: any(b"stage verdict" in data for _, data in received))
        collector.shutdown()
    assert {path for path, _ in received} == {"/v1/traces"}
    message = ExportTraceServiceRequest.FromString(next(data for _, data in received if b"stage verdict" in data))
    facts = {one.key: one.value.string_value for one in message.resource_spans[0].resource.attributes}
    assert facts["service.name"] == "press-hall"


def test_a_collector_that_is_away_delays_no_inspection(serve, picture):
    client = serve(traces="http://127.0.0.1:9")
    send(client, picture())
    began = time.monotonic()
    assert send(client, picture()).status_code == 200
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("address", ["127.0.0.1:4318", "grpc://collector:4317", "http://"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="expected the address of a collector"):
        Tracing.to(address)
