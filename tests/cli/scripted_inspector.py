"""An inspector that answers from a script: no model, no weights, every call recorded."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from typing import Any

from made_report import MadeInspection, make_map, make_report

from reason_iad.images import LoadedImage, read_image
from reason_iad.types import InspectionRequest


class ScriptedInspector:
    """Reads the image, says what `verdicts` says for its name (else normal), and raises what `failures` holds."""

    def __init__(
        self, verdicts: dict[str, str] | None = None, failures: dict[str, BaseException] | None = None
    ) -> None:
        self.verdicts = verdicts or {}
        self.failures = failures or {}
        self.calls: list[dict[str, Any]] = []
        self.loads = 0

    def load(self, args: argparse.Namespace, progress: Callable[[str], None]) -> ScriptedInspector:
        """Stand in for loading weights; pass this as `load_inspector`."""
        self.loads += 1
        progress("loading model nano")
        return self

    def run(self, request: InspectionRequest) -> MadeInspection:
        image, references = request.image, request.references
        self.calls.append(vars(request))
        if image.name in self.failures:
            raise self.failures[image.name]
        loaded = image if isinstance(image, LoadedImage) else read_image(image)
        verdict = self.verdicts.get(image.name, "normal")
        report = make_report(
            image=loaded.name,
            image_hw=loaded.image_hw,
            image_sha256=loaded.sha256,
            verdict=verdict,
            probability={"normal": 0.03, "uncertain": 0.5, "defective": 0.97}[verdict],
            regions=(),
            trace=None,
        )
        return MadeInspection(
            report, loaded.pixels, make_map() if references else None, tuple(one.pixels for one in references)
        )


def load_for_processes(args: argparse.Namespace, progress: Callable[[str], None]) -> ScriptedInspector:
    """A loader that other processes can import."""
    return ScriptedInspector({"b.png": "defective"})


class DeadlyInspector(ScriptedInspector):
    """Ends its process at the image b.png, as one does that is out of memory."""

    def run(self, request: InspectionRequest) -> MadeInspection:
        if request.image.name == "b.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(request)


def load_deadly_for_processes(args: argparse.Namespace, progress: Callable[[str], None]) -> ScriptedInspector:
    """A loader that other processes can import."""
    return DeadlyInspector()
