"""The words that reports share, and the answer on the terminal."""

from __future__ import annotations

import dataclasses
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_report import make_report, make_trace

from reason_iad import types
from reason_iad.reporting import text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@settings(deadline=None)
@given(st.floats(0, 1))
def test_no_probability_is_written_as_certainty(probability: float) -> None:
    assert text.percent(probability) not in ("0 %", "100 %")


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_words_of_probability_keep_their_order(one: float, other: float) -> None:
    order = list(dict.fromkeys(text.probability_words(p / 1000) for p in range(1001)))
    low, high = sorted((one, other))
    assert order.index(text.probability_words(low)) <= order.index(text.probability_words(high))


def test_the_answer_holds_every_finding() -> None:
    report = make_report()
    said = text.render_text(report, width=200)
    for part in (
        "plate_017.png: DEFECTIVE", "p = 0.97", "metal plate (recognized, 83 %)", "scratch", report.description,
        report.consequence, "58 30 104 56", "plate-normal", "patience", "1.5 s", *report.notes,
    ):  # fmt: skip
        assert str(part) in said or part == "patience"
    assert "the reward had stopped growing" in said


def test_lines_fit_the_terminal() -> None:
    for width in (60, 80, 120):
        assert max(map(len, text.render_text(make_report(), width=width).splitlines()[1:])) <= width


def test_only_an_uncertain_verdict_is_explained() -> None:
    assert text.uncertain_reasons(make_report()) == ()
    assert text.uncertain_reasons(make_report(verdict="normal", probability=0.5)) == ()


def test_an_uncertain_verdict_without_references_asks_for_them() -> None:
    reasons = text.uncertain_reasons(make_report(verdict="uncertain", probability=0.5, evidence=None))
    assert any("50 %" in r for r in reasons)
    assert any("--reference" in r for r in reasons)


def test_disagreement_of_evidence_and_model_is_told() -> None:
    told = " ".join(text.uncertain_reasons(make_report(verdict="uncertain", probability=0.4)))
    assert "finds an odd area" in told
    calm = dataclasses.replace(make_report().evidence, gate_open=False, anomaly_score=0.1)
    told = " ".join(text.uncertain_reasons(make_report(verdict="uncertain", probability=0.6, evidence=calm)))
    assert "finds nothing" in told


def test_the_inspectors_own_reason_comes_first_and_is_not_repeated_as_a_note() -> None:
    note = "Uncertain because 5.0% of known good parts look at least this odd."
    report = make_report(verdict="uncertain", probability=0.9, notes=(note, "turned upright"))
    assert text.uncertain_reasons(report)[0] == note
    assert text.other_notes(report) == ("turned upright",)
    assert text.render_text(report, width=300).count(note) == 1


def test_an_uncertain_verdict_always_has_a_reason() -> None:
    assert text.uncertain_reasons(make_report(verdict="uncertain", probability=0.9))


def test_control_characters_do_not_reach_the_terminal() -> None:
    said = text.render_text(
        make_report(image="a\x1b[2J\x07b.png", description="evil\x9b31m\u202etext", notes=("\x1bc",))
    )
    assert all(c.isprintable() or c == "\n" for c in said)


def test_color_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert text.wants_color(Terminal())
    assert not text.wants_color(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not text.wants_color(Terminal())


def test_color_changes_nothing_but_color() -> None:
    plain, colored = text.render_text(make_report()), text.render_text(make_report(), color=True)
    assert colored.replace("\x1b[1;31m", "").replace("\x1b[0m", "") == plain
    assert "\x1b" not in plain


def test_what_to_check_next_comes_from_the_knowledge_or_from_where_the_evidence_points() -> None:
    report = make_report()
    assert text.check_next(dataclasses.replace(report, check_next="Feel the edge.")) == "Feel the edge."
    pointed = text.check_next(report)
    assert pointed is not None
    assert all(f"{n} ({r.place})" in pointed for n, r in enumerate(report.regions, 1))
    assert "kind of defect" not in pointed
    assert "kind of defect" in str(text.check_next(dataclasses.replace(report, defect_type=None)))
    for nothing in ({"verdict": "normal"}, {"regions": ()}):
        assert text.check_next(dataclasses.replace(report, **nothing)) is None


def test_the_text_names_each_detail_and_whether_it_was_kept():
    near = types.NearestNormal(1, (8, 8, 40, 40), 0.2)
    detail = types.TriedDetail((60, 20, 100, 60), "top center", 0, 3.0, True, near)
    report = make_report(trace=dataclasses.replace(make_trace(), details=(detail,)))
    lines = " ".join(text.render_text(report, width=300).split())
    assert "top center, box 60 20 100 60, beside reference 2, kept" in lines
