"""Strict and official scoring against sums done by hand, following the official script line by line."""

from __future__ import annotations

import pytest

from reason_iad.errors import InputError
from reason_iad.metrics.multiple_choice import GivenAnswer, official_scores, read_letter, strict_counts

DETECTION, OBJECT, DEFECT = "Anomaly Detection", "Object Analysis", "Defect Classification"


def given(image: str, kind: str, target: str, answer: str | None) -> GivenAnswer:
    return GivenAnswer(image, image.split("/")[0], kind, target, answer)


def official_by_the_book(answers):
    """The official arithmetic as the script performs it: removal from the list under iteration, dictionaries."""
    rows = [[a.image, a.kind, a.target, a.given] for a in answers]
    kinds = {"Object Structure": OBJECT, "Object Details": OBJECT}
    stats, detection, types = {}, {}, []
    for image, kind, *_ in rows:
        stats.setdefault(image.split("/")[0], {})
        detection.setdefault(image.split("/")[0], {"normal": [0, 0], "abnormal": [0, 0]})
        if kinds.get(kind, kind) not in types:
            types.append(kinds.get(kind, kind))
    for row in rows:
        image, kind, target, answer = row
        kind, dataset = kinds.get(kind, kind), image.split("/")[0]
        if target not in list("ABCDE") or answer not in list("ABCDE"):
            rows.remove(row)
            continue
        cell = stats[dataset].setdefault(kind, [0, 0])
        cell[0] += 1
        cell[1] += target == answer
        if kind == DETECTION:
            side = detection[dataset]["normal" if "good" in image else "abnormal"]
            side[0] += 1
            side[1] += target == answer
    table = {}
    for dataset, cells in stats.items():
        table[dataset] = {k: 100 * cells[k][1] / cells[k][0] if cells.get(k, [0])[0] else 0 for k in types}
        if DETECTION in types:
            sides = [s[1] / s[0] if s[0] else 0 for s in detection[dataset].values()]
            table[dataset][DETECTION] = 50 * sum(sides)
    return sum(sum(row.values()) / len(row) for row in table.values()) / len(table), table


def test_detection_is_the_mean_over_normal_and_defective_images():
    answers = [
        given("VisA/pcb/good/1.png", DETECTION, "B", "B"),
        given("VisA/pcb/good/2.png", DETECTION, "B", "B"),
        given("VisA/pcb/good/3.png", DETECTION, "B", "B"),
        given("VisA/pcb/bad/1.png", DETECTION, "A", "B"),
    ]
    found = official_scores(answers)
    assert found.accuracy == {"VisA": {DETECTION: 50.0}}  # (3/3 + 0/1) / 2, not 3/4
    assert (found.overkill, found.miss) == (0.0, 100.0)
    assert strict_counts(answers) == {DETECTION: (3, 4)}


def test_structure_and_details_count_as_object_analysis():
    answers = [
        given("VisA/pcb/good/1.png", "Object Structure", "A", "A"),
        given("VisA/pcb/good/1.png", "Object Details", "A", "B"),
        given("VisA/pcb/good/1.png", OBJECT, "A", "C"),
    ]
    assert official_scores(answers).accuracy["VisA"] == {OBJECT: pytest.approx(100 / 3)}


def test_an_unreadable_answer_leaves_the_official_sum_and_takes_the_next_one_with_it():
    answers = [
        given("VisA/pcb/bad/1.png", OBJECT, "A", "A"),
        given("VisA/pcb/bad/1.png", OBJECT, "A", None),
        given("VisA/pcb/bad/1.png", OBJECT, "A", "B"),  # wrong, but passed over by the loop
        given("VisA/pcb/bad/1.png", OBJECT, "A", "A"),
    ]
    assert official_scores(answers).average == 100.0
    assert strict_counts(answers) == {OBJECT: (2, 4)}


def test_the_average_is_over_types_then_over_data_sets():
    answers = [
        given("VisA/pcb/bad/1.png", OBJECT, "A", "A"),
        given("VisA/pcb/bad/1.png", DEFECT, "A", "B"),
        given("GoodsAD/box/bad/1.png", OBJECT, "A", "A"),
        given("GoodsAD/box/bad/2.png", OBJECT, "A", "A"),
        given("GoodsAD/box/bad/3.png", OBJECT, "A", "B"),
    ]
    found = official_scores(answers)
    assert found.averages == {"VisA": 50.0, "GoodsAD": pytest.approx(100 / 3)}  # no defect question there: 0
    assert found.average == pytest.approx((50 + 100 / 3) / 2)
    assert found.types == {OBJECT: pytest.approx((100 + 200 / 3) / 2), DEFECT: 0.0}


@pytest.mark.parametrize("seed", range(30))
def test_official_scores_are_the_scripts_on_random_answers(seed):
    import random

    rng = random.Random(seed)
    answers = [
        given(
            f"{rng.choice(['VisA', 'GoodsAD', 'DS-MVTec'])}/x/{rng.choice(['good', 'bad'])}/{number}.png",
            rng.choice([DETECTION, OBJECT, DEFECT, "Object Details", "Object Structure"]),
            rng.choice("ABCD"),
            rng.choice(["A", "B", "C", "D", "E", None, "F", ""]),
        )
        for number in range(60)
    ]
    average, table = official_by_the_book(answers)
    found = official_scores(answers)
    assert found.average == pytest.approx(average)
    assert {k: pytest.approx(v) for k, v in table.items()} == found.accuracy


def test_the_last_letter_that_stands_alone_is_read():
    assert read_letter("The answer is A or B. I choose C.", 4) == "C"
    assert read_letter("Banana", 4) is None
    assert read_letter("D", 3) is None


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match="no answers"):
        official_scores([])
