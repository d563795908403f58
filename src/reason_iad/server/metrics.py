"""Numbers for Prometheus, in a registry of the app's own, so that two apps in one process do not disturb each other."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from reason_iad.server.model_workers import Worker
    from reason_iad.store.lines import LineState

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
        self.unasked = Counter(
            "reason_iad_inspections_unasked", "Inspections that needed no answer of the language model", registry=own
        )
        self.wait_seconds = Histogram(
            "reason_iad_wait_seconds", "Time of a job in the queue", ["priority"], buckets=SECONDS, registry=own
        )
        self.queue = Gauge("reason_iad_queue", "Inspections and questions that wait", registry=own)
        self.waiting = Gauge("reason_iad_waiting", "Jobs that wait, by whose turn it is", ["priority"], registry=own)
        self.queue_size = Gauge("reason_iad_queue_size", "Room in the queue", registry=own)
        self.refused = Counter("reason_iad_refused", "Requests refused for want of room", registry=own)
        self.ready = Gauge("reason_iad_ready", "1 while the model is loaded", registry=own)
        self.workers = Gauge("reason_iad_workers_ready", "Model processes whose model is loaded", registry=own)
        self.running = Gauge("reason_iad_running", "Jobs that model processes are at", registry=own)
        self.restarts = Counter("reason_iad_model_restarts", "Model processes that ended by themselves", registry=own)
        self.worker_jobs = Counter(
            "reason_iad_worker_jobs", "Jobs that a model process ended", ["worker", "kind", "result"], registry=own
        )
        self.worker_seconds = Counter(
            "reason_iad_worker_seconds", "Time that a model process was at jobs", ["worker"], registry=own
        )
        self.worker_restarts = Counter(
            "reason_iad_worker_restarts", "Times a model process ended by itself", ["worker"], registry=own
        )
        self.worker_ready = Gauge(
            "reason_iad_worker_ready", "1 while a process's model is loaded", ["worker"], registry=own
        )
        self.worker_busy = Gauge("reason_iad_worker_busy", "1 while a process is at a job", ["worker"], registry=own)
        self.worker_memory = Gauge(
            "reason_iad_worker_memory_bytes", "Resident memory of a model process", ["worker"], registry=own
        )
        self.record_up = Gauge("reason_iad_record_up", "1 while the database answers", registry=own)
        self.record_seconds = Gauge("reason_iad_record_seconds", "Time of its last answer", registry=own)
        self.feedback = Counter("reason_iad_feedback", "Feedback by kind", ["kind"], registry=own)
        self.line_alarms = Gauge(
            "reason_iad_line_alarms", "Drift alarms of a line that nobody has acknowledged", ["line"], registry=own
        )
        told = "as the line last told the record"
        self.line_age = Gauge(
            "reason_iad_line_told_age_seconds", "Time since a line last told the record of itself", ["line"],
            registry=own,
        )  # fmt: skip
        self.line_parts = Gauge(
            "reason_iad_line_told_parts", f"Parts by verdict, {told}", ["line", "verdict"], registry=own
        )
        self.line_waiting = Gauge("reason_iad_line_told_waiting", f"Parts that wait, {told}", ["line"], registry=own)
        self.line_delay = Gauge(
            "reason_iad_line_told_delay_p95_seconds", f"From picture to record, {told}", ["line"], registry=own
        )
        self.line_drift = Gauge(
            "reason_iad_line_told_drift_level", f"How near a drift alarm is, 0 to 1, {told}", ["line"], registry=own
        )

    def tell_lines(self, states: Sequence[LineState], alarms: Mapping[str, int]) -> None:
        """Note what the record knows of each production line."""
        for line, count in alarms.items():
            self.line_alarms.labels(line).set(count)
        for one in states:
            name, state = one.name, one.state
            self.line_age.labels(name).set((datetime.now(UTC) - one.updated_at).total_seconds())
            for verdict, count in (state.get("parts") or {}).items():
                self.line_parts.labels(name, verdict).set(count)
            self.line_waiting.labels(name).set(state.get("waiting") or 0)
            self.line_delay.labels(name).set(state.get("delay_p95") or 0.0)
            self.line_drift.labels(name).set((state.get("drift") or {}).get("level") or 0.0)

    def tell_queue(self, waiting: Mapping[str, int], running: int, room: int) -> None:
        """Note what waits, by whose turn it is."""
        self.queue.set(sum(waiting.values()))
        for priority, count in waiting.items():
            self.waiting.labels(priority).set(count)
        self.running.set(running)
        self.queue_size.set(room)

    def tell_workers(self, workers: Sequence[Worker]) -> None:
        """Note how each model process is."""
        for one in workers:
            name = str(one.number)
            self.worker_ready.labels(name).set(one.state == "ready")
            self.worker_busy.labels(name).set(one.doing is not None)
            if (memory := one.memory_bytes) is not None:
                self.worker_memory.labels(name).set(memory)
            else:
                with contextlib.suppress(KeyError):  # the process is gone, and so is its number
                    self.worker_memory.remove(name)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
