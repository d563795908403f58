"""Loading an open multimodal model by hub id or folder: checked first, then memory, then weights.

What is wrong is said before anything large is fetched or held: the family, the files, the memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from reason_iad.errors import InputError, ModelError
from reason_iad.models import hub, memory
from reason_iad.models.chat import chat_template
from reason_iad.models.checkpoint import Checkpoint, family_of, read_checkpoint, read_config
from reason_iad.models.families import Family
from reason_iad.models.fingerprint import of_folder
from reason_iad.models.transformers_mllm import TransformersMLLM

Say = Callable[[str], None]


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded."""

    dtype: memory.Dtype = "auto"
    device: str = "auto"
    quantization: memory.Quantization = "none"
    max_image_tokens: int | None = None
    thinking: int | None = None  # most tokens of a thought of a model on a server

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        for name, allowed in (("dtype", get_args(memory.Dtype)), ("quantization", get_args(memory.Quantization))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}")
        if self.max_image_tokens is not None and self.max_image_tokens < 1:
            raise InputError(f"max_image_tokens is {self.max_image_tokens}; expected at least 1")


def open_model(name: str, options: LoadOptions | None = None, say: Say | None = None) -> TransformersMLLM:
    """Resolve, check and load a model.

    Args:
        name: hub id or folder.
        options: precision, device, quantization, image tokens.
        say: told what is being done, memory needed before anything is loaded, and how far a download is.

    Raises:
        ModelError: the model cannot be found, fetched, trusted, or held by this machine.
    """
    options, say = options or LoadOptions(), say or (lambda _: None)
    device = memory.pick_device(options.device)
    dtype = memory.pick_dtype(options.dtype, device)
    scheme = _quantizer(options.quantization, device)
    checkpoint = resolve(name, say)
    need = _need(checkpoint, dtype, options.quantization)
    free = memory.free_bytes(device)
    room = "" if free is None else f"; {memory.gigabytes(free)} free"
    say(f"{checkpoint.name} needs {need} on {device}{room}\n")
    alternatives = {f"--dtype {dtype}": _need(checkpoint, dtype, "none") for dtype in ("float32", "bfloat16")}
    alternatives |= {
        f"--quantization {q}": _need(checkpoint, dtype, q)
        for q in get_args(memory.Quantization)
        if q != "none" and _find_quantizer(q, device) is not None
    }
    memory.check_fit(need, alternatives, checkpoint.name, device, free)
    say(f"loading {checkpoint.name}")
    return _load(checkpoint, options, device, dtype, scheme)


def resolve(name: str, say: Say) -> Checkpoint:
    """Find a model's folder, fetching it where it is a hub id; refuse what cannot be loaded before its weights come.

    Raises:
        ModelError: as for `open_model`.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return read_checkpoint(folder)
    if not hub.is_hub_id(name):
        raise ModelError(f"{name} is no folder and no hub id; expected one, such as Qwen/Qwen2.5-VL-7B-Instruct")
    say(f"looking up {name}")
    folder, version = hub.fetch_description(name)
    family_of(read_config(folder, name), name)
    return read_checkpoint(hub.fetch_weights(name, say), name, version)


def _need(checkpoint: Checkpoint, dtype: str, quantization: memory.Quantization) -> memory.Need:
    return memory.need_of(checkpoint.num_parameters, memory.text_part(checkpoint.config), dtype, quantization)


def _quantizer(quantization: memory.Quantization, device: str) -> str | None:
    """The installed library that quantizes, if any is asked for.

    Raises:
        ModelError: none is installed, or none works on the device.
    """
    if quantization == "none":
        return None
    library = _find_quantizer(quantization, device)
    if library is not None:
        return library
    raise ModelError(
        f"found --quantization {quantization} on {device}; expected bitsandbytes or torchao to be installed and to "
        "work there: pip install bitsandbytes, or leave the option out"
    )


def _find_quantizer(quantization: memory.Quantization, device: str) -> str | None:
    """The library that would quantize, if one is installed that works on the device."""
    on_gpu = device.startswith("cuda")
    for library, works in (("bitsandbytes", on_gpu), ("torchao", on_gpu or quantization == "8bit")):
        if works and importlib.util.find_spec(library) is not None:
            return library
    return None


def _quantization_config(scheme: str, quantization: str, dtype: Any) -> Any:
    if scheme == "bitsandbytes":
        from transformers import BitsAndBytesConfig

        if quantization == "8bit":
            return BitsAndBytesConfig(load_in_8bit=True)
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig  # type: ignore[import-not-found,unused-ignore]
    from transformers import TorchAoConfig

    return TorchAoConfig(Int8WeightOnlyConfig() if quantization == "8bit" else Int4WeightOnlyConfig())


def _load(
    checkpoint: Checkpoint, options: LoadOptions, device: str, dtype: str, scheme: str | None
) -> TransformersMLLM:
    import torch
    import transformers
    from safetensors import SafetensorError

    family, folder = checkpoint.family, checkpoint.folder
    precision = getattr(torch, dtype)
    more: dict[str, Any] = {}
    if scheme is not None:
        more["quantization_config"] = _quantization_config(scheme, options.quantization, precision)
    if device != "cpu" and importlib.util.find_spec("accelerate") is not None:
        more["device_map"] = {"": device}  # straight to the device, never twice in main memory
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            processor = _image_processor(family, folder)
            model, report = getattr(transformers, family.architecture).from_pretrained(
                folder, dtype=precision, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **more
            )
    except (OSError, ValueError, KeyError, TypeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{checkpoint.name} cannot be loaded as {family.title} ({type(error).__name__}: {reason}); fetch it again, "
            "or update transformers"
        ) from error
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{checkpoint.name} does not fit on {device} after all; close other programs, or take --quantization 4bit"
        ) from error
    lacking = sorted(report["missing_keys"])
    if lacking or report["mismatched_keys"]:
        what = lacking[0] if lacking else str(next(iter(report["mismatched_keys"])))
        raise ModelError(
            f"{checkpoint.name} lacks weights of a {family.title} ({len(lacking)} would stay random, such as {what}); "
            "fetch it again"
        )
    if "device_map" not in more and scheme is None:
        model = model.to(device)
    template = chat_template(tokenizer, family, _stored_template(folder))
    loaded = f"{of_folder(checkpoint.folder)} {dtype} {options.quantization} {options.max_image_tokens}"
    fingerprint = hashlib.sha256(loaded.encode()).hexdigest()[:16]
    return TransformersMLLM(
        model, tokenizer, processor, family, template, checkpoint.name, checkpoint.version, options.max_image_tokens,
        fingerprint,
    )  # fmt: skip


def _image_processor(family: Family, folder: Path) -> Any:
    """The family's own with Pillow, or ours where it has none."""
    from transformers import AutoImageProcessor

    if family.pillow is None:
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False, backend="pil")
    from reason_iad.models import pillow_processors

    return getattr(pillow_processors, family.pillow).from_pretrained(folder)


def _stored_template(folder: Path) -> str | None:
    """A chat template that lies beside the tokenizer; None leaves the tokenizer its own."""
    plain, wrapped = folder / "chat_template.jinja", folder / "chat_template.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if plain.is_file():
            return plain.read_text(encoding="utf-8")
        if wrapped.is_file():
            return str(json.loads(wrapped.read_text(encoding="utf-8"))["chat_template"])
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bars or notes of transformers within: they would tear the tool's own progress."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
