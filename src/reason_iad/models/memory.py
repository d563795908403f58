"""How much memory a model needs, and what this machine has free; nothing is loaded to find out.

    needed = parameters x bytes each + keys and values of 8,192 tokens, and a tenth on top

The tenth covers activations of a prompt that is read in one pass, and the runtime's own buffers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reason_iad.errors import ModelError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "8bit", "4bit"]
PROMPT_TOKENS = 8192  # image, three references and text
_OVERHEAD = 1.1
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_QUANTIZED = {"8bit": 1.1, "4bit": 0.65}  # bytes a parameter, the unquantized embeddings and scales spread over all


@dataclass(frozen=True)
class Need:
    """Memory of one model in one precision, in bytes."""

    weights: int
    keys_and_values: int
    precision: str

    @property
    def total(self) -> int:
        """All of it."""
        return int((self.weights + self.keys_and_values) * _OVERHEAD)

    def __str__(self) -> str:
        """As it is printed before loading."""
        return (
            f"{gigabytes(self.total)} in {self.precision} (weights {gigabytes(self.weights)}, "
            f"keys and values of {PROMPT_TOKENS:,} tokens {gigabytes(self.keys_and_values)}, and 10 %)"
        )


def need_of(
    num_parameters: int, text_config: Mapping[str, Any], dtype: str, quantization: Quantization = "none"
) -> Need:
    """Memory that a model needs.

    Args:
        num_parameters: of the whole model.
        text_config: of its decoder: layers, heads, width.
        dtype: float32, bfloat16 or float16.
        quantization: of the weights; keys and values stay in `dtype`.
    """
    each = _BYTES[dtype] if quantization == "none" else _QUANTIZED[quantization]
    return Need(
        int(num_parameters * each),
        int(cache_entries(text_config) * PROMPT_TOKENS * _BYTES[dtype]),
        dtype if quantization == "none" else quantization,
    )


def cache_entries(text_config: Mapping[str, Any]) -> int:
    """Numbers that one token leaves in the cache: keys and values of every layer and key-value head."""
    heads = int(text_config.get("num_attention_heads") or 32)
    groups = int(text_config.get("num_key_value_heads") or heads)
    width = int(text_config.get("head_dim") or int(text_config.get("hidden_size") or 4096) // heads)
    return 2 * int(text_config.get("num_hidden_layers") or 32) * groups * width


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The decoder's part of a configuration, which older files keep at the top."""
    part = config.get("text_config")
    return part if isinstance(part, Mapping) and part.get("hidden_size") else {**config, **(part or {})}


def pick_device(device: str) -> str:
    """The device to load on: the one named, or the best that is there.

    Raises:
        ModelError: no such device here.
    """
    import torch

    apple = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if apple else "cpu"
    kind = device.partition(":")[0]
    there = kind == "cpu" or (kind == "mps" and apple)
    if kind == "cuda" and torch.cuda.is_available():
        number = device.partition(":")[2] or "0"
        there = number.isdecimal() and int(number) < torch.cuda.device_count()
    if not there:
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), *(["mps"] if apple else [])]
        raise ModelError(f"found --device {device}; this machine has {', '.join(here)}: choose one, or leave it out")
    return device


def pick_dtype(dtype: Dtype, device: str) -> str:
    """The precision to load in: the one named, or the fastest that the device computes in."""
    import torch

    if dtype != "auto":
        return dtype
    if device == "cpu":
        return "float32"  # without its instructions bfloat16 is several times slower on a CPU
    return "bfloat16" if device == "mps" or torch.cuda.is_bf16_supported() else "float16"


def free_bytes(device: str) -> int | None:
    """Memory that is free on a device; None where nobody says."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory()) - int(torch.mps.current_allocated_memory())
    return _free_main_memory()


def _free_main_memory() -> int | None:
    """What Linux says is available, within the limit of a container."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return available
    return min(available, int(limit) - used) if limit.isdecimal() else available


def check_fit(need: Need, alternatives: Mapping[str, Need], name: str, device: str, free: int | None) -> None:
    """Refuse a model that does not fit, before anything is loaded.

    Raises:
        ModelError: what is needed, what is free, and which options would fit.
    """
    if free is None or need.total <= free:
        return
    fitting = [f"{option} ({gigabytes(other.total)})" for option, other in alternatives.items() if other.total <= free]
    advice = f"would fit: {', '.join(fitting)}" if fitting else "take a smaller model, or a machine with more memory"
    raise ModelError(f"{name} needs {need}; {device} has {gigabytes(free)} free: {advice}")


def gigabytes(count: float) -> str:
    """Bytes in words.

    >>> gigabytes(16_600_000_000), gigabytes(512_000_000)
    ('16.6 GB', '0.5 GB')
    """
    return f"{count / 1e9:.1f} GB"
