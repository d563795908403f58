"""Where a training is: checkpoints that a stopped run goes on from, and the adapter that is made of the last one."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reason_iad.files import replacing
from reason_iad.training.train_options import TrainOptions

FITTED = ("fusion", "options", "answers")  # settings that are fitted to an adapter behind its training


def save(
    folder: Path,
    adapter: dict[str, Any],
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
    spent: float,
    options: TrainOptions,
) -> None:
    """Write a checkpoint atomically: weights, their average, the optimizer's moments, and where the run is."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weights.{n}": p.detach().contiguous() for n, p in adapter.items()}
    tensors |= {f"average.{n}": p.contiguous() for n, p in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = value.clone().contiguous()
    record = {"step": step, "seconds": spent, "options": asdict(options)}
    with replacing(folder / "checkpoint.safetensors") as draft:
        save_file(tensors, draft, {"run": json.dumps(record)})


def resume(
    folder: Path, adapter: dict[str, Any], average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load the last checkpoint of a run, if there is one; returns its step and seconds."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0, 0.0
    with safe_open(path, "pt") as file, torch.no_grad():
        run = json.loads(file.metadata()["run"])
        for n, p in adapter.items():
            p.copy_(file.get_tensor(f"weights.{n}"))
            average[n].copy_(file.get_tensor(f"average.{n}"))
        state: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key in file.keys():  # noqa: SIM118
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                state[int(index)][name] = file.get_tensor(key)
    optimizer.load_state_dict({"state": dict(state), "param_groups": optimizer.state_dict()["param_groups"]})
    print(f"resuming at step {run['step']}, {run['seconds'] / 60:.1f} min")
    return int(run["step"]), float(run["seconds"])


def export(run_folder: Path, out: Path, version: str, start: Path | None = None) -> str:
    """Write the averaged weights as an adapter, in the form that ships with the package; returns what it did.

    Args:
        run_folder: of the training.
        out: folder of the adapter.
        version: of the adapter.
        start: an adapter whose fitted settings are kept until they are fitted again.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(run_folder / "checkpoint.safetensors", "pt") as file:
        run = json.loads(file.metadata()["run"])
        names = [k.removeprefix("average.") for k in file.keys() if k.startswith("average.")]  # noqa: SIM118
        tensors = {n: file.get_tensor(f"average.{n}") for n in names}
    scale = float(tensors.pop("log_scale").exp())
    out.mkdir(parents=True, exist_ok=True)
    save_file({n: t.to(torch.float16).contiguous() for n, t in tensors.items()}, out / "adapter.safetensors")
    settings = {"version": version, "answer_scale": scale, "lora_scale": run["options"]["lora_scale"]}
    fitted = {} if start is None else json.loads((start / "adapter.json").read_text())
    kept = {name: fitted[name] for name in FITTED if name in fitted}
    settings |= {"reads_hue": True, "run": run, **kept}
    (out / "adapter.json").write_text(json.dumps(settings, indent=1) + "\n")
    size = (out / "adapter.safetensors").stat().st_size
    return f"{out}: {size / 1e6:.1f} MB after {run['step']} updates, answer scale {scale:.2f}"
