"""What words claim, and how they are held against what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.naming import extent, look_numbers
from reason_iad.naming.describe import LENGTH, split_blocks
from reason_iad.naming.wording import MEASURED, claimed, fits, stored_weights, term_names, terms

CRACK = "crack: A thin, dark, jagged line."
STAIN = "stain: A large area, brighter than the rest, with a gradual border, along an edge."


def described(**numbers: float) -> np.ndarray:
    """A description of which only these numbers are known."""
    vector = np.zeros(LENGTH, np.float32)
    blocks = split_blocks(vector[None])
    for block, names in (("numbers", look_numbers.NAMES), ("extent", extent.EXTENT), ("map", extent.MAP)):
        for index, name in enumerate(names):
            blocks[block][0, index] = numbers.get(name, 0.0)
    return vector


def test_words_claim_attributes_and_are_silent_on_others():
    crack, stain = (dict(zip(MEASURED, claimed(text), strict=True)) for text in (CRACK, STAIN))
    assert (crack["long"], crack["tone"], crack["size"], crack["rough"]) == (1.0, -1.0, 0.0, 1.0)
    assert (stain["size"], stain["tone"], stain["sharp"], stain["edge"]) == (1.0, 1.0, -1.0, 1.0)


def test_a_noun_says_a_shape_where_no_adjective_does():
    long = list(MEASURED).index("long")
    assert (claimed("pore")[long], claimed("scratch")[long], claimed("wrong part")[long]) == (-1.0, 1.0, 0.0)


@pytest.mark.parametrize(("step", "best"), [(-1.0, 0), (1.0, 1)])
def test_the_type_whose_claims_were_measured_fits_best(step, best):
    weights = np.array([1.0 if name in ("tone.step", "tone.contrast") else 0.0 for name in term_names()])
    found = fits([CRACK, STAIN], described(step=step, contrast=step), weights)
    assert found.argmax() == best


def test_a_type_that_claims_nothing_has_no_term():
    assert not terms(["wrong part"], described(step=1.0, whole_size=1.0)).any()


def test_every_term_has_a_stored_weight():
    assert stored_weights().shape == (len(term_names()),)
    assert np.count_nonzero(stored_weights()) > len(term_names()) / 2
