"""The few-shot rule and what is made of it, against closed forms and made-up types."""

from __future__ import annotations

import numpy as np
import pytest

from reason_iad.naming.describe import BLOCKS, LENGTH
from reason_iad.naming.examples import DefectExample, DefectExamples
from reason_iad.naming.few_shot import FewShot, weighted
from reason_iad.naming.namer import NONE, Namer, NamerSettings

SETTINGS = NamerSettings.load()


def vectors(kind: int, count: int, seed: int, noise: float = 0.3) -> np.ndarray:
    """Descriptions about a middle that a type has for its own."""
    middle = np.random.default_rng(kind).normal(size=LENGTH)
    middle[: BLOCKS["numbers"] + BLOCKS["change"]] *= 0.3
    rng = np.random.default_rng(1000 + seed)
    return (middle + noise * rng.normal(size=(count, LENGTH))).astype(np.float32)


def namer(shots: int, kinds: int = 3, noise: float = 0.3) -> Namer:
    found = []
    for kind in range(kinds):
        for index, vector in enumerate(vectors(kind, shots, kind, noise)):
            sha = f"{kind}-{index}"
            found.append(
                DefectExample(
                    f"type {kind}", f"{sha}.png", sha, (9, 9), (0, 0, 9, 9), vector[None], b"", "2026-01-02", ""
                )
            )
    return Namer(DefectExamples("made up", tuple(found), 1), SETTINGS)


def test_with_one_example_a_type_the_rule_is_that_of_nearest_means():
    points = np.random.default_rng(0).normal(size=(4, 6))
    queries = np.random.default_rng(1).normal(size=(50, 6))
    scores, _ = FewShot(points, np.arange(4), np.arange(4)).scores(queries)
    pulled = points.mean(0) + (points - points.mean(0)) / 2  # each mean lies half way to the mean of all
    nearest = np.linalg.norm(queries[:, None] - pulled[None], axis=2).argmin(1)
    np.testing.assert_array_equal(scores.argmax(1), nearest)


def test_with_many_examples_the_rule_is_linear_discriminant_analysis():
    rng = np.random.default_rng(2)
    spread = np.array([3.0, 0.2])
    points = np.concatenate([rng.normal(size=(400, 2)) * spread, rng.normal(size=(400, 2)) * spread + [0, 1]])
    rule = FewShot(points, np.repeat([0, 1], 400), np.arange(800), shrink=1e-6)
    scores, _ = rule.scores(np.array([[2.0, 0.1], [-2.0, 0.9]]))
    expected = np.array([[(0 - 0.1) ** 2, (1 - 0.1) ** 2], [(0 - 0.9) ** 2, (1 - 0.9) ** 2]]) / -(2 * 0.2**2)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], expected[:, 1] - expected[:, 0], rtol=0.15)


def test_distances_count_what_no_example_varies_in():
    points = np.zeros((4, 3))
    points[:, 0] = [0, 1, 4, 5]
    rule = FewShot(points, np.array([0, 0, 1, 1]), np.arange(4))
    _, near = rule.scores(np.array([[0.5, 0.0, 0.0]]))
    _, far = rule.scores(np.array([[0.5, 9.0, 0.0]]))
    assert far[0] > 5 * near[0] + 10


def test_leaving_out_is_what_fitting_without_the_image_gives():
    made = namer(3)
    assert made.rule is not None
    scores, distances = made.rule.left_out
    kept = np.arange(9) != 4
    again = FewShot(made.rule.points[kept], made.rule.labels[kept], made.rule.groups[kept])
    expected, far = again.scores(made.rule.points[4:5])
    np.testing.assert_allclose(scores[4], expected[0])
    np.testing.assert_allclose(distances[4], far[0])


@pytest.mark.parametrize("shots", [1, 4, 16])
def test_new_areas_are_named_and_probabilities_sum_to_one(shots):
    made = namer(shots, kinds=5)
    for kind in range(3):
        named = made.name(vectors(kind, 1, 77)[0])
        assert named is not None
        best = next(one for one in named.types if one.name != NONE)
        assert best.name == f"type {kind}"
        assert sum(one.probability for one in named.types) == pytest.approx(1)
        assert all(one.defect_type == best.name for one in named.nearest)
        assert len(named.nearest) == min(2, shots)
        assert named.rival is not None
        assert named.rival.defect_type != best.name
        assert "times as far" in (named.against or "")


def test_what_is_unlike_all_examples_is_none_of_these():
    made = namer(8)
    known, unknown = (made.name(vectors(kind, 1, 5)[0]) for kind in (1, 9))
    assert known is not None
    assert unknown is not None
    shares = [next(t.probability for t in one.types if t.name == NONE) for one in (known, unknown)]
    assert shares[1] > shares[0]
    assert unknown.best.name == NONE


def test_one_type_alone_is_it_or_none_of_these():
    made = namer(6, kinds=1)
    own, other = (made.name(vectors(kind, 1, 3)[0]) for kind in (0, 5))
    assert own is not None
    assert other is not None
    assert {one.name for one in own.types} == {"type 0", NONE}
    assert own.best.name == "type 0"
    assert other.best.name == NONE


def test_without_examples_what_was_said_counts_alone():
    made = Namer(DefectExamples("new"), SETTINGS)
    named = made.name(np.zeros(LENGTH, np.float32), {"scratch": 0.7, "dent": 0.3})
    assert named is not None
    assert [(one.name, one.probability) for one in named.types] == [("scratch", 0.7), ("dent", 0.3)]
    assert made.name(np.zeros(LENGTH, np.float32)) is None


def test_the_model_tips_the_scale_between_types_that_look_alike():
    made = namer(1, kinds=2, noise=0.0)
    both = (vectors(0, 1, 0, 0.0)[0] + vectors(1, 1, 0, 0.0)[0]) / 2
    for likely in (0, 1):
        said = {f"Type {likely}": 0.9, f"type-{1 - likely}": 0.1}
        named = made.name(both, said)
        assert named is not None
        assert next(one.name for one in named.types if one.name != NONE) == f"type {likely}"


def test_types_that_only_the_knowledge_names_share_what_is_left():
    made = namer(8, kinds=2)
    named = made.name(vectors(9, 1, 5)[0], {"type 0": 0.2, "type 1": 0.2, "burr": 0.6})
    assert named is not None
    shares = {one.name: one.probability for one in named.types}
    assert shares["burr"] > max(shares["type 0"], shares["type 1"])
    assert sum(shares.values()) == pytest.approx(1)


def test_alike_descriptions_do_not_break_the_rule():
    vector = vectors(0, 1, 0)[0]
    found = tuple(
        DefectExample(f"type {i}", "a.png", str(i), (9, 9), (0, 0, 9, 9), vector[None], b"", "", "") for i in range(3)
    )
    named = Namer(DefectExamples("same", found, 1), SETTINGS).name(vector)
    assert named is not None
    assert all(np.isfinite(one.probability) for one in named.types)


def test_parts_of_features_have_the_length_of_their_weight():
    points = weighted(vectors(0, 2, 0), {"window": 0.5, "area": 2.0})
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), np.hypot(0.5, 2.0))


@pytest.mark.parametrize(("shots", "share"), [(1, 0.5), (6, 0.9)])
def test_how_far_is_usual_is_told_by_the_examples_left_out(shots, share):
    made = namer(shots, kinds=5)
    far = made.rule.left_out[1]
    assert made.usual == pytest.approx(np.quantile(far[np.isfinite(far)], share))
