"""Markdown, plain text and PDF to passages: short enough for a prompt, each with where it stood."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reason_iad.errors import KnowledgeError
from reason_iad.types import EntryKind

PASSAGE = 700  # characters: about 150 tokens, so that several fit into a prompt
MAX_PAGES = 2_000
MAX_PDF_BYTES = 100_000_000
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_BULLET = re.compile(r"^\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+")
_NAMED = re.compile(r"^\s*[-*+\u2022]\s+\**([^:.*]{2,60}?)\**:\**\s+(\S.*)$")
_NORMAL = re.compile(r"\b(normal|good|acceptable|conforming|intact|gut|i\.?o)\b", re.IGNORECASE)
_DEFECT = re.compile(r"\b(defects?|faults?|flaws?|anomal\w+|nonconform\w+|reject\w*|fehler)\b", re.IGNORECASE)
_PAGE_NUMBER = re.compile(r"\b\d+ ?(?:/|of|von) ?\d+\b|^\d+$|(?<=page )\d+|(?<=seite )\d+", re.IGNORECASE)
_LIGATURES = re.compile("[\ufb00-\ufb06]")
_STANDARD = re.compile(r"\b(?:standards?|ISO|IEC|EN|DIN|ASTM|IPC)\b")


@dataclass(frozen=True)
class Passage:
    """A piece of a document."""

    text: str
    where: str  # such as "page 3" or a heading; empty where the document has neither
    kind: EntryKind
    defect: str | None = None  # its name, where the document lists it as "Name: look"


def read_markdown(text: str, file: str) -> tuple[dict[str, str], list[Passage]]:
    """The front matter of a Markdown or text file and its passages, each led by the headings it stands under.

    List items of the form "Name: look" under a heading about defects become one passage each, with the defect's name.

    Raises:
        KnowledgeError: front matter that is not YAML fields.
    """
    fields, body = _front_matter(text, file)
    passages: list[Passage] = []
    headings: list[str] = []
    block: list[str] = []

    def close() -> None:
        lead = " / ".join(heading for heading in headings if heading)
        where = f'"{lead}"' if lead else ""
        if guess_kind(headings[-1] if headings else "", "") == "defect":
            named = [(line, _NAMED.match(line)) for line in block]
            passages.extend(Passage(found[2], where, "defect", found[1]) for _, found in named if found)
            block[:] = [line for line, found in named if not found]
        for piece in split_passages("\n".join(block)):
            shown = f"{lead}: {piece}" if lead else piece
            passages.append(Passage(shown, where, guess_kind(lead, piece)))
        block.clear()

    for line in body.splitlines():
        if found := _HEADING.match(line):
            close()
            level = len(found[1])
            headings = [*headings[: level - 1], *[""] * (level - 1 - len(headings)), found[2]]
        else:
            block.append(line)
    close()
    return fields, passages


def read_pdf(path: Path) -> list[Passage]:
    """The text of a PDF file by page.

    Raises:
        KnowledgeError: too large, encrypted, damaged, or without text, as a scan is.
    """
    import pypdf
    from pypdf.errors import PyPdfError

    if path.stat().st_size > MAX_PDF_BYTES:
        raise KnowledgeError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_PDF_BYTES:,}: split it")
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    passages = []
    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise KnowledgeError(f"{path} is encrypted; expected a PDF file that opens without a password: save it so")
        if len(reader.pages) > MAX_PAGES:
            raise KnowledgeError(f"{path} has {len(reader.pages):,} pages; at most {MAX_PAGES:,}: split it")
        pages = [_LIGATURES.sub(_spelled, page.extract_text()) for page in reader.pages]
        for number, text in enumerate(_without_margins(pages), 1):
            pieces = split_passages(_join_hyphens(text))
            passages += [Passage(piece, f"page {number}", guess_kind("", piece)) for piece in pieces]
    except KnowledgeError:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OSError) as error:
        raise KnowledgeError(f"{path} cannot be read ({error}); expected a PDF file: save it again") from error
    if not passages:
        raise KnowledgeError(f"{path} holds no text; expected text, not scanned pages: run text recognition first")
    return passages


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
    if _NORMAL.search(lead):
        return "normal"
    if _DEFECT.search(lead):
        return "defect"
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


def _front_matter(text: str, file: str) -> tuple[dict[str, str], str]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return {}, text
    end = next((i for i, line in enumerate(lines[1:201], 1) if line.strip() == "---"), None)
    if end is None:
        return {}, text  # a rule, not front matter
    import yaml

    try:
        fields: Any = yaml.safe_load("\n".join(lines[1:end])) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise KnowledgeError(f"{file}:1: the front matter is no YAML ({error}); expected fields: correct it") from error
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise KnowledgeError(f"{file}:1: the front matter holds no plain fields; expected category, source, language")
    return {str(name): value for name, value in fields.items()}, "\n".join(lines[end + 1 :])
