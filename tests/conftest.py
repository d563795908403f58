"""Fixtures shared by all tests: a miniature random model of the bundled one's structure, and where the data lies."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

if (processes := os.environ.get("PYTEST_XDIST_WORKER_COUNT")) is not None:
    # Before numpy and torch are imported: threads of several processes that wait for each other's cores are many
    # times slower than one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(processes))))

import numpy as np
import pytest
from databases import databases, shared_url  # noqa: F401 - fixtures of all folders
from hypothesis import settings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "inspection"


TORCH_SEED = 67280421310721  # what torch begins with: a test that imports it first draws the same as after others


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores, for much of the suite waits for servers; each takes up to 1.5 GB."""
    return min(4, (os.cpu_count() or 1) + 1)


settings.register_profile("repeatable", derandomize=True, database=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def same_draws_whatever_ran_before() -> None:
    """Every test draws the same random numbers alone, in its file and in the whole suite."""
    random.seed(0)
    np.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(TORCH_SEED)


@pytest.fixture(scope="session")
def inspection_data() -> Path:
    """The real inspection images, where they lie beside the checkout."""
    if not (DATA / "manifest.csv").exists():
        pytest.skip(f"no inspection images at {DATA}")
    return DATA


class ByteTokenizer:
    """One token a byte, and one for each special token: needs no download."""

    special = ("<|im_start|>", "<|im_end|>")
    size = 256 + len(special)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        ids: list[int] = []
        while text:
            for number, token in enumerate(self.special):
                if text.startswith(token):
                    ids.append(256 + number)
                    text = text[len(token) :]
                    break
            else:
                ids.extend(text[0].encode())
                text = text[1:]
        return ids

    def decode(self, token_ids: list[int], skip_special_tokens: bool = True) -> str:
        return bytes(i for i in token_ids if i < 256).decode(errors="replace")


@pytest.fixture(scope="session")
def tiny_nano():
    """A random model with the bundled one's structure: 4 layers, grouped heads, byte tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from reason_iad.models.llama_graph import LlamaShape
    from reason_iad.models.nano import NanoModel, Projector, StreamWidths
    from reason_iad.models.torch_layers import TorchLayers
    from reason_iad.models.vision import BundledVision

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=ByteTokenizer.size, hidden_size=48, intermediate_size=96, num_hidden_layers=4,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
        initializer_range=0.2,
    )  # fmt: skip
    language_model = LlamaForCausalLM(config).float()
    layers = TorchLayers.from_transformers(language_model.model, language_model.lm_head)
    shape = LlamaShape.from_config(config.to_dict(), 2048)
    projector = Projector(StreamWidths(), 48, reduced=16, inner=32)
    latents = torch.randn(4, 48) * 0.2
    settings = {"version": "tiny", "answer_scale": 4.0, "lora_scale": 1.0}
    return NanoModel(layers, shape, ByteTokenizer(), BundledVision.random(), projector, latents, settings)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A smooth random picture (96, 128, 3)."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.kron(small, np.ones((16, 16, 1), dtype=np.uint8))
