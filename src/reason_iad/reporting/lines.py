"""Words for a lot on the terminal: one line an image, and at the end what is true of many of them, said once."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from reason_iad.knowledge.translations import told
from reason_iad.languages import _, language, number, several
from reason_iad.reporting.text import (
    ANSI,
    UNCERTAIN_NOTE,
    VERDICT_WORDS,
    answer_phrase,
    duration,
    other_notes,
    percent,
    printable,
    total_milliseconds,
    uncertain_reasons,
    verdict_word,
)
from reason_iad.types import InspectionReport
from reason_iad.words import padded

MOST_NOTES = 500  # kinds that are counted; a lot with more of them has one for each image
NAMED = 3  # images that a note names
_FIGURE = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class _Note:
    """A note on several images; where only its figures differ, `text` is that of the first."""

    text: str
    names: tuple[str, ...] = ()  # of the first images
    times: int = 0
    varies: bool = False


def render_line(report: InspectionReport, question: str | None = None, *, color: bool = False, width: int = 100) -> str:
    """Verdict, probability of a defect, time, image, and where and what it is, in one line at most `width` wide."""
    word = padded(verdict_word(report.verdict), 10)
    took = duration(total_milliseconds(report)) if report.milliseconds else ""
    head = f"{word}  {percent(report.probability):>9}  {took:>12}  "
    said = f"{printable(report.image)}{_findings(report, question)}"
    room = max(width - len(head), 40)
    said = said if len(said) <= room else f"{said[: room - 3]}..."
    return f"{ANSI[report.verdict]}{word}\x1b[0m{head[len(word) :]}{said}" if color else head + said


def _findings(report: InspectionReport, question: str | None) -> str:
    """What is said behind the image's name: `: crack, upper left`."""
    found = []
    if report.verdict != "normal" and report.defect_type:
        found.append(told(report.defect_type))
    if report.verdict != "normal" and report.regions:
        found.append(told(report.regions[0].place))
    if report.verdict == "uncertain" and (reasons := uncertain_reasons(report)):
        found.append(brief(reasons[0]) if language() == "en" else reasons[0])
    found += [
        _("answer: {answer}", answer=answer_phrase(one))
        for one in report.answers
        if question and one.question == question
    ]
    return f": {printable(', '.join(found))}" if found else ""


def brief(reason: str) -> str:
    """The point of a reason for an open verdict, without figures that the line has already, remedy and so on.

    >>> brief("Uncertain because the image is blank (black): nothing can be seen on it; take the picture again.")
    'blank (black)'
    >>> brief("Uncertain because the probability of a defect (0.48) lies between 0.35 and 0.65; look at the part.")
    'neither is likely enough'
    """
    point = re.split(r"[:;,] |\.$", reason.removeprefix(f"{UNCERTAIN_NOTE} "), maxsplit=1)[0]
    if point.casefold().startswith("the probability of a defect"):
        return "neither is likely enough"
    return point.removeprefix("the image is ")


@dataclass
class LotSummary:
    """Counts what a lot's reports say; keeps no report."""

    verdicts: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    _notes: dict[str, _Note] = field(default_factory=dict)  # by their text without its figures

    @property
    def count(self) -> int:
        """How many images were inspected."""
        return self.verdicts.total()

    def add(self, report: InspectionReport) -> None:
        """Count a report."""
        self.verdicts[report.verdict] += 1
        self.categories[report.category or "unknown"] += 1
        for note in dict.fromkeys(_without_name(note, report.image) for note in other_notes(report)):
            shape = _FIGURE.sub("0", note)
            if shape not in self._notes and len(self._notes) >= MOST_NOTES:
                continue
            found = self._notes.setdefault(shape, _Note(note))
            found.times += 1
            found.names = (*found.names, report.image)[:NAMED]
            found.varies |= note != found.text

    def text(self, seconds: float, left_out: str = "") -> str:
        """The lines below the last image: counts, time, what was left out, and each note once."""
        said = [f"{number(self.verdicts[word])} {told(word)}" for word in VERDICT_WORDS if self.verdicts[word]]
        took = duration(1000 * seconds)
        counts = ", ".join(said) or _("none inspected")
        lines = [several("{count} image in {time}: {counts}", "{count} images in {time}: {counts}", self.count,
                         time=took, counts=counts)]  # fmt: skip
        if self.failed:
            lines[0] += _("; {count} not inspected", count=number(self.failed))
        if left_out:
            lines.append(_("left out: {files}", files=left_out))
        if self.categories:
            many = len(self.categories) > 1
            shown = self.categories.most_common(8)
            named = ", ".join(f"{printable(told(name))}{f' {number(n)}' if many else ''}" for name, n in shown)
            lines.append(_("categories: {names}", names=named) if many else _("category: {name}", name=named))
        notes = sorted(self._notes.values(), key=lambda one: -one.times)
        lines += [f"{self._whose(note)}: {printable(note.text)}" for note in notes]
        if self.verdicts["uncertain"]:
            lines.append(_("why some are uncertain, in full, and what settles it: -v, or the reports of --out"))
        return "\n".join(lines)

    def _whose(self, note: _Note) -> str:
        first = _(", figures of the first") if note.varies else ""
        if note.times == self.count:
            on_all = _("note on all")
            return f"{on_all}{first}" if note.times > 1 else _("note")
        more = ", ..." if note.times > len(note.names) else ""
        names = f"{', '.join(map(printable, note.names))}{more}"
        said = several("note on {count} image ({names})", "note on {count} images ({names})", note.times, names=names)
        return said + first


def _without_name(note: str, image: str) -> str:
    """A note about an image without its name, so that equal notes are equal."""
    for name in (image, image.rpartition("/")[2]):
        if name and note.startswith(f"{name} "):
            rest = note[len(name) + 1 :]
            return rest.replace(f"; {name} ", "; ")
    return note
