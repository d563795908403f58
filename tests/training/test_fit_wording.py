"""The fit of what words, model and examples have to say, on made-up products."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from reason_iad.naming import extent, look_numbers
from reason_iad.naming.describe import BLOCKS, LENGTH
from reason_iad.training.fit_wording import Row, balance, fit, fit_share, measure

TEXTS = ("crack: A long dark line.", "pore: A small round hole.", "stain: A large bright patch.")
LOOKS = ((1.0, -0.5, -1.0), (-1.0, -1.0, -0.5), (0.0, 1.0, 1.0))  # elongation, size, step


def rows(product: str, seed: int, told: bool = True, apart: float = 0.0) -> list[Row]:
    """Ten images of each of three types; measured as their words say, or not; types lie `apart` for examples."""
    rng, found = np.random.default_rng(seed), []
    places = {name: i for i, name in enumerate(look_numbers.NAMES)}
    at = [places["elongation"], BLOCKS["numbers"] + extent.EXTENT.index("whole_size"), places["step"]]
    for kind, look in enumerate(LOOKS):
        for _ in range(10):
            vector = rng.normal(0, 0.3, LENGTH).astype(np.float32)
            vector[-300 + 100 * kind : -200 + 100 * kind or None] += apart
            if told:
                vector[at] += look
            found.append(Row(product, kind, TEXTS, vector, None, np.zeros(3), np.zeros(3)))
    return found


def test_words_that_hold_on_some_products_name_types_of_another():
    weights = fit([*rows("one", 1), *rows("two", 2)])
    accuracy, lost = measure(rows("three", 3), weights)
    assert accuracy > 0.8
    assert lost < np.log(3) / 2


def test_a_model_counts_by_how_often_it_is_right():
    def asked(right: float) -> list[Row]:
        rng = np.random.default_rng(0)
        said = [np.full(3, 0.1) for _ in range(30)]
        found = []
        for row, one in zip(rows("one", 1, told=False), said, strict=True):
            one[row.kind if rng.random() < right else int(rng.integers(3))] = 0.8
            found.append(Row(row.product, row.kind, row.texts, row.vector, one, row.words, row.good))
        return found

    assert fit(asked(0.9))[-1] > 0.5 > abs(fit(asked(0.0))[-1])


def test_examples_have_the_say_where_they_tell_types_apart_and_words_where_they_do_not():
    silent = {name: np.zeros(fit(rows("one", 1)).size) for name in ("one", "two")}
    apart, _, named = fit_share([*rows("one", 1, False, 3.0), *rows("two", 2, False, 3.0)], silent, 4)
    assert apart > 0.9
    assert named == 2 * 4 * 18
    weights = {name: fit(rows("three", 3)) for name in ("one", "two")}
    assert fit_share([*rows("one", 1), *rows("two", 2)], weights, 1)[0] < 0.6


def test_every_type_of_a_product_counts_alike():
    some = rows("one", 1)[:15]  # ten of the first type, five of the second
    shares = balance(some)
    assert shares[:10].sum() == pytest.approx(shares[10:].sum())
    assert shares.mean() == pytest.approx(1.0)
