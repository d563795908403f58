"""Traces of OpenTelemetry, from a request to the stages of its inspection; `pip install 'reason-iad[otel]'`.

One trace holds the request, what it asked of a model process (inspect, ask, feedback, learn), its wait in the queue,
each try by a process, the stages of the try, and the writing of the record:

    POST /v1/inspections
      inspect
        wait
        work            worker 1, attempt 1
          stage evidence ...
        record

The spans of a job are made when it ends, from moments noted on the way, so that model processes need no SDK. A trace
names ids, states and numbers: no file, no client, no text of anyone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from reason_iad import __version__
from reason_iad.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from starlette.types import Scope

FLUSH_SECONDS = 5.0  # for the last spans to be sent when the server stops
PREFIX = "/v1/"  # requests of pages, health and metrics would be most of all traces
Moment = Literal["queued", "taken", "try", "stage", "answered", "end"]


@dataclass(frozen=True)
class Mark:
    """Something that happened to a job, at nanoseconds since 1970."""

    moment: Moment
    at: int
    detail: str | int = ""  # number of the process of a try, name of a stage


class Traced(Protocol):
    """A job, as far as its trace depends on it."""

    id: str
    kind: str
    marks: list[Mark]
    context: Any  # of the request that it came with


class Tracing:
    """Makes spans; without a provider it makes none and costs nothing."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer("reason_iad", __version__)

    @classmethod
    def to(cls, url: str | None) -> Tracing:
        """Traces for a collector that speaks OTLP over HTTP; none where `url` is None.

        The variables of OpenTelemetry's SDK (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS ...)
        count as they do everywhere.

        Raises:
            InputError: the extra is not installed, or the address is none.
        """
        if url is None:
            return cls()
        found = urlsplit(url)
        if found.scheme not in ("http", "https") or not found.hostname:
            raise InputError(f"found --traces {url!r}; expected the address of a collector: http://127.0.0.1:4318")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise InputError(
                "OpenTelemetry is not installed; expected it for --traces: pip install 'reason-iad[otel]'"
            ) from error
        name = os.environ.get("OTEL_SERVICE_NAME") or "reason-iad"  # what is given here would win over the variable
        resource = Resource.create({"service.name": name, "service.version": __version__})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        endpoint = url if found.path.strip("/") else f"{url.rstrip('/')}/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        return cls(provider)

    @contextmanager
    def request(self, scope: Scope, method: str, request_id: str) -> Iterator[Callable[[str, int], None]]:
        """The span of a request, which ends with the block; gives what is told its route and status.

        A `traceparent` of the client is honored, so that its trace goes on here.
        """
        if self._tracer is None or not scope["path"].startswith(PREFIX):
            yield lambda route, status: None
            return
        from opentelemetry.context import attach, detach
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        before = TraceContextTextMapPropagator().extract(given)
        facts = {"http.request.method": method, "reason_iad.request_id": request_id}
        span = self._tracer.start_span(method, before, SpanKind.SERVER, facts)

        def tell(route: str, status: int) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.route": route, "http.response.status_code": status})
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))

        token = attach(set_span_in_context(span, before))
        try:
            yield tell
        finally:
            detach(token)
            span.end()

    def here(self) -> Any:
        """Where we are in a trace, for a job that will be done elsewhere."""
        if self._tracer is None:
            return None
        from opentelemetry.context import get_current

        return get_current()

    def written(self) -> str | None:
        """Where we are in a trace, as the record keeps it for whichever server does the job: a `traceparent`."""
        if self._tracer is None:
            return None
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier.get("traceparent")

    def read(self, written: str | None) -> Any:
        """The context that `written` gave, here or at another server; None where there is none."""
        if self._tracer is None or written is None:
            return None
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        return TraceContextTextMapPropagator().extract({"traceparent": written})

    def job(self, job: Traced, error: str | None = None, facts: Mapping[str, Any] | None = None) -> None:
        """Make the spans of a job that has just ended.

        Args:
            job: with its marks.
            error: code of why it failed: a message could name a file.
            facts: further attributes, such as the verdict; those that are None are left out.
        """
        if self._tracer is None:
            return
        marks = [*job.marks, Mark("end", time.time_ns())]
        said = {f"reason_iad.{name}": value for name, value in (facts or {}).items() if value is not None}
        whole = self._span(job.kind, job.context, marks[0].at, marks[-1].at, {"reason_iad.id": job.id, **said}, error)
        attempt, work = 0, whole
        for number, mark in enumerate(marks):
            left = marks[number + 1 :]
            if mark.moment == "queued":
                self._span("wait", whole, mark.at, _first(left, "taken"))
            elif mark.moment == "try":
                attempt += 1
                again = any(one.moment == "try" for one in left)
                fault = "the model process was lost" if again else error
                about = {"reason_iad.worker": mark.detail, "reason_iad.attempt": attempt}
                work = self._span("work", whole, mark.at, _first(left, "try", "answered"), about, fault)
            elif mark.moment == "stage":
                self._span(f"stage {mark.detail}", work, mark.at, _first(left, "stage", "try", "answered"))
            elif mark.moment == "answered":
                self._span("record", whole, mark.at, marks[-1].at)

    def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most."""
        if self._provider is not None:
            self._provider.force_flush(int(1000 * FLUSH_SECONDS))
            self._provider.shutdown()

    def _span(
        self, name: str, within: Any, begin: int, end: int, facts: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> Any:  # fmt: skip
        """Make a span that is over; returns the context for what lay within it."""
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        assert self._tracer is not None
        span = self._tracer.start_span(name, within, attributes=dict(facts or {}), start_time=begin)
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(max(begin, end))  # a clock that was set back must not make an interval negative
        return set_span_in_context(span)


def _first(marks: Sequence[Mark], *moments: Moment) -> int:
    """When the first of some moments was, or the end."""
    return next(mark.at for mark in marks if mark.moment in (*moments, "end"))
