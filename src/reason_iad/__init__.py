"""Explain defects in images of industrial products: knowledge, latent reasoning, visual injection, evidence.

    from reason_iad import Inspector, learn

    learn("bracket", "good/")
    report = Inspector.load().inspect("part.png", category="bracket")
    print(report.verdict, report.probability, report.defect_type)

Names are imported when they are first used: importing the package loads nothing heavy.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "InspectionReport", "InspectionRequest", "Inspector", "InspectorOptions", "ReasonIADError", "__version__", "learn",
    "load_profile",
]  # fmt: skip

# Before torch is imported: its waiting threads sleep. While they spin beside other busy processes an inspection takes
# six times as long, asleep twice; alone there is no difference (docs/processors.md). What the user has set stays.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "passive"

if TYPE_CHECKING:
    from reason_iad.errors import ReasonIADError
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.inspection.options import InspectorOptions
    from reason_iad.profiles import learn, load_profile
    from reason_iad.types import InspectionReport, InspectionRequest

_HOMES = {
    "InspectionReport": "reason_iad.types",
    "InspectionRequest": "reason_iad.types",
    "Inspector": "reason_iad.inspection.inspector",
    "InspectorOptions": "reason_iad.inspection.options",
    "ReasonIADError": "reason_iad.errors",
    "learn": "reason_iad.profiles",
    "load_profile": "reason_iad.profiles",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(sorted(_HOMES))}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, imported or not."""
    return sorted({*globals(), *__all__})
