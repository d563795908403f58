"""Numbers for Prometheus, in a registry of the app's own, so that two apps in one process do not disturb each other."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120)
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What the server counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        ProcessCollector(registry=own)
        self.requests = Counter("reason_iad_requests", "Requests", ["method", "route", "status"], registry=own)
        self.request_seconds = Histogram(
            "reason_iad_request_seconds", "Time of a request", ["route"], buckets=SECONDS, registry=own
        )
        self.inspections = Counter("reason_iad_inspections", "Inspections that ended", ["result"], registry=own)
        self.inspection_seconds = Histogram(
            "reason_iad_inspection_seconds", "Time of an inspection in the model process", buckets=SECONDS, registry=own
        )
        self.stage_seconds = Histogram(
            "reason_iad_stage_seconds", "Time of a stage", ["stage"], buckets=SECONDS, registry=own
        )
        self.queue = Gauge("reason_iad_queue", "Inspections and questions that wait", registry=own)
        self.queue_size = Gauge("reason_iad_queue_size", "Room in the queue", registry=own)
        self.refused = Counter("reason_iad_refused", "Requests refused for want of room", registry=own)
        self.ready = Gauge("reason_iad_ready", "1 while the model is loaded", registry=own)
        self.workers = Gauge("reason_iad_workers_ready", "Model processes whose model is loaded", registry=own)
        self.running = Gauge("reason_iad_running", "Jobs that model processes are at", registry=own)
        self.restarts = Counter("reason_iad_model_restarts", "Model processes that ended by themselves", registry=own)
        self.feedback = Counter("reason_iad_feedback", "Feedback by kind", ["kind"], registry=own)
        self.line_alarms = Gauge(
            "reason_iad_line_alarms", "Drift alarms of a line that nobody has acknowledged", ["line"], registry=own
        )

    def tell_lines(self, alarms: Mapping[str, int]) -> None:
        """Note the open drift alarms of each production line in the record."""
        for line, count in alarms.items():
            self.line_alarms.labels(line).set(count)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
