"""Models by name, loaded when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reason_iad.errors import ModelError

if TYPE_CHECKING:
    from reason_iad.models.base import MultimodalModel
    from reason_iad.models.vision_cache import CachedVision

NAMES = ("nano",)


def load_model(name: str, vision: CachedVision) -> tuple[MultimodalModel, Mapping[str, Any]]:
    """Load a model and its settings (fusion, calibration).

    Raises:
        ModelError: no such model.
        WeightsError: its weights cannot be fetched.
    """
    if name not in NAMES:
        raise ModelError(f"the model {name!r} is not known; expected one of {', '.join(NAMES)}")
    from reason_iad.models.nano import NanoModel, default_adapter, read_adapter

    _, settings = read_adapter(default_adapter())
    return NanoModel.load(vision=vision), settings
