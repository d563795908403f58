"""Words for findings: the short answer on the terminal, and the phrases that all reports share."""

from __future__ import annotations

import datetime
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from reason_iad.knowledge.translations import told
from reason_iad.languages import _, date_words, language, localized, number, several, translatable
from reason_iad.types import (
    Answer,
    Citation,
    DefectNaming,
    FaithfulnessRow,
    InspectionReport,
    LatentTrace,
    LikeExample,
    Verdict,
)
from reason_iad.words import padded

VERDICT_WORDS: dict[Verdict, str] = {
    "normal": translatable("Normal"), "defective": translatable("Defective"), "uncertain": translatable("Uncertain"),
}  # fmt: skip
STOP_WORDS = {
    "sure": translatable("the plain answer was already sure"),
    "patience": translatable("the reward had stopped growing"),
    "steps": translatable("all steps were used"),
    "time": translatable("the time budget was spent"),
    "off": translatable("latent reasoning was off"),
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
        return _("over 99 %")
    if share < 0.01:
        return _("under 1 %")
    return f"{share * 100:.0f} %"


def verdict_word(verdict: Verdict) -> str:
    """The verdict as people read it."""
    return _(VERDICT_WORDS[verdict])


def small_percent(share: float) -> str:
    """Write a share in [0, 1] with the digits a small area needs.

    >>> small_percent(0.31), small_percent(0.0123), small_percent(0.00004)
    ('31 %', '1.2 %', 'under 0.1 %')
    """
    if share < 0.001:
        return _("under 0.1 %")
    return f"{number(share * 100, 0 if share >= 0.1 else 1)} %"


def probability_words(probability: float) -> str:
    """Say in words what a probability of being defective, in [0, 1], means.

    >>> probability_words(0.97), probability_words(0.5), probability_words(0.1)
    ('almost certainly defective', 'as likely defective as normal', 'very likely normal')
    """
    for bound, words in (
        (0.05, _("almost certainly normal")),
        (0.20, _("very likely normal")),
        (0.40, _("more likely normal than defective")),
        (0.60, _("as likely defective as normal")),
        (0.80, _("more likely defective than normal")),
        (0.95, _("very likely defective")),
    ):
        if probability < bound:
            return words
    return _("almost certainly defective")


def entropy_words(entropy: float) -> str:
    """Say in words how decided an answer is, from its normalized entropy in [0, 1].

    >>> entropy_words(0.05), entropy_words(0.95)
    ('sure', 'undecided')
    """
    for bound, words in (
        (0.15, _("sure")),
        (0.45, _("fairly sure")),
        (0.75, _("leaning")),
        (0.9, _("hardly decided")),
    ):
        if entropy < bound:
            return words
    return _("undecided")


def duration(milliseconds: float) -> str:
    """Write a duration with the unit that fits.

    >>> duration(0.4), duration(412.3), duration(2345), duration(75_000)
    ('0.4 ms', '412 ms', '2.3 s', '1 min 15 s')
    """
    if milliseconds < 10:
        return f"{number(milliseconds, 1)} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{number(milliseconds / 1000, 1)} s"
    return f"{milliseconds // 60_000:.0f} min {milliseconds % 60_000 / 1000:.0f} s"


def total_milliseconds(report: InspectionReport) -> float:
    """Time of the whole inspection: the stage named total, or the sum of the stages."""
    stages = report.milliseconds
    return stages["total"] if "total" in stages else sum(stages.values())


def category_phrase(report: InspectionReport) -> str:
    """Name the category and say where it comes from."""
    if report.category_source == "given":
        return _("{category} (given)", category=told(report.category))
    if report.category_source == "recognized":
        if report.category_probability is None:
            return _("{category} (recognized)", category=told(report.category))
        sure = percent(report.category_probability)
        return _("{category} (recognized, {share})", category=told(report.category), share=sure)
    return _("unknown (neither given nor recognized)")


def stop_phrase(trace: LatentTrace) -> str:
    """Say how many steps the latent reasoning took and why it ended."""
    steps = several("{count} step", "{count} steps", len(trace.steps))
    return f"{steps}; {stop_reason(trace)}"


def stop_reason(trace: LatentTrace) -> str:
    """Say why the latent reasoning ended."""
    return _(STOP_WORDS.get(trace.stopped, trace.stopped))


def knowledge_text(citation: Citation) -> str:
    """A knowledge entry in the reader's language, where it is there; the model has read it in English."""
    from reason_iad.knowledge.translations import text_of

    return text_of(citation.entry_id, citation.text)


def answer_phrase(answer: Answer) -> str:
    """Give the answer with its probability and how decided it is."""
    chosen = next((o.probability for o in answer.options if o.text == answer.text), None)
    parts = [] if chosen is None else [percent(chosen)]
    if answer.entropy is not None:
        parts.append(entropy_words(answer.entropy))
    return f"{told(answer.text)} ({', '.join(parts)})" if parts else told(answer.text)


def grounds_phrase(answer: Answer) -> str:
    """Whom the probabilities of an answer's options come from.

    >>> grounds_phrase(Answer("?", "Left.", grounds=("the measured place and look",)))
    'the model, joined with the measured place and look'
    """
    if not answer.grounds:
        return _("the model alone")
    return _("the model, joined with {grounds}", grounds=_(" and ").join(told(ground) for ground in answer.grounds))


def types_phrase(naming: DefectNaming) -> str:
    """The types that an area may be, likeliest first, and what that rests on.

    >>> from reason_iad.types import OptionProbability
    >>> types_phrase(DefectNaming(None, (OptionProbability("scratch", 0.4), OptionProbability("dent", 0.3))))
    'scratch 40 %, dent 30 %'
    """
    said = ", ".join(f"{told(one.text)} {percent(one.probability)}" for one in naming.types[:3])
    if not naming.num_examples:
        return said
    return several(
        "{types} (from {count} labeled example)", "{types} (from {count} labeled examples)", naming.num_examples,
        types=said,
    )  # fmt: skip


def like_phrase(naming: DefectNaming, examples: Sequence[LikeExample]) -> str | None:
    """Which labeled examples an area looks like, and what speaks against the second type; None without examples."""
    known = {one.id: one for one in examples}
    found = [known[name] for name in naming.like if name in known]
    if not found:
        return None
    said = _(" and ").join(f"{told(one.defect_type)}, {day_phrase(one.date)} ({one.image})" for one in found)
    return f"{said}; {told(naming.against)}" if naming.against else said


def day_phrase(date: str) -> str:
    """A day as people write it; what is no day stays as it is.

    >>> day_phrase("2026-05-12"), day_phrase("unknown")
    ('12 May 2026', 'unknown')
    """
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError:
        return date
    return date_words(day)


def counts_phrase(counts: Mapping[str, int]) -> str:
    """Numbers of defects by type.

    >>> counts_phrase({"scratch": 2, "dent": 1})
    'scratch 2; dent 1'
    """
    return "; ".join(f"{told(name)} {number(count)}" for name, count in counts.items())


def as_far(row: FaithfulnessRow) -> int:
    """How many of the random changes moved the answer at least as far as the real one."""
    return sum(abs(moved) >= abs(row.moved) for moved in row.random_moved)


def uncertain_reasons(report: InspectionReport) -> tuple[str, ...]:
    """Say why the verdict is open and what would settle it; empty unless the verdict is uncertain."""
    if report.verdict != "uncertain":
        return ()
    evidence = report.evidence
    reasons = [told(note) for note in report.notes if note.startswith(UNCERTAIN_NOTE)]
    if not reasons and 0.2 <= report.probability < 0.8:
        share = percent(report.probability)
        said = _("The probability of a defect is {share}: neither normal nor defective is likely enough.", share=share)
        reasons.append(said)
    if evidence is None:
        reasons.append(
            _(
                "No normal reference was compared, so nothing but the model speaks: give one to four images of good "
                "parts of the same kind (--reference)."
            )
        )
    else:
        odd = evidence.gate_open and evidence.anomaly_score > 0.5
        if odd != (report.probability >= 0.5):
            values = {"score": number(evidence.anomaly_score, 2), "words": probability_words(report.probability)}
            reasons.append(
                _(
                    "The comparison with the references finds an odd area (anomaly score {score}), yet all together "
                    "the part is {words}: the two do not agree.",
                    **values,
                )
                if odd
                else _(
                    "The comparison with the references finds nothing beyond their own spread (anomaly score {score}), "
                    "yet all together the part is {words}: the two do not agree.",
                    **values,
                )
            )
        if evidence.num_references < 2:
            reasons.append(_("There was one reference only, so the normal spread is a guess: give two to four."))
    if report.trace is not None and report.trace.unstable:
        reasons.append(_("The latent reasoning changed the answer for too little gain, so the plain answer was kept."))
    if report.category_source == "unknown":
        reasons.append(_("The category is unknown, so no knowledge of it could be used: name it (--category)."))
    return tuple(reasons or [_("The evidence and the model do not settle it: have a person look at the part.")])


def check_next(report: InspectionReport) -> str | None:
    """What to examine on the part: from the knowledge of its defect, or where the evidence points.

    None for a normal part, and where nothing points anywhere.
    """
    if report.check_next is not None or report.verdict == "normal":
        return report.check_next
    if not report.regions:
        return None
    named = enumerate(report.regions[:3], 1)
    places = _(" and ").join(f"{position} ({told(region.place)})" for position, region in named)
    look = (
        several("Have a person look at region {places}", "Have a person look at regions {places}", len(report.regions),
                places=places)
        if report.evidence is None
        else several("Have a person look at region {places} beside a good part",
                     "Have a person look at regions {places} beside a good part", len(report.regions), places=places)
    )  # fmt: skip
    if report.defect_type is None:
        return _("{look}: its kind of defect is not known for certain.", look=look)
    return _("{look}: its cause is not known for certain.", look=look)


def other_notes(report: InspectionReport) -> tuple[str, ...]:
    """Notes that are not already said as the reasons of an uncertain verdict."""
    said = uncertain_reasons(report)
    return tuple(translated for note in report.notes if (translated := told(note)) not in said)


def printable(text: str) -> str:
    """Replace control characters, so that a file name or a knowledge entry cannot steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))


def wants_color(stream: TextIO) -> bool:
    """Color only for a person: on a terminal, and unless NO_COLOR is set or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render_text(report: InspectionReport, *, color: bool = False, width: int = 100) -> str:
    """Write the short answer for a terminal `width` columns wide, ending without a line break."""
    word = verdict_word(report.verdict).upper()
    if color:
        word = f"{ANSI[report.verdict]}{word}\x1b[0m"
    head = f"{printable(report.image)}: {word}, {probability_words(report.probability)}"
    lines = [f"{head} (p = {number(report.probability, 2)})"]
    indent = " " * (_LABEL_WIDTH + 2)
    for label, value in _rows(report):
        wide = language() in ("zh", "ja") and not value.isascii()  # letters of two places: half as many in a line
        lines += textwrap.wrap(
            printable(value),
            max(width // 2 + _LABEL_WIDTH // 2 if wide else width, 40),
            initial_indent=padded(f"  {label}", _LABEL_WIDTH + 2),
            subsequent_indent=indent,
        )
    return "\n".join(lines)


def _rows(report: InspectionReport) -> Iterator[tuple[str, str]]:
    """Label and value of each line under the verdict."""
    for reason in uncertain_reasons(report):
        yield _("why uncertain"), reason
    yield _("category"), category_phrase(report)
    if report.defect_type:
        yield _("defect"), told(report.defect_type)
    if report.naming is not None:
        yield _("types"), types_phrase(report.naming)
        if (like := like_phrase(report.naming, report.examples)) is not None:
            yield _("looks like"), like
    if len(report.regions) > 1 and report.defect_counts:
        yield _("defects by type"), counts_phrase(report.defect_counts)
    if report.description:
        yield _("description"), told(report.description)
    if report.consequence:
        yield _("consequence"), told(report.consequence)
    if (following := check_next(report)) is not None:
        yield _("check next"), told(following)
    yield from _region_rows(report)
    if report.evidence is not None:
        yield _("evidence"), told(report.evidence.text)
    for answer in report.answers:
        yield _("question"), told(answer.question)
        yield _("answer"), answer_phrase(answer)
    yield from _reasoning_rows(report)
    if report.citations:
        yield _("knowledge"), "; ".join(f"{c.entry_id} ({c.source})" for c in report.citations)
    for note in other_notes(report):
        yield _("note"), note
    if report.milliseconds:
        yield _("time"), duration(total_milliseconds(report))


def _region_rows(report: InspectionReport) -> Iterator[tuple[str, str]]:
    """Label and value of each region."""
    for i, region in enumerate(report.regions, 1):
        weak = _("weak, ") if region.weak else ""
        where = _(
            "strength {strength}, {area} of the image, box {box}", strength=number(region.strength, 2),
            area=small_percent(region.area), box=" ".join(map(str, region.box_xyxy)),
        )  # fmt: skip
        kind = ""
        if region.naming is not None and region.naming.defect_type is not None:
            kind = f"{told(region.naming.defect_type)}, "
        yield _("region {number}", number=i), f"{kind}{told(region.place)}, {weak}{where}"


def _reasoning_rows(report: InspectionReport) -> Iterator[tuple[str, str]]:
    """Label and value of the thought, and of what its answer rests on."""
    if report.trace is not None and report.trace.steps:
        trace = report.trace
        patches = len(trace.patches)
        gain = ""
        if trace.start_reward is not None and trace.best_reward is not None:
            start, best = number(trace.start_reward, 3), number(trace.best_reward, 3)
            gain = _(", reward {start} to {best}", start=start, best=best)
        joined = several("{count} image patch injected", "{count} image patches injected", patches)
        yield _("reasoning"), f"{stop_phrase(trace)}{gain}, {joined}"
    for detail in () if report.trace is None else report.trace.details:
        good = "" if detail.good is None else _(", beside reference {number}", number=detail.good.reference + 1)
        kept = _("kept") if detail.kept else _("not kept")
        box = " ".join(map(str, detail.box_xyxy))
        yield _("detail"), _("{place}, box {box}", place=told(detail.place), box=box) + f"{good}, {kept}"
    for row in report.faithfulness.rows if report.faithfulness is not None else ():
        control = ""
        if row.random_moved:
            control = _("; at random it moved as far {count} of {n} times", count=as_far(row), n=len(row.random_moved))
        moved, after = localized(f"{row.moved:+.3f}"), number(row.probability, 3)
        yield (
            _("faithfulness"),
            _("{change}: {moved} to {after}", change=told(row.change), moved=moved, after=after) + control,
        )
