"""Vectors of the starter knowledge, so that a first search need not encode it.

They are made by the bundled encoder, kept as float16 under the hash of their text (cosine to the float32 ones above
0.9999), and only save time: a text that is not among them is encoded when it is first needed.
`python -m reason_iad.knowledge.starter` makes them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reason_iad.errors import KnowledgeError
from reason_iad.files import write_whole
from reason_iad.knowledge.database import text_hash
from reason_iad.knowledge.encoders import Encoder, SentenceEncoder, Vectors
from reason_iad.knowledge.entries import STARTER_FOLDER, load_entries

STARTER_VECTORS = STARTER_FOLDER / "vectors.safetensors"


def starter_vectors(encoder_name: str, path: Path = STARTER_VECTORS) -> dict[str, Vectors]:
    """Vectors (d,) by hash of their text; empty for an encoder that did not make them, or without the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "numpy") as file:
            if (file.metadata() or {}).get("encoder") != encoder_name:
                return {}
            keys, vectors = file.get_tensor("keys"), file.get_tensor("vectors").astype(np.float32)
    except FileNotFoundError:
        return {}
    except (SafetensorError, OSError) as error:
        raise KnowledgeError(f"{path} is damaged ({error}); install the program again") from error
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return {bytes(key).hex(): vector for key, vector in zip(keys, vectors, strict=True)}


def save_vectors(texts: Sequence[str], encoder: Encoder, path: Path = STARTER_VECTORS) -> None:
    """Encode texts and keep their vectors, those that are in the file already as they are."""
    from safetensors.numpy import save

    hashes = {text_hash(text): text for text in sorted(set(texts))}
    known = starter_vectors(encoder.name, path)
    fresh = [text for name, text in hashes.items() if name not in known]
    known |= dict(zip((text_hash(text) for text in fresh), encoder.encode(fresh), strict=True))
    names = sorted(hashes)
    keys = np.frombuffer(bytes.fromhex("".join(names)), np.uint8).reshape(-1, 32).copy()
    vectors = np.stack([known[name] for name in names]).astype(np.float16)
    write_whole(path, save({"keys": keys, "vectors": vectors}, {"encoder": encoder.name}))


def main() -> int:
    """Make the file anew after the starter knowledge was edited."""
    texts = [entry.text for entry in load_entries()]
    save_vectors(texts, SentenceEncoder.load())
    print(f"{STARTER_VECTORS}: {len(texts)} vectors, {STARTER_VECTORS.stat().st_size:,} bytes", file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
