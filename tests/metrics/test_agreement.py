"""Reliability from agreement alone: beside crowd-kit, the textbook's loops, and simulated annotators of known skill."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reason_iad.errors import InputError
from reason_iad.metrics.agreement import dawid_skene, one_coin, shared_errors


def simulated(n, tables, seed=0, priors=(0.4, 0.6)):
    """Truth and votes of annotators with known tables of confusion."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(priors), n, p=priors)
    votes = np.stack([[rng.choice(len(priors), p=table[t]) for t in truth] for table in tables], axis=1)
    return truth, votes


GOOD, FAIR, POOR = [[0.9, 0.1], [0.15, 0.85]], [[0.8, 0.2], [0.3, 0.7]], [[0.5, 0.5], [0.5, 0.5]]


def textbook(votes, k, iterations):
    """Dawid and Skene's equations 2.3 to 2.5, one sum at a time."""
    n, m = votes.shape
    posterior = [[sum(votes[i, a] == c for a in range(m)) / sum(votes[i, a] >= 0 for a in range(m)) for c in range(k)]
                 for i in range(n)]  # fmt: skip
    for _ in range(iterations):
        prior = [sum(posterior[i][c] for i in range(n)) / n for c in range(k)]
        table = [[[0.0] * k for _ in range(k)] for _ in range(m)]
        for a in range(m):
            for true in range(k):
                total = sum(posterior[i][true] for i in range(n) if votes[i, a] >= 0)
                for said in range(k):
                    hit = sum(posterior[i][true] for i in range(n) if votes[i, a] == said)
                    table[a][true][said] = hit / total
        for i in range(n):
            joint = []
            for true in range(k):
                product = prior[true]
                for a in range(m):
                    if votes[i, a] >= 0:
                        product *= table[a][true][votes[i, a]]
                joint.append(product)
            posterior[i] = [one / sum(joint) for one in joint]
    return np.array(posterior)


@pytest.mark.parametrize("k", [2, 3])
def test_dawid_skene_is_that_of_the_textbook(k):
    rng = np.random.default_rng(k)
    tables = [
        np.eye(k) * 0.6 + 0.4 / k,
        np.eye(k) * 0.4 + 0.6 / k,
        np.eye(k) * 0.7 + 0.3 / k,
        np.eye(k) * 0.5 + 0.5 / k,
    ]
    _, votes = simulated(80, tables, priors=[1 / k] * k)
    votes[rng.random(votes.shape) < 0.1] = -1
    votes[0] = 0
    found = dawid_skene(votes, k, max_iterations=25, tolerance=0.0)
    assert found.posteriors == pytest.approx(textbook(votes, k, 25), abs=1e-6)


def test_dawid_skene_is_that_of_crowd_kit():
    aggregation = pytest.importorskip("crowdkit.aggregation")
    pandas = pytest.importorskip("pandas")
    _, votes = simulated(300, [GOOD, FAIR, FAIR, POOR])
    rows = [(i, a, int(votes[i, a])) for i in range(len(votes)) for a in range(votes.shape[1])]
    theirs = aggregation.DawidSkene(n_iter=100, tol=1e-10).fit_predict_proba(
        pandas.DataFrame(rows, columns=["task", "worker", "label"])
    )
    mine = dawid_skene(votes, 2, max_iterations=100, tolerance=1e-10)
    assert mine.posteriors == pytest.approx(theirs.loc[range(len(votes)), [0, 1]].to_numpy(), abs=1e-4)


def test_skills_are_recovered_without_any_label():
    _, votes = simulated(3000, [GOOD, FAIR, FAIR, POOR])
    found = dawid_skene(votes, 2)
    for table, true in zip(found.confusion, (GOOD, FAIR, FAIR, POOR), strict=True):
        assert table == pytest.approx(np.array(true), abs=0.06)
    assert found.priors == pytest.approx([0.4, 0.6], abs=0.04)


def test_one_number_an_annotator_is_recovered_on_questions_with_different_numbers_of_options():
    rng = np.random.default_rng(4)
    sizes = rng.integers(2, 5, 2500)
    truth = np.array([rng.integers(size) for size in sizes])
    skills = (0.85, 0.6, 0.45)
    votes = np.empty((len(sizes), 3), dtype=int)
    for row, size in enumerate(sizes):
        for column, skill in enumerate(skills):
            wrong = [c for c in range(size) if c != truth[row]]
            votes[row, column] = truth[row] if rng.random() < skill else rng.choice(wrong)
    found = one_coin(votes, sizes.tolist())
    assert found.right == pytest.approx(skills, abs=0.06)
    right = (found.posteriors.argmax(1) == truth).mean()
    assert right >= (votes == truth[:, None]).mean(0).max() - 0.01
    assert all(found.posteriors[i, size:].sum() == 0 for i, size in enumerate(sizes))


def test_annotators_that_err_together_are_found():
    rng = np.random.default_rng(1)
    truth, votes = simulated(2000, [GOOD, FAIR, FAIR, FAIR])
    votes[:, 3] = np.where(rng.random(len(truth)) < 0.9, votes[:, 2], votes[:, 3])  # mostly copies another
    posteriors = np.eye(2)[truth]
    errors = shared_errors(votes, posteriors)
    assert errors[2, 3] > 0.7
    assert abs(errors[0, 1]) < 0.1


def test_votes_that_cannot_be_are_refused():
    for votes, message in (([[-1, -1]], "no votes"), ([[0, 2]], "vote 2")):
        with pytest.raises(InputError, match=message):
            dawid_skene(np.array(votes), 2)
    with pytest.raises(InputError, match="an item has not"):
        one_coin(np.array([[0, 2], [1, 1]]), [2, 3])
    assert math.isfinite(one_coin(np.array([[0, 1]]), [2]).right[0])
