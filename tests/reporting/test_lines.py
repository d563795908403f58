"""A lot on the terminal: a line an image, and nothing said twice."""

from __future__ import annotations

import pytest
from made_report import make_report

from reason_iad.inspection.verdict import VerdictOptions, decide
from reason_iad.reporting.lines import LotSummary, render_line


def test_an_image_takes_one_line_with_verdict_probability_place_and_time() -> None:
    line = render_line(make_report(image="a/001.png"), width=120)
    assert "\n" not in line
    report = make_report()
    for words in ("Defective", "%", "a/001.png", report.defect_type, report.regions[0].place, "s"):
        assert str(words) in line


def test_a_long_line_is_cut_at_the_terminals_width() -> None:
    assert len(render_line(make_report(image="x" * 300), width=90)) == 90


@pytest.mark.parametrize(
    ("unsuitable", "evidence", "alone", "said"),
    [
        ("the image is blank (black): nothing can be seen on it", None, None, "blank (black)"),
        ("72% of the image is white, far more than on any reference: it is over-exposed", None, None,
         "72% of the image is white"),
        (None, None, (0.1, 0.9), "model and comparison disagree"),
        (None, None, None, "neither is likely enough"),
    ],
)  # fmt: skip
def test_a_line_says_the_point_of_a_doubt_and_not_the_whole_sentence(unsuitable, evidence, alone, said) -> None:
    verdict, reasons = decide(0.5, evidence, VerdictOptions(0.02), alone, unsuitable)
    report = make_report(image="a.png", verdict=verdict, probability=0.5, regions=(), defect_type=None, notes=reasons)
    assert render_line(report, width=10_000).endswith(f"a.png: {said}")
    summary = LotSummary()
    summary.add(report)
    assert "-v" in summary.text(1.0).splitlines()[-1]


def test_a_name_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in render_line(make_report(image="a\x1b[2J\n.png"))


def test_the_answer_to_the_users_question_is_on_the_line() -> None:
    report = make_report()
    answer = report.answers[0]
    assert f"answer: {answer.text}" in render_line(report, answer.question, width=300)
    assert "answer: " not in render_line(report, width=300)


def test_what_is_true_of_all_images_is_said_once() -> None:
    summary = LotSummary()
    for number in range(12):
        name = f"a/{number}.png"
        own = (f"{name} has transparency; it was laid on white",) if number < 5 else ()
        summary.add(make_report(image=name, verdict="normal", notes=("No references were given.", *own)))
    text = summary.text(24.0, "3 .txt")
    assert text.splitlines()[:2] == ["12 images in 24.0 s: 12 normal", "left out: 3 .txt"]
    assert text.count("No references were given.") == 1
    assert "note on all: No references were given." in text
    assert "note on 5 images (a/0.png, a/1.png, a/2.png, ...): has transparency; it was laid on white" in text


def test_one_image_is_not_several() -> None:
    summary = LotSummary(failed=1)
    summary.add(make_report(verdict="normal"))
    assert summary.text(1.0).startswith("1 image in 1.0 s: 1 normal; 1 not inspected")


def test_notes_that_differ_in_their_figures_alone_are_one() -> None:
    summary = LotSummary()
    for number in range(6):
        summary.add(make_report(image=f"{number}.png", verdict="normal", notes=(f"Cleared: at most 0.3{number}.",)))
    text = summary.text(1.0)
    assert "note on all, figures of the first: Cleared: at most 0.30." in text
    assert text.count("Cleared") == 1
