"""Models by name, loaded when asked for: the bundled one, a server, a hub id, or a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.errors import ModelError

if TYPE_CHECKING:
    from reason_iad.models.base import Model
    from reason_iad.models.loading import LoadOptions
    from reason_iad.models.vision_cache import CachedVision

NAMES = ("nano",)
SERVED = "openai:"  # before the name of a model on a server
JOINT = " + "  # between the names of a panel's models


def members_of(name: str) -> tuple[str, ...]:
    """The models of a panel by its name; one alone where it is none.

    Raises:
        ModelError: one stands there twice.
    """
    found = tuple(one.strip() for one in name.split(JOINT))
    if len(set(found)) < len(found) or "" in found:
        raise ModelError(f"found the models {name}; expected different ones: name each once")
    return found


def check_model(name: str) -> None:
    """Refuse a name that cannot be a model, before anything heavy is loaded.

    Raises:
        ModelError: what was found, and the forms that a name may have.
    """
    from reason_iad.models.hub import is_hub_id

    if JOINT in name:
        for one in members_of(name):
            check_model(one)
        return
    if name and Path(name).expanduser().is_dir():
        from reason_iad.models.checkpoint import read_checkpoint

        read_checkpoint(Path(name).expanduser())
        return
    if name in NAMES or (name.startswith(SERVED) and len(name) > len(SERVED)) or is_hub_id(name):
        return
    raise ModelError(
        f"the model {name!r} is not known; expected {', '.join(NAMES)}, a hub id such as Qwen/Qwen2.5-VL-7B-Instruct, "
        f"a folder, or {SERVED}NAME for a model on a server"
    )


def sees_references(name: str) -> bool:
    """Whether a model is shown the references themselves; the bundled one knows them through the evidence alone."""
    return name not in NAMES


def memory_need(model: str) -> str:
    """Memory that a model needs, in words; nothing is loaded to find out."""
    from reason_iad.models import memory
    from reason_iad.models.checkpoint import read_checkpoint

    folder = Path(model).expanduser()
    if model in NAMES:
        return "about 2 GB for the bundled models"
    if model.startswith(SERVED):
        return "that of the server"
    if not folder.is_dir():
        return f"as `reason-iad models` says of {model}"
    checkpoint = read_checkpoint(folder)
    dtype = memory.pick_dtype("auto", memory.pick_device("auto"))
    return str(memory.need_of(checkpoint.num_parameters, memory.text_part(checkpoint.config), dtype))


def load_model(
    name: str,
    vision: CachedVision,
    options: LoadOptions | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[Model, Mapping[str, Any]]:
    """Load a model and its settings: those that ship with the bundled one, and what was fitted on this machine.

    Args:
        name: nano, a hub id, a folder, or openai:NAME.
        vision: towers that the bundled model shares.
        options: how an open model is loaded.
        say: told what is being done.

    Raises:
        ModelError: no such model, it cannot be loaded, or its stored fit is damaged.
        WeightsError: the bundled weights cannot be fetched.
    """
    from reason_iad.models.fits import settings_of

    check_model(name)
    if JOINT in name:
        raise ModelError(
            f"found a panel of {name}; expected one model here: panels answer where images are inspected, and in "
            "benchmark mmad"
        )
    if name in NAMES:
        from reason_iad.models.nano import NanoModel, read_adapter
        from reason_iad.models.sources import default_adapter

        _, shipped = read_adapter(default_adapter())
        exact = options is not None and options.dtype == "float32"
        device = "cpu" if options is None or options.device == "auto" else options.device
        nano = NanoModel.load(vision=vision, exact=exact, device=device)
        return nano, {**shipped, **settings_of(name, nano.fingerprint)}
    if name.startswith(SERVED):
        from reason_iad.models.openai_compatible import OpenAICompatible

        served = OpenAICompatible.from_environment(
            name.removeprefix(SERVED), None if options is None else options.thinking
        )
        return served, settings_of(name, served.fingerprint)
    from reason_iad.models.loading import open_model

    loaded = open_model(name, options, say)
    return loaded, settings_of(name, loaded.fingerprint)
