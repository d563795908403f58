"""Reports of recorded inspections, rendered when someone wants to see them."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np

from reason_iad.images import Pixels, encode_png, read_image
from reason_iad.reporting.pdf import Paper
from reason_iad.store.record import Record
from reason_iad.store.store import Store
from reason_iad.types import InspectionReport

_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')


def render_page(store: Store, record: Record) -> tuple[bytes, str]:
    """The page of an inspection, and the policy under which its one script may run."""
    from reason_iad.reporting.html import render_report

    report, pixels, anomaly_map = _parts(store, record)
    html = render_report(report, pixels, anomaly_map, _shown(store, record))
    found = _POLICY.search(html)
    policy = found.group(1) if found else "default-src 'none'"
    return html.encode("utf-8", "backslashreplace"), f"{policy}; frame-ancestors 'none'"


def render_figure(store: Store, record: Record) -> bytes:
    """The annotated picture of an inspection, as PNG."""
    from reason_iad.reporting.figures import draw_figure

    report, pixels, anomaly_map = _parts(store, record)
    return encode_png(draw_figure(report, pixels, anomaly_map))


def render_pdf(store: Store, record: Record, paper: Paper) -> bytes:
    """The report of an inspection on paper."""
    from reason_iad.reporting.pdf import report_pdf

    report, pixels, anomaly_map = _parts(store, record)
    return report_pdf(report, pixels, anomaly_map, _shown(store, record), paper)


def _parts(store: Store, record: Record) -> tuple[InspectionReport, Pixels, Any]:
    report = InspectionReport.from_json(json.dumps(record.report))
    pixels = read_image(store.files.get(record.files["image"]), name=record.name).pixels
    anomaly_map = None
    if "map-values" in record.files:
        anomaly_map = np.load(io.BytesIO(store.files.get(record.files["map-values"])), allow_pickle=False)
    return report, pixels, anomaly_map


def _shown(store: Store, record: Record) -> list[Pixels]:
    """The references that the report shows, in its order."""
    roles = sorted((role for role in record.files if role.startswith("shown-")), key=lambda role: int(role[6:]))
    return [read_image(store.files.get(record.files[role])).pixels for role in roles]
