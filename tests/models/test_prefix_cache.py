"""Beginnings of prompts are found by content and bounded by bytes."""

from __future__ import annotations

import dataclasses

import torch

from reason_iad.models.attention import Segment
from reason_iad.models.base import ImageLayout, ImageTokens, Prefix
from reason_iad.models.prefix_cache import PrefixCache, digest_of

BYTES = 2 * 4 * 10  # of a prefix below: keys and values of ten float32 numbers


def prefix() -> Prefix:
    keys = (torch.zeros(1, 1, 10, 1),)
    return Prefix((Segment(keys, keys),), 10)


def image(seed: int) -> ImageTokens:
    return ImageTokens(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)), (2, 2), (8, 8))


def new(max_bytes: int = 10 * BYTES) -> PrefixCache:
    return PrefixCache(lambda text: list(text.encode()), max_bytes)


def test_equal_content_is_found_whatever_objects_hold_it():
    cache = new()
    first = cache.recall(["notes", image(0)], prefix)
    assert cache.recall(["notes", image(0)], prefix) is first
    assert cache.recall(["notes", image(1)], prefix) is not first
    assert cache.recall(["note", "s", image(0)], prefix) is not first
    assert (cache.hits, cache.misses) == (1, 3)


def test_a_change_of_layout_alone_is_another_content():
    plain = image(0)
    layouts = [ImageLayout(plain.embeds, torch.arange(4), advance=advance) for advance in (None, 2)]
    images = [plain, *(dataclasses.replace(plain, layout=layout) for layout in layouts)]
    assert len({digest_of(one) for one in images}) == 3


def test_bytes_are_bounded_and_the_least_recently_used_leave_first():
    cache = new(2 * BYTES)
    first = cache.recall(["a"], prefix)
    cache.recall(["b"], prefix)
    assert cache.recall(["a"], prefix) is first
    cache.recall(["c"], prefix)
    assert cache.num_bytes == 2 * BYTES
    assert cache.recall(["a"], prefix) is first
    assert cache.misses == 3
    cache.recall(["b"], prefix)
    assert cache.misses == 4


def test_a_beginning_larger_than_the_bound_is_given_and_not_kept():
    cache = new(BYTES - 1)
    assert cache.recall(["a"], prefix).length == 10
    assert cache.num_bytes == 0
