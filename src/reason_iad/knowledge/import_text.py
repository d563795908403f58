"""Markdown, plain text and PDF to passages: short enough for a prompt, each with where it stood.

A heading, a bold line, a line that ends with a colon, or one that says a polarity and nothing else opens a section; the
deepest section that speaks of good parts or of faults decides what stands in it.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.bulk import KINDS
from reason_iad.knowledge.columns import names_texts
from reason_iad.knowledge.import_tables import read_table
from reason_iad.knowledge.polarity import is_label, read_polarity
from reason_iad.knowledge.rows import Row, Understanding
from reason_iad.types import EntryKind

PASSAGE = 700  # characters: about 150 tokens, so that several fit into a prompt
MAX_PAGES = 2_000
MAX_PDF_BYTES = 100_000_000
# No two repetitions stand side by side: a line of 5,000 spaces must not take time squared.
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s(.*)$")
_UNDERLINE = re.compile(r"^\s{0,3}(=+|-{2,})\s*$")
_BOLD = re.compile(r"^(?:\*\*|__)([^*_].{0,78}?)(?:\*\*|__):?$")
_BULLET = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_NAMED = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+\**([^:*|]{2,60}?)\**(?::\**\s+|\s+[\u2013\u2014-]\s+)(\S.*)$")
_FENCE = re.compile(r"^\s{0,3}(```|~~~)")
_PAGE_NUMBER = re.compile(r"\b\d+ ?(?:/|of|von) ?\d+\b|^\d+$|(?<=page )\d+|(?<=seite )\d+", re.IGNORECASE)
_LIGATURES = re.compile("[\ufb00-\ufb06]")
_STANDARD = re.compile(r"\b(?:standards?|ISO|IEC|EN|DIN|ASTM|IPC)\b")
_BOLD_LEVEL, _LINE_LEVEL = 7, 8  # below the six levels of Markdown's headings


@dataclass(frozen=True)
class _Section:
    """A heading in force: how deep it is, what it says, and the kind that it gives, where it gives one."""

    level: int
    title: str
    kind: EntryKind | None
    left_out: bool
    settled: bool  # whether it says something on polarity, "accept / reject" included


class _Sections:
    """The headings in force while a document is read line by line."""

    def __init__(self, understanding: Understanding) -> None:
        self._understanding = understanding
        self._open: list[_Section] = []

    def begin(self, level: int, title: str) -> None:
        """Close what is as deep or deeper, and open a section."""
        self._open = [section for section in self._open if section.level < level]
        polarity = read_polarity(title)
        meaning = self._understanding.corrected(title) or polarity
        kind = cast(EntryKind, meaning) if meaning in KINDS else None
        self._open.append(_Section(level, title, kind, meaning == "ignore", meaning is not None))

    def begins(self, line: str, before: str, after: str) -> tuple[int, str] | None:
        """Level and title where a line opens a section; None for a line of text."""
        if found := _HEADING.match(line):
            return len(found[1]), found[2].strip().rstrip("#").rstrip()
        text = line.strip()
        if not text or _BULLET.match(line) or "|" in text:
            return None
        if (under := _UNDERLINE.match(after)) and not before.strip() and len(text) <= 100:
            return (1 if under[1][0] == "=" else 2), text
        if found := _BOLD.match(text):
            return _BOLD_LEVEL, found[1].strip(" :")
        if len(text) <= 60 and text.endswith(":"):
            return _LINE_LEVEL, text.rstrip(" :")
        if is_label(text.rstrip(".")) and (text[-1] not in ".!?;," or re.search(r"\b\w\.$", text)):
            return _LINE_LEVEL, text
        return None

    @property
    def lead(self) -> str:
        """The headings in force, as a passage is led by them."""
        return " / ".join(section.title for section in self._open if section.title)

    @property
    def said(self) -> _Section | None:
        """The deepest section that says something on polarity."""
        return next((section for section in reversed(self._open) if section.settled), None)

    def kind_of(self, text: str) -> EntryKind:
        """What a passage in the section is about."""
        if (section := self.said) is not None:
            return section.kind or guess_kind("", text)
        return guess_kind(self.lead, text)


def read_markdown(text: str, file: str, understanding: Understanding | None = None) -> tuple[dict[str, str], list[Row]]:
    """The front matter of a Markdown or text file and its passages, each led by the headings it stands under.

    List items of the form "Name: look" under a heading about defects become one passage each, with the defect's name;
    a table whose columns are understood gives its rows.

    Raises:
        KnowledgeError: front matter that is not YAML fields, or a table with a row that is too long.
    """
    fields, body, offset = _front_matter(text, file)
    understanding = understanding if understanding is not None else Understanding()
    return fields, list(_read_lines(body.splitlines(), file, _Sections(understanding), understanding, offset))


def _read_lines(
    lines: Sequence[str], file: str, sections: _Sections, understanding: Understanding, offset: int = 0, where: str = ""
) -> Iterator[Row]:
    block: list[str] = []
    number, fenced = 0, False
    while number < len(lines):
        line = lines[number]
        after = lines[number + 1] if number + 1 < len(lines) else ""
        before = lines[number - 1] if number else ""
        fenced ^= bool(_FENCE.match(line))
        opened = None if fenced else sections.begins(line, before, after)
        if opened is not None:
            yield from _close(block, sections, understanding, where)
            sections.begin(*opened)
            number += 2 if _UNDERLINE.match(after) and not _HEADING.match(line) else 1
            continue
        table = not fenced and "|" in line and "|" in after and _is_rule(after)
        if table and names_texts(_cells(line), understanding):
            yield from _close(block, sections, understanding, where)
            stop = next((n for n in range(number + 2, len(lines)) if "|" not in lines[n]), len(lines))
            rows = [(n + 1 + offset, _cells(lines[n])) for n in range(number + 2, stop)]
            section = (
                sections.said.kind if sections.said else None,
                where or (f'"{sections.lead}"' if sections.lead else ""),
            )
            yield from read_table(_cells(line), rows, file, understanding, "'|'", section)
            number = stop
            continue
        block.append(line)
        number += 1
    yield from _close(block, sections, understanding, where)


def _close(block: list[str], sections: _Sections, understanding: Understanding, where: str) -> Iterator[Row]:
    """Passages of the lines that were gathered since the last heading; empties `block`."""
    lines = _joined(block)
    block.clear()
    section, lead = sections.said, sections.lead
    where = where or (f'"{lead}"' if lead else "")
    if section is not None and section.left_out:
        understanding.say(f"heading {section.title!r}: left out")
        return
    kept, count = [], 0
    for line in lines:
        found = _NAMED.match(" ".join(line.split()))
        if found and is_label(found[1]) and read_polarity(found[1]) != "mixed":
            count += 1
            yield Row(None, read_polarity(found[1]), None, f"{lead}: {found[2]}" if lead else found[2], where)  # type: ignore[arg-type]
        elif found and section is not None and section.kind == "defect":
            count += 1
            yield Row(None, "defect", found[1].strip(), found[2], where)
        else:
            kept.append(line)
    for piece in split_passages("\n".join(kept)):
        count += 1
        yield Row(None, sections.kind_of(piece), None, f"{lead}: {piece}" if lead else piece, where)
    if count and lead:
        title = section.title if section else sections.lead
        understanding.say(f"heading {title!r}: {(section and section.kind) or 'each passage by its own first words'}")


def _joined(block: Sequence[str]) -> list[str]:
    """Lines with those that go on with a list item joined to it."""
    lines: list[str] = []
    for line in block:
        goes_on = lines and _BULLET.match(lines[-1]) and line.strip() and not _BULLET.match(line)
        if goes_on and (line[:1].isspace() or not lines[-1].rstrip().endswith((".", ";", ":"))):
            lines[-1] = f"{lines[-1].rstrip()} {line.strip()}"
        else:
            lines.append(line)
    return lines


def _is_rule(line: str) -> bool:
    """Whether a line stands between the heading of a Markdown table and its rows, as `|---|:--:|`."""
    cells = _cells(line)
    return all(re.fullmatch(r":?-+:?", cell) for cell in cells)


def _cells(line: str) -> list[str]:
    """Cells of a line of a Markdown table, without marks of emphasis and breaks."""
    inner = line.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    cells = [cell.replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]
    plain = [re.sub(r"<br\s*/?>", " ", cell).replace("**", "").replace("`", "") for cell in cells]
    return [" ".join(cell.split()) for cell in plain]


def read_pdf(path: Path, understanding: Understanding | None = None) -> list[Row]:
    """The text of a PDF file by page.

    Raises:
        KnowledgeError: too large, encrypted, damaged, or without text, as a scan is.
    """
    import pypdf

    if path.stat().st_size > MAX_PDF_BYTES:
        raise KnowledgeError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_PDF_BYTES:,}: split it")
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    understanding = understanding if understanding is not None else Understanding()
    sections = _Sections(understanding)  # one for all pages: a section goes on over a page's end
    rows: list[Row] = []
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise KnowledgeError(f"{path} is encrypted; expected a PDF file that opens without a password: save it so")
        if len(reader.pages) > MAX_PAGES:
            raise KnowledgeError(f"{path} has {len(reader.pages):,} pages; at most {MAX_PAGES:,}: split it")
        pages = [_LIGATURES.sub(_spelled, page.extract_text()) for page in reader.pages]
    except KnowledgeError:
        raise
    except Exception as error:
        raise KnowledgeError(
            f"{path} cannot be read ({str(error) or type(error).__name__}); expected a PDF file: save it again"
        ) from error
    for number, text in enumerate(_without_margins(pages), 1):
        rows += _read_lines(
            _join_hyphens(text).splitlines(), str(path), sections, understanding, where=f"page {number}"
        )
    if not rows:
        raise KnowledgeError(f"{path} holds no text; expected text, not scanned pages: run text recognition first")
    return rows


def split_passages(text: str, most: int = PASSAGE) -> Iterator[str]:
    r"""Pieces of at most about `most` characters, cut between paragraphs, list items or sentences.

    >>> list(split_passages("One.\n\nTwo.", 5))
    ['One.', 'Two.']
    """
    piece = ""
    for part in _parts(text, most):
        if piece and len(piece) + 1 + len(part) > most:
            yield piece
            piece = part
        else:
            piece = f"{piece} {part}".strip()
    if piece:
        yield piece


def guess_kind(heading: str, text: str) -> EntryKind:
    """What a passage is about, from its heading or first words: normal, defect, standard, else process."""
    lead = heading or text[:60]
    polarity = read_polarity(lead)
    if polarity in ("normal", "defect"):
        return polarity
    return "standard" if _STANDARD.search(lead) else "process"


def _parts(text: str, most: int) -> Iterator[str]:
    """Paragraphs and list items; sentences of those that are too long; words of those."""
    lines = [_BULLET.sub("\n\n", line) if _BULLET.match(line) else line for line in text.splitlines()]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        words = " ".join(paragraph.split())
        if not re.search(r"\w", words):
            continue
        if len(words) <= most:
            yield words
            continue
        for sentence in re.split(r"(?<=[.!?])\s+", words):
            while len(sentence) > most:
                cut = sentence.rfind(" ", 1, most)
                cut = cut if cut > 0 else most
                yield sentence[:cut]
                sentence = sentence[cut:].strip()
            if sentence:
                yield sentence


def _spelled(found: re.Match[str]) -> str:
    """A ligature in single letters: as one sign it would be found by no word."""
    return unicodedata.normalize("NFKC", found[0])


def _without_margins(pages: list[str]) -> list[str]:
    r"""Pages without headers and footers: lines near an edge that stand, page numbers aside, on most of three or more.

    >>> _without_margins(["WI 7\nOne.\n1/3", "WI 7\nTwo.\n2/3", "WI 7\nThree.\n3/3"])
    ['One.', 'Two.', 'Three.']
    """
    if len(pages) < 3:
        return pages

    def plain(line: str) -> str:
        return _PAGE_NUMBER.sub("#", " ".join(line.split()))

    split = [page.strip().splitlines() for page in pages]
    margins = Counter(key for lines in split for key in {plain(line) for line in (*lines[:3], *lines[-3:])})
    kept = []
    for lines in split:
        last = len(lines) - 3
        kept.append(
            "\n".join(
                line for n, line in enumerate(lines)
                if 3 <= n < last or margins[plain(line)] <= len(pages) / 2
            )
        )  # fmt: skip
    return kept if any(kept) else pages


def _join_hyphens(text: str) -> str:
    return re.sub(r"(\w)-\n(?=[a-z])", r"\1", text)


def _front_matter(text: str, file: str) -> tuple[dict[str, str], str, int]:
    """The fields that open a file, what follows them, and how many lines they take."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return {}, text, 0
    end = next((i for i, line in enumerate(lines[1:201], 1) if line.strip() == "---"), None)
    if end is None:
        return {}, text, 0  # a rule, not front matter
    import yaml

    try:
        fields: Any = yaml.safe_load("\n".join(lines[1:end])) or {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise KnowledgeError(f"{file}:1: the front matter is no YAML ({error}); expected fields: correct it") from error
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise KnowledgeError(f"{file}:1: the front matter holds no plain fields; expected category, source, language")
    return {str(name): value for name, value in fields.items()}, "\n".join(lines[end + 1 :]), end + 1
