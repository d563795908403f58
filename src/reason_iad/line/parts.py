"""Inspecting parts, in a process of its own: what the line asks of it, and what comes back."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reason_iad.inspection.options import InspectorOptions
from reason_iad.line.quantities import SCORE, known_values, measure, small_jpeg
from reason_iad.types import InspectionReport, InspectionRequest
from reason_iad.workers import Tell

FACTORY = "reason_iad.line.parts:load_bundled"


@dataclass(frozen=True, eq=False)
class Found:
    """The verdict on one part, told before anything else is done with it."""

    report: InspectionReport
    milliseconds: float  # that the inspection took


@dataclass(frozen=True, eq=False)
class Looked:
    """What is known of one part besides its verdict.

    Attributes:
        files: pictures for the record, as (media type, bytes) by role.
        values: what drift is seen by, of what could be measured.
        embedding: what it is recognized by, (D,), where the inspector can tell.
        jpeg: a small picture.
    """

    files: dict[str, tuple[str, bytes]]
    values: dict[str, float]
    embedding: Any
    jpeg: bytes


@dataclass(frozen=True, eq=False)
class Known:
    """What a profile knows of good parts, for seeing drift.

    Attributes:
        version: of the profile.
        values: by quantity's name, of each good part.
        prototype: mean of what good parts are recognized by, (D,).
        jpegs: small pictures of the good parts, in the order of the values.
    """

    version: int
    values: dict[str, tuple[float, ...]]
    prototype: Any
    jpegs: tuple[bytes, ...]


def load(factory: str, method: InspectorOptions, tell: Tell) -> Callable[[Any, Tell], Any]:
    """Load the inspector that `factory` ("module:function") makes, and return what does the line's tasks with it."""
    module, _, function = factory.partition(":")
    inspector = getattr(importlib.import_module(module), function)(method, tell)

    def do(task: InspectionRequest | str, tell: Tell) -> Looked | Known:
        return known_of(task) if isinstance(task, str) else look(inspector, task, tell)

    return do


def load_bundled(method: InspectorOptions, tell: Tell) -> Any:
    """Load the inspector that the options of the method ask for."""
    from reason_iad.inspection.inspector import Inspector

    return Inspector.load(method, progress=tell)


def look(inspector: Any, request: InspectionRequest, tell: Tell) -> Looked:
    """Inspect one part, tell the verdict, and measure what drift is seen by."""
    from reason_iad.recognition.prototypes import image_embedding
    from reason_iad.reporting.pictures import pictures

    began = time.perf_counter()
    found = inspector.run(request)
    tell(Found(found.report, 1000 * (time.perf_counter() - began)))
    values = measure(found.pixels)
    if found.report.evidence is not None:
        values[SCORE.name] = found.report.evidence.anomaly_score
    vision = getattr(inspector, "vision", None)
    embedding = None if vision is None else image_embedding(found.pixels, vision)
    return Looked(pictures(found), values, embedding, small_jpeg(found.pixels))


def known_of(category: str) -> Known:
    """What the profile of a category knows of good parts.

    Raises:
        EvidenceError: there is no such profile.
    """
    from reason_iad.evidence.profile import load_profile

    profile = load_profile(category)
    values = {quantity.name: found for quantity, found in known_values(profile).items()}
    jpegs = tuple(small_jpeg(member.preview) for member in profile.normals)
    return Known(profile.version, values, profile.prototype, jpegs)
