"""Beginnings of prompts that many images share, processed once: a product's knowledge and references.

They are found again by content, the tokens of every text and the digest of every image, and are bounded by bytes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch

from reason_iad.models.base import ImageTokens, Prefix

Parts = Sequence[str | ImageTokens]
MAX_BYTES = 1 << 30  # keys and values of 18,000 tokens of a model of 7 billion parameters


class PrefixCache:
    """Processed beginnings of prompts of one model; the least recently used leave first.

    Args:
        tokenize: gives the tokens of a text.
        max_bytes: of keys and values; a beginning that is larger is not kept.
    """

    def __init__(self, tokenize: Callable[[str], Sequence[int]], max_bytes: int = MAX_BYTES) -> None:
        self._tokenize, self.max_bytes = tokenize, max_bytes
        self._found: OrderedDict[bytes, Prefix] = OrderedDict()
        self.hits = self.misses = 0

    @property
    def num_bytes(self) -> int:
        """What is held."""
        return sum(_size(prefix) for prefix in self._found.values())

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()

    def recall(self, parts: Parts, process: Callable[[], Prefix]) -> Prefix:
        """What `process` gives for these parts, or gave when they were last asked for."""
        key = self._key(parts)
        if key in self._found:
            self.hits += 1
            self._found.move_to_end(key)
            return self._found[key]
        self.misses += 1
        prefix = process()
        if _size(prefix) <= self.max_bytes:
            self._found[key] = prefix
            while self.num_bytes > self.max_bytes:
                self._found.popitem(last=False)
        return prefix

    def _key(self, parts: Parts) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            if isinstance(part, str):
                digest.update(b"text" + repr(tuple(self._tokenize(part))).encode())
            else:
                digest.update(b"image" + (part.digest or digest_of(part)))
        return digest.digest()


def digest_of(image: ImageTokens) -> bytes:
    """Digest of an image by its embeddings and how they are laid out, where its encoder gave none."""
    layout = image.layout
    tensors = [image.embeds]
    if layout is not None:
        given = (layout.embeds, layout.patches, layout.positions, layout.mutual, *layout.deeper.values())
        tensors += [tensor for tensor in given if tensor is not None]
    digest = hashlib.blake2b(repr((image.grid_hw, None if layout is None else layout.advance)).encode(), digest_size=16)
    for tensor in tensors:
        digest.update(repr(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _size(prefix: Prefix) -> int:
    return sum(segment.num_bytes for segment in prefix.segments)
