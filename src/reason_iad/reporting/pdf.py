"""Reports on paper: one inspection, or a shift with the picture of every part that was stopped; A4 or Letter.

Made by fpdf2, which embeds the letters that are used of any TrueType or OpenType font, those for Chinese and Japanese
too (docs/choices.md). The font is this machine's, see `fonts`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from reason_iad import __version__
from reason_iad.errors import InputError
from reason_iad.images import Pixels, encode_jpeg
from reason_iad.knowledge.translations import told
from reason_iad.languages import LANGUAGES, _, language, moment, number, several
from reason_iad.reporting import text
from reason_iad.reporting.figures import VERDICT_COLORS, Color, FloatMap, marked_picture
from reason_iad.reporting.fonts import font_of
from reason_iad.reporting.html import cut, shrunk
from reason_iad.types import InspectionReport

if TYPE_CHECKING:
    from fpdf import FPDF

Paper = Literal["A4", "Letter"]
PAPERS: tuple[Paper, ...] = ("A4", "Letter")
MARGIN = 16.0  # millimeters
_INK, _SOFT, _LINE = (24, 28, 33), (92, 100, 110), (205, 210, 216)
_PICTURE_SIDE = 1100  # pixels of the longer side of the large picture
_SMALL_SIDE = 520  # of a part on a shift's page


@dataclass(frozen=True, eq=False)
class ShiftPart:
    """One part of a shift that is shown: what was found, and how it looks."""

    at: datetime
    report: InspectionReport
    pixels: Pixels | None
    feedback: str = ""


@dataclass(frozen=True, eq=False)
class ShiftDrift:
    """An alarm of drift with the two pictures that show it."""

    at: datetime
    quantity: str
    line: str
    pictures: tuple[Pixels, ...] = ()
    acknowledged_by: str | None = None


@dataclass(frozen=True, eq=False)
class Shift:
    """What a shift's report says.

    Attributes:
        title: the line or product; empty where all are meant.
        since: first moment of it.
        until: its end.
        counts: parts by verdict, and `failed`.
        stopped: every defective part, in the order they came.
        uncertain: every uncertain part.
        failed: name and reason of images that could not be inspected.
        drift: alarms.
    """

    title: str
    since: datetime
    until: datetime
    counts: Mapping[str, int]
    stopped: Iterable[ShiftPart] = ()
    uncertain: Iterable[ShiftPart] = ()
    failed: Sequence[tuple[str, str]] = ()
    drift: Sequence[ShiftDrift] = ()


def report_pdf(
    report: InspectionReport,
    pixels: Pixels,
    anomaly_map: FloatMap | None = None,
    references: Sequence[Pixels] = (),
    paper: Paper = "A4",
) -> bytes:
    """The report of one inspection as PDF.

    Args:
        report: what was found.
        pixels: the upright image (H, W, 3).
        anomaly_map: calibrated map (h, w) in [0, 1], or None.
        references: good parts that the report shows.
        paper: its format.

    Raises:
        InputError: fpdf2 is not installed, or this machine has no font for the language.
    """
    sheet = _Sheet(paper, f"{text.verdict_word(report.verdict)}: {report.image}")
    sheet.headline(report)
    sheet.picture(marked_picture(report, shrunk(pixels, _PICTURE_SIDE), anomaly_map), 96)
    sheet.facts(_findings(report))
    if pairs := _pairs(report, pixels, references):
        sheet.heading(_("Beside the nearest normal patch"))
        sheet.strip(pairs)
    if report.answers:
        sheet.heading(_("Questions and answers"))
        sheet.facts([(told(answer.question), text.answer_phrase(answer)) for answer in report.answers])
    if report.citations:
        sheet.heading(_("Knowledge the model was given"))
        sheet.points([f"{text.knowledge_text(one)} ({one.source})" for one in report.citations])
    if notes := text.other_notes(report):
        sheet.heading(_("Notes"))
        sheet.points(notes)
    sheet.heading(_("Record"))
    versions = ", ".join(f"{name} {value}" for name, value in report.versions.items())
    time = text.duration(text.total_milliseconds(report)) if report.milliseconds else "–"
    sheet.facts([(_("Versions"), versions), (_("Time"), time), (_("image SHA-256"), report.image_sha256)])
    return sheet.done()


def shift_pdf(shift: Shift, paper: Paper = "A4") -> bytes:
    """The report of a shift as PDF: counts, drift, and the picture of every part that was stopped or is uncertain.

    Raises:
        InputError: fpdf2 is not installed, or this machine has no font for the language.
    """
    span = f"{moment(shift.since, 'short')} – {moment(shift.until, 'short')}"
    title = _("Shift report: {line}", line=shift.title) if shift.title else _("Shift report")
    sheet = _Sheet(paper, f"{title}, {span}")
    sheet.title(title, span)
    sheet.counts(shift.counts)
    sheet.heading(_("Drift"))
    if not shift.drift:
        sheet.paragraph(_("No alarm of drift was raised."))
    for alarm in shift.drift:
        seen = (
            _("seen by {who}", who=alarm.acknowledged_by) if alarm.acknowledged_by else _("nobody has looked at it yet")
        )
        sheet.paragraph(f"{moment(alarm.at, 'short')}  {alarm.line}: {told(alarm.quantity.replace('_', ' '))}; {seen}")
        sheet.strip(list(zip((_("a good part"), _("a part that shows it")), alarm.pictures, strict=False)))
    sheet.parts(_("Stopped parts"), shift.stopped, _("No part was stopped."))
    sheet.parts(_("Uncertain parts"), shift.uncertain, _("No part was uncertain."))
    if shift.failed:
        sheet.heading(_("Not inspected"))
        sheet.points([f"{name}: {told(why)}" for name, why in shift.failed])
    return sheet.done()


def _pairs(report: InspectionReport, pixels: Pixels, references: Sequence[Pixels]) -> list[tuple[str, Pixels]]:
    """The first regions, each beside its nearest patch of a good part."""
    found: list[tuple[str, Pixels]] = []
    for position, region in enumerate(report.regions[:4], 1):
        near = region.nearest
        if near is not None and near.reference < len(references):
            found.append((_("Region {number} of this part", number=position), cut(pixels, region.box_xyxy)))
            found.append((_("nearest patch of a good part"), cut(references[near.reference], near.box_xyxy)))
    return found


def _findings(report: InspectionReport) -> list[tuple[str, str]]:
    rows = [(_("Why uncertain"), reason) for reason in text.uncertain_reasons(report)]
    rows.append((_("Category"), text.category_phrase(report)))
    for name, value in (
        (_("Defect"), report.defect_type), (_("Description"), report.description),
        (_("Possible consequence"), report.consequence), (_("Check next"), text.check_next(report)),
    ):  # fmt: skip
        if value:
            rows.append((name, told(value)))
    for position, region in enumerate(report.regions, 1):
        strength, area = number(region.strength, 2), text.small_percent(region.area)
        where = _("strength {strength}, {area} of the image", strength=strength, area=area)
        rows.append((_("Region {number}", number=position), f"{told(region.place)}, {where}"))
    if report.evidence is not None:
        rows.append((_("Evidence"), told(report.evidence.text)))
    return [*rows, (_("Probability"), told(report.probability_note))]


class _Sheet:
    """Pages that are written from top to bottom."""

    def __init__(self, paper: Paper, title: str) -> None:
        self._pdf, self._family = _new_document(paper, title)
        self._pdf.add_page()

    @property
    def _width(self) -> float:
        return float(self._pdf.epw)

    def _write(self, value: str, size: float, color: Color = _INK, width: float = 0, gap: float = 0.0) -> None:
        self._pdf.set_font(self._family, size=size)
        self._pdf.set_text_color(*color)
        said = value if self._family != "Helvetica" else value.encode("latin-1", "replace").decode("latin-1")
        mode = "CHAR" if language() in ("zh", "ja") and not said.isascii() else "WORD"  # they write without blanks
        self._pdf.multi_cell(width, size * 0.46, said, new_x="LMARGIN", new_y="NEXT", align="L", wrapmode=mode)
        self._pdf.ln(gap)

    def headline(self, report: InspectionReport) -> None:
        """Verdict, probability and image."""
        color = VERDICT_COLORS[report.verdict]
        self._pdf.set_fill_color(*color)
        self._pdf.rect(self._pdf.l_margin, self._pdf.get_y(), self._width, 1.6, style="F")
        self._pdf.ln(4)
        self._write(text.verdict_word(report.verdict), 26, color)
        share, words = text.percent(report.probability), text.probability_words(report.probability)
        self._write(_("{share} probability of a defect: {words}.", share=share, words=words), 11.5)
        self._write(report.image, 9.5, _SOFT, gap=3)

    def title(self, value: str, below: str) -> None:
        """What the document is about."""
        self._write(value, 22)
        self._write(below, 11.5, _SOFT, gap=4)

    def heading(self, value: str) -> None:
        """A section begins."""
        self._room(24)
        self._pdf.ln(2.5)
        self._write(value, 13, gap=1)

    def paragraph(self, value: str) -> None:
        """A line of text."""
        self._write(value, 10, gap=1)

    def points(self, values: Iterable[str]) -> None:
        """A list."""
        for value in values:
            self._write(f"– {value}", 9.5, gap=0.8)

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Two columns: what, and how it is."""
        left = min(44.0, self._width * 0.27)
        for name, value in rows:
            self._room(9)
            y, x = self._pdf.get_y(), self._pdf.l_margin
            self._write(name, 9.5, _SOFT, width=left - 3)
            below, page = self._pdf.get_y(), self._pdf.page
            if page == self._pdf.page and below > y:
                self._pdf.set_xy(x + left, y)
            self._pdf.set_left_margin(x + left)
            self._write(value, 9.5)
            self._pdf.set_left_margin(x)
            self._pdf.set_xy(x, max(self._pdf.get_y(), below) + 1.1)

    def picture(self, pixels: Pixels, most: float) -> None:
        """A picture over the width, at most so many millimeters high."""
        height, width = pixels.shape[:2]
        scale = min(self._width / width, most / height)
        self._room(height * scale + 4)
        y = self._pdf.get_y()
        self._pdf.image(_jpeg(pixels), x=self._pdf.l_margin, y=y, w=width * scale, h=height * scale)
        self._pdf.set_y(y + height * scale + 4)

    def strip(self, pictures: Sequence[tuple[str, Pixels]], per_row: int = 4) -> None:
        """Small pictures side by side, each with its name below."""
        side = (self._width - 5 * (per_row - 1)) / per_row
        for begin in range(0, len(pictures), per_row):
            self._room(side + 12)
            y = self._pdf.get_y()
            for place, (name, pixels) in enumerate(pictures[begin : begin + per_row]):
                x = self._pdf.l_margin + place * (side + 5)
                height, width = pixels.shape[:2]
                scale = side / max(height, width)
                self._pdf.image(_jpeg(shrunk(pixels, _SMALL_SIDE)), x=x, y=y, w=width * scale, h=height * scale)
                self._pdf.set_xy(x, y + side + 0.5)
                self._write(name, 8, _SOFT, width=side)
            self._pdf.set_xy(self._pdf.l_margin, y + side + 9)

    def counts(self, counts: Mapping[str, int]) -> None:
        """How many parts of each verdict, with their share."""
        whole = sum(counts.values())
        words: dict[str, str] = {verdict: text.verdict_word(verdict) for verdict in text.VERDICT_WORDS}
        words["failed"] = _("Not inspected")
        self._write(several("{count} part", "{count} parts", whole), 13, gap=2)
        side, y = self._width / len(words), self._pdf.get_y()
        for place, (verdict, word) in enumerate(words.items()):
            count = counts.get(verdict, 0)
            share = f"{number(100 * count / whole, 1)} %" if whole else "–"
            color = next((tone for name, tone in VERDICT_COLORS.items() if name == verdict), _INK)
            cells = ((word, 10, _SOFT, 0.0), (number(count), 20, color, 5.5), (share, 9.5, _SOFT, 15.5))
            for line, size, tone, down in cells:
                self._pdf.set_xy(self._pdf.l_margin + place * side, y + down)
                self._write(line, size, tone, width=side)
        self._pdf.set_xy(self._pdf.l_margin, y + 23)

    def parts(self, title: str, parts: Iterable[ShiftPart], none: str) -> None:
        """Parts with their pictures, one below the other."""
        self.heading(title)
        shown = False
        for part in parts:
            shown = True
            self._part(part)
        if not shown:
            self.paragraph(none)

    def _part(self, part: ShiftPart) -> None:
        report, side = part.report, 44.0
        height = side if part.pixels is not None else 18.0
        self._room(height + 4)
        x, y = self._pdf.l_margin, self._pdf.get_y()
        if part.pixels is not None:
            picture = marked_picture(report, shrunk(part.pixels, _SMALL_SIDE), None)
            rows, columns = picture.shape[:2]
            scale = side / max(rows, columns)
            self._pdf.image(_jpeg(picture), x=x, y=y, w=columns * scale, h=rows * scale)
        self._pdf.set_left_margin(x + side + 5)
        self._pdf.set_xy(x + side + 5, y)
        share = text.percent(report.probability)
        found = told(report.defect_type) if report.defect_type else text.verdict_word(report.verdict)
        self._write(f"{found}, {share}", 11.5, VERDICT_COLORS[report.verdict])
        self._write(f"{moment(part.at, 'short')}  {report.image}", 8.5, _SOFT, gap=0.8)
        said = told(report.description) if report.description else ""
        self._write(f"{said[:330]}{'…' if len(said) > 330 else ''}", 9)
        if part.feedback:
            self._write(part.feedback, 9, _SOFT)
        self._pdf.set_left_margin(x)
        self._pdf.set_xy(x, max(self._pdf.get_y(), y + height) + 4)

    def _room(self, height: float) -> None:
        """Begin a new page where so many millimeters are not left."""
        if self._pdf.will_page_break(height):
            self._pdf.add_page()

    def done(self) -> bytes:
        """The file."""
        return bytes(self._pdf.output())


def _new_document(paper: Paper, title: str) -> tuple[FPDF, str]:
    try:
        from fpdf import FPDF
    except ImportError as error:
        raise InputError("found no fpdf2, which makes PDF files: pip install 'reason-iad[pdf]'") from error
    if paper not in PAPERS:
        raise InputError(f"the paper is {paper!r}; expected one of {', '.join(PAPERS)}")
    written = moment(datetime.now().astimezone(), "short")
    foot = _("Written {time} by reason-iad {version}", time=written, version=__version__)

    class Document(FPDF):  # type: ignore[misc]
        def footer(self) -> None:
            """Who wrote it when, and the page."""
            self.set_y(-12)
            self.set_font(family, size=8)
            self.set_text_color(*_SOFT)
            self.cell(0, 4, foot, align="L")
            self.set_x(self.l_margin)
            self.cell(0, 4, f"{self.page_no()} / {{nb}}", align="R")

    pdf = Document(format=paper.lower())
    pdf.set_margin(MARGIN)
    pdf.set_auto_page_break(True, 18)
    pdf.set_title(title)
    pdf.set_lang(language())
    pdf.set_creation_date(datetime.now(UTC))
    family = _add_font(pdf)
    return pdf, family


def _add_font(pdf: FPDF) -> str:
    """Embed the language's font, and one for letters that it lacks; the family that text is set in."""
    font = font_of(language())
    if font is None and language() in ("zh", "ja"):
        raise InputError(
            f"this machine has no font for {LANGUAGES[language()]} that is known; expected one such as Noto Sans CJK: "
            "apt-get install fonts-noto-cjk, or name a font file with REASON_IAD_FONT"
        )
    if font is None:
        return "Helvetica"  # every reader has it; it knows the letters of western Europe
    pdf.add_font("text", fname=str(font.path), collection_font_number=font.face)
    if language() in ("en", "de") and (other := font_of("zh")) is not None:
        pdf.add_font("other", fname=str(other.path), collection_font_number=other.face)
        pdf.set_fallback_fonts(["other"], exact_match=False)
    return "text"


def _jpeg(pixels: Pixels) -> Any:
    return io.BytesIO(encode_jpeg(pixels, quality=86))
