"""What the bundled model's graphs are made from, told without torch: they are opened while it is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from reason_iad import weights
from reason_iad.errors import ReasonIADError
from reason_iad.files import sha256_of_file
from reason_iad.models import graph_cache, llama_graph, vision_graph
from reason_iad.models.graph_cache import GraphSource
from reason_iad.models.llama_graph import LlamaShape
from reason_iad.processor import choose

DECODER, VIT, EFFICIENTNET = "language-model", "vit", "efficientnet"  # names of the graphs
PARTS = {DECODER: "smollm2-135m", VIT: "vit-s14", EFFICIENTNET: "efficientnet-lite0"}  # and of their weights
CONTEXT = 2048  # tokens; the adapter saw no longer prompts


def default_adapter() -> Path:
    """Folder of the adapter that ships with the package."""
    return Path(__file__).parents[1] / "data" / "nano"


def read_shape(folder: Path) -> LlamaShape:
    """Sizes of the language model in `folder`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return LlamaShape.from_config(config, min(int(config["max_position_embeddings"]), CONTEXT))


def decoder_source(folder: Path, adapter: Path) -> GraphSource:
    """The decoder: the weights in `folder` with the updates in `adapter`."""
    scale = json.loads((adapter / "adapter.json").read_text(encoding="utf-8"))["lora_scale"]
    merged = (sha256_of_file(adapter / "adapter.safetensors"), f"{scale}", f"{read_shape(folder)}")
    return GraphSource(DECODER, llama_graph.VERSION, (graph_cache.weights_digest(folder), *merged))


def tower_source(name: str, folder: Path) -> GraphSource:
    """A vision tower: the weights in `folder`."""
    return GraphSource(name, vision_graph.VERSION, (graph_cache.weights_digest(folder),))


def all_sources(folders: Mapping[str, Path]) -> list[GraphSource]:
    """Every graph of the bundled model whose weights lie in `folders`, by its name."""
    found = [tower_source(name, folders[name]) for name in (VIT, EFFICIENTNET) if name in folders]
    return found if DECODER not in folders else [decoder_source(folders[DECODER], default_adapter()), *found]


def begin(model: str) -> None:
    """Begin to open the graphs of the bundled model, where `model` is it and the cache holds them.

    What cannot be read is left to the loading that follows, which explains it.
    """
    try:
        arithmetic = choose()
        states = {status.part.name: status for status in weights.verify(tuple(PARTS.values()), full=False)}
        folders = {name: states[part].path for name, part in PARTS.items() if states[part].state == "cached"}
        if model != "nano" or arithmetic.weights != "onnxruntime":
            folders.pop(DECODER, None)
        if arithmetic.towers == "onnxruntime" or DECODER in folders:
            graph_cache.begin(all_sources(folders))
    except (ReasonIADError, OSError, ValueError, KeyError):
        return
