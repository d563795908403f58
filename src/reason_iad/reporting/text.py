"""Words for findings: the short answer on the terminal, and the phrases that all reports share."""

from __future__ import annotations

import datetime
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from reason_iad.types import (
    Answer,
    DefectNaming,
    FaithfulnessRow,
    InspectionReport,
    LatentTrace,
    LikeExample,
    Verdict,
)
from reason_iad.words import counted

VERDICT_WORDS: dict[Verdict, str] = {"normal": "Normal", "defective": "Defective", "uncertain": "Uncertain"}
STOP_WORDS = {
    "sure": "the plain answer was already sure",
    "patience": "the reward had stopped growing",
    "steps": "all steps were used",
    "time": "the time budget was spent",
    "off": "latent reasoning was off",
}
UNCERTAIN_NOTE = "Uncertain because"  # how the inspector begins a note that gives its reason
ANSI = {"normal": "\x1b[1;32m", "defective": "\x1b[1;31m", "uncertain": "\x1b[1;33m"}
_LABEL_WIDTH = 15


def percent(share: float) -> str:
    """Write a share in [0, 1] as a percentage, never rounding to certainty.

    >>> percent(0.973), percent(0.9999), percent(0.0), percent(0.012)
    ('97 %', 'over 99 %', 'under 1 %', '1 %')
    """
    if share > 0.99:
        return "over 99 %"
    if share < 0.01:
        return "under 1 %"
    return f"{share * 100:.0f} %"


def small_percent(share: float) -> str:
    """Write a share in [0, 1] with the digits a small area needs.

    >>> small_percent(0.31), small_percent(0.0123), small_percent(0.00004)
    ('31 %', '1.2 %', 'under 0.1 %')
    """
    if share < 0.001:
        return "under 0.1 %"
    return f"{share * 100:.0f} %" if share >= 0.1 else f"{share * 100:.1f} %"


def probability_words(probability: float) -> str:
    """Say in words what a probability of being defective, in [0, 1], means.

    >>> probability_words(0.97), probability_words(0.5), probability_words(0.1)
    ('almost certainly defective', 'as likely defective as normal', 'very likely normal')
    """
    for bound, words in (
        (0.05, "almost certainly normal"),
        (0.20, "very likely normal"),
        (0.40, "more likely normal than defective"),
        (0.60, "as likely defective as normal"),
        (0.80, "more likely defective than normal"),
        (0.95, "very likely defective"),
    ):
        if probability < bound:
            return words
    return "almost certainly defective"


def entropy_words(entropy: float) -> str:
    """Say in words how decided an answer is, from its normalized entropy in [0, 1].

    >>> entropy_words(0.05), entropy_words(0.95)
    ('sure', 'undecided')
    """
    for bound, words in ((0.15, "sure"), (0.45, "fairly sure"), (0.75, "leaning"), (0.9, "hardly decided")):
        if entropy < bound:
            return words
    return "undecided"


def duration(milliseconds: float) -> str:
    """Write a duration with the unit that fits.

    >>> duration(0.4), duration(412.3), duration(2345), duration(75_000)
    ('0.4 ms', '412 ms', '2.3 s', '1 min 15 s')
    """
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds // 60_000:.0f} min {milliseconds % 60_000 / 1000:.0f} s"


def total_milliseconds(report: InspectionReport) -> float:
    """Time of the whole inspection: the stage named total, or the sum of the stages."""
    stages = report.milliseconds
    return stages["total"] if "total" in stages else sum(stages.values())


def category_phrase(report: InspectionReport) -> str:
    """Name the category and say where it comes from."""
    if report.category_source == "given":
        return f"{report.category} (given)"
    if report.category_source == "recognized":
        sure = "" if report.category_probability is None else f", {percent(report.category_probability)}"
        return f"{report.category} (recognized{sure})"
    return "unknown (neither given nor recognized)"


def stop_phrase(trace: LatentTrace) -> str:
    """Say how many steps the latent reasoning took and why it ended."""
    steps = len(trace.steps)
    return f"{steps} step{'' if steps == 1 else 's'}; {STOP_WORDS.get(trace.stopped, trace.stopped)}"


def answer_phrase(answer: Answer) -> str:
    """Give the answer with its probability and how decided it is."""
    chosen = next((o.probability for o in answer.options if o.text == answer.text), None)
    parts = [] if chosen is None else [percent(chosen)]
    if answer.entropy is not None:
        parts.append(entropy_words(answer.entropy))
    return f"{answer.text} ({', '.join(parts)})" if parts else answer.text


def grounds_phrase(answer: Answer) -> str:
    """Whom the probabilities of an answer's options come from.

    >>> grounds_phrase(Answer("?", "Left.", grounds=("the measured place and look",)))
    'the model, joined with the measured place and look'
    """
    return f"the model, joined with {' and '.join(answer.grounds)}" if answer.grounds else "the model alone"


def types_phrase(naming: DefectNaming) -> str:
    """The types that an area may be, likeliest first, and what that rests on.

    >>> from reason_iad.types import OptionProbability
    >>> types_phrase(DefectNaming(None, (OptionProbability("scratch", 0.4), OptionProbability("dent", 0.3))))
    'scratch 40 %, dent 30 %'
    """
    said = ", ".join(f"{one.text} {percent(one.probability)}" for one in naming.types[:3])
    return f"{said} (from {counted(naming.num_examples, 'labeled example')})" if naming.num_examples else said


def like_phrase(naming: DefectNaming, examples: Sequence[LikeExample]) -> str | None:
    """Which labeled examples an area looks like, and what speaks against the second type; None without examples."""
    known = {one.id: one for one in examples}
    found = [known[name] for name in naming.like if name in known]
    if not found:
        return None
    said = " and ".join(f"{one.defect_type}, {day_phrase(one.date)} ({one.image})" for one in found)
    return f"{said}; {naming.against}" if naming.against else said


def day_phrase(date: str) -> str:
    """A day as people write it; what is no day stays as it is.

    >>> day_phrase("2026-05-12"), day_phrase("unknown")
    ('12 May 2026', 'unknown')
    """
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError:
        return date
    return f"{day.day} {day:%B %Y}"


def counts_phrase(counts: Mapping[str, int]) -> str:
    """Numbers of defects by type.

    >>> counts_phrase({"scratch": 2, "dent": 1})
    'scratch 2; dent 1'
    """
    return "; ".join(f"{name} {count}" for name, count in counts.items())


def as_far(row: FaithfulnessRow) -> int:
    """How many of the random changes moved the answer at least as far as the real one."""
    return sum(abs(moved) >= abs(row.moved) for moved in row.random_moved)


def uncertain_reasons(report: InspectionReport) -> tuple[str, ...]:
    """Say why the verdict is open and what would settle it; empty unless the verdict is uncertain."""
    if report.verdict != "uncertain":
        return ()
    evidence = report.evidence
    reasons = [note for note in report.notes if note.startswith(UNCERTAIN_NOTE)]
    if not reasons and 0.2 <= report.probability < 0.8:
        share = percent(report.probability)
        reasons.append(f"The probability of a defect is {share}: neither normal nor defective is likely enough.")
    if evidence is None:
        reasons.append(
            "No normal reference was compared, so nothing but the model speaks: give one to four images of good parts "
            "of the same kind (--reference)."
        )
    else:
        odd = evidence.gate_open and evidence.anomaly_score > 0.5
        if odd != (report.probability >= 0.5):
            found = "finds an odd area" if odd else "finds nothing beyond their own spread"
            reasons.append(
                f"The comparison with the references {found} (anomaly score {evidence.anomaly_score:.2f}), "
                f"yet all together the part is {probability_words(report.probability)}: the two do not agree."
            )
        if evidence.num_references < 2:
            reasons.append("There was one reference only, so the normal spread is a guess: give two to four.")
    if report.trace is not None and report.trace.unstable:
        reasons.append("The latent reasoning changed the answer for too little gain, so the plain answer was kept.")
    if report.category_source == "unknown":
        reasons.append("The category is unknown, so no knowledge of it could be used: name it (--category).")
    return tuple(reasons or ["The evidence and the model do not settle it: have a person look at the part."])


def check_next(report: InspectionReport) -> str | None:
    """What to examine on the part: from the knowledge of its defect, or where the evidence points.

    None for a normal part, and where nothing points anywhere.
    """
    if report.check_next is not None or report.verdict == "normal":
        return report.check_next
    if not report.regions:
        return None
    places = " and ".join(f"{number} ({region.place})" for number, region in enumerate(report.regions[:3], 1))
    word = "region" if len(report.regions) == 1 else "regions"
    why = "its kind of defect is" if report.defect_type is None else "its cause is"
    good = " beside a good part" if report.evidence is not None else ""
    return f"Have a person look at {word} {places}{good}: {why} not known for certain."


def other_notes(report: InspectionReport) -> tuple[str, ...]:
    """Notes that are not already said as the reasons of an uncertain verdict."""
    return tuple(note for note in report.notes if note not in uncertain_reasons(report))


def printable(text: str) -> str:
    """Replace control characters, so that a file name or a knowledge entry cannot steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def wants_color(stream: TextIO) -> bool:
    """Color only for a person: on a terminal, and unless NO_COLOR is set or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render_text(report: InspectionReport, *, color: bool = False, width: int = 100) -> str:
    """Write the short answer for a terminal `width` columns wide, ending without a line break."""
    word = VERDICT_WORDS[report.verdict].upper()
    if color:
        word = f"{ANSI[report.verdict]}{word}\x1b[0m"
    head = f"{printable(report.image)}: {word}, {probability_words(report.probability)}"
    lines = [f"{head} (p = {report.probability:.2f})"]
    indent = " " * (_LABEL_WIDTH + 2)
    for label, value in _rows(report):
        lines += textwrap.wrap(
            printable(value),
            max(width, 40),
            initial_indent=f"  {label:<{_LABEL_WIDTH}}",
            subsequent_indent=indent,
        )
    return "\n".join(lines)


def _rows(report: InspectionReport) -> Iterator[tuple[str, str]]:
    """Label and value of each line under the verdict."""
    for reason in uncertain_reasons(report):
        yield "why uncertain", reason
    yield "category", category_phrase(report)
    if report.defect_type:
        yield "defect", report.defect_type
    if report.naming is not None:
        yield "types", types_phrase(report.naming)
        if (like := like_phrase(report.naming, report.examples)) is not None:
            yield "looks like", like
    if len(report.regions) > 1 and report.defect_counts:
        yield "defects by type", counts_phrase(report.defect_counts)
    if report.description:
        yield "description", report.description
    if report.consequence:
        yield "consequence", report.consequence
    if (following := check_next(report)) is not None:
        yield "check next", following
    for i, region in enumerate(report.regions, 1):
        x0, y0, x1, y1 = region.box_xyxy
        area = f"{small_percent(region.area)} of the image, box {x0} {y0} {x1} {y1}"
        weak = "weak, " if region.weak else ""
        kind = "" if region.naming is None or region.naming.defect_type is None else f"{region.naming.defect_type}, "
        yield f"region {i}", f"{kind}{region.place}, {weak}strength {region.strength:.2f}, {area}"
    if report.evidence is not None:
        yield "evidence", report.evidence.text
    for answer in report.answers:
        yield "question", answer.question
        yield "answer", answer_phrase(answer)
    if report.trace is not None and report.trace.steps:
        trace = report.trace
        patches = len(trace.patches)
        gain = ""
        if trace.start_reward is not None and trace.best_reward is not None:
            gain = f", reward {trace.start_reward:.3f} to {trace.best_reward:.3f}"
        yield "reasoning", f"{stop_phrase(trace)}{gain}, {patches} image patch{'' if patches == 1 else 'es'} injected"
    for row in report.faithfulness.rows if report.faithfulness is not None else ():
        control = (
            f"; at random it moved as far {as_far(row)} of {len(row.random_moved)} times" if row.random_moved else ""
        )
        yield "faithfulness", f"{row.change}: {row.moved:+.3f} to {row.probability:.3f}{control}"
    if report.citations:
        yield "knowledge", "; ".join(f"{c.entry_id} ({c.source})" for c in report.citations)
    for note in other_notes(report):
        yield "note", note
    if report.milliseconds:
        yield "time", duration(total_milliseconds(report))
