"""Tables to rows: CSV, the tables of Markdown files, and the layout of MMAD's domain_knowledge.json.

What a column means is read from its heading in English or German, then from what stands in it: a column of marks under
"Accepted" gives the kind of a row, a column of texts under it gives descriptions of good parts. Blank cells in the
leading columns inherit the value above, as merged cells of a sheet come out. All of it is said.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from reason_iad.errors import KnowledgeError
from reason_iad.knowledge.bulk import KINDS
from reason_iad.knowledge.columns import MARKS, NO_MARKS, find_roles, names_texts, understood_columns
from reason_iad.knowledge.polarity import is_empty, is_label, read_polarity, says_no_defect
from reason_iad.knowledge.rows import Row, Understanding
from reason_iad.types import EntryKind

_LAYOUT = "{data set: {object: {defect type: text}}}"
_LEADING = ("category", "defect_type", "kind", "status")  # what merged cells stand for
_DITTO = frozenset(('"', "''", "〃", "ditto", "do.", "dto.", "dto", "s.o.", "s. o.", "idem", "as above", "wie oben"))
_SEARCHED = 20  # lines in which the heading is looked for, below a sheet's title


def read_csv(text: str, file: str, understanding: Understanding | None = None) -> list[Row]:
    """Rows of a table with a heading line; comma, semicolon or tab between columns, or what a `sep=` line says.

    Besides `text`, the columns cause, consequence and check are read; what has a defect type is about that defect.

    Raises:
        KnowledgeError: no heading with a text column, a row of the wrong length, or a bad kind; names the line.
    """
    text = text.lstrip("\ufeff")
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().strip('"').casefold().startswith("sep=") and len(first.strip().strip('"')) == 5:
        delimiter, text, skipped = first.strip().strip('"')[4], rest, 1
    else:
        opening = text.split("\n", _SEARCHED)[:_SEARCHED]
        delimiter = max(",;\t|", key=lambda mark: max((understood_columns(line, mark) for line in opening), default=0))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num + skipped, cells) for cells in reader]
    except csv.Error as error:
        where = f"{file}:{reader.line_num + skipped}"
        raise KnowledgeError(f"{where}: {error}; expected a CSV file: check its quotes") from error
    understanding = understanding if understanding is not None else Understanding()
    start = next((n for n, (_, cells) in enumerate(lines[:_SEARCHED]) if names_texts(cells, understanding)), None)
    if start is None:
        heading = [cell.strip() for cell in lines[0][1]] if lines else []
        raise KnowledgeError(
            f"{file}:1: found the columns {', '.join(heading) or 'none'}; expected text (or description), and "
            "category, defect_type, kind, cause, consequence, check, source, language as needed"
        )
    if start:
        understanding.say(f"lines 1 to {lines[start - 1][0]} stand above the table's heading and were left out")
    return read_table(lines[start][1], lines[start + 1 :], file, understanding, f"{delimiter!r}")


def read_table(
    heading: Sequence[str],
    lines: Sequence[tuple[int, Sequence[str]]],
    file: str,
    understanding: Understanding,
    delimiter: str = "'|'",
    section: tuple[EntryKind | None, str] = (None, ""),
) -> list[Row]:
    """Rows of a table from the cells of its heading and of its numbered lines.

    Args:
        heading: names of the columns.
        lines: line number and cells of each row.
        file: named in errors.
        understanding: is told what was understood.
        delimiter: what stands between cells, for errors.
        section: kind and title of the heading that the table stands under, for what says none itself.

    Raises:
        KnowledgeError: a row that is longer than the heading, or a bad kind; names the line.
    """
    table: list[tuple[int, list[str]]] = []
    for line, given in lines:
        cells = [_plain(cell.strip()) for cell in given]
        if not any(cells):
            continue
        if any(cells[len(heading) :]):
            raise KnowledgeError(
                f"{file}:{line}: found {len(cells)} cells; expected {len(heading)}: put texts with {delimiter} into "
                "quotes"
            )
        table.append((line, (cells + [""] * len(heading))[: len(heading)]))
    roles = find_roles(heading, table, understanding)
    above = [["", ""] for _ in heading]  # of each column: the last value but for blanks, and the last value
    leading = sorted(i for i, role in roles.items() if role in _LEADING)
    rows: list[Row] = []
    for line, cells in table:
        identity = next((cells[i] for i, role in roles.items() if role == "id"), "")
        if "/" not in identity:
            _inherit(cells, above, leading, heading, understanding, roles)
        rows += _rows(cells, roles, file, line, section, understanding)
    return rows


def read_mmad(text: str, file: str) -> list[Row]:
    """Rows of MMAD's domain_knowledge.json: texts by defect type, by object, by data set (or without that level).

    Raises:
        KnowledgeError: not JSON, or of another layout.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise KnowledgeError(f"{file}:{line}: no JSON ({error}); expected {_LAYOUT}") from error
    rows = [
        Row(category, "normal" if says_no_defect(name) else "defect",
            None if says_no_defect(name) else name, words, f"{where}{category}/{name}")
        for where, category, name, words in _leaves(content, file)
    ]  # fmt: skip
    if not rows:
        raise KnowledgeError(f"{file}:1: holds no text; expected {_LAYOUT}")
    return rows


def _inherit(
    cells: list[str], above: list[list[str]], leading: Sequence[int], heading: Sequence[str],
    understanding: Understanding, roles: dict[int, str],
) -> None:  # fmt: skip
    """Fill blank leading cells, up to the first that is not, with the value above; products and dittos anywhere."""
    open_ = True
    for i in leading:
        value = above[i][-1]
        if cells[i].casefold() in _DITTO:
            cells[i] = next((one for one in reversed(above[i]) if one), "")
            understanding.say(f"column {heading[i].strip()!r}: a ditto mark has the value above it")
        elif not cells[i] and value and (open_ or roles[i] == "category"):
            cells[i] = value
            understanding.say(f"column {heading[i].strip()!r}: a blank cell has the value above it")
        elif cells[i]:
            open_ = False
        above[i] = [above[i][-1] or above[i][0], cells[i]]


def _rows(
    given: Sequence[str], roles: dict[int, str], file: str, line: int, section: tuple[EntryKind | None, str],
    understanding: Understanding,
) -> Iterator[Row]:  # fmt: skip
    cells: dict[str, str] = {}
    for i, role in roles.items():
        if role not in ("normal", "defect") and not role.startswith("kind:"):
            cells[role] = given[i] if role in ("defect_type", "id") or not is_empty(given[i]) else ""
    category = cells.get("category") or None
    kind, defect = _kind_of(cells, given, roles, file, line, section[0], understanding)
    common = (cells.get("source") or None, cells.get("language") or None)
    where = f"{section[1]}, line {line}" if section[1] else f"line {line}"
    text = cells.get("text", "")
    if text and (name := cells.get("id", "")).startswith(f"{category}/{kind}/"):  # of an export, no number of theirs
        yield Row(category, kind, defect, text, where, *common, name)
        return
    subject = f"{cells['subject']}: " if cells.get("subject") else ""
    if text and cells.get("consequence"):
        text = f"{text.rstrip('.')}. Possible consequence: {cells['consequence']}"
    if text:
        yield Row(category, kind, defect, subject + text, where, *common)
    for i, role in roles.items():
        if role in ("normal", "defect") and not is_empty(given[i]):
            yield Row(category, role, defect if role == "defect" else None, subject + given[i], where, *common)  # type: ignore[arg-type]
    pairs = (("Usual cause", cells.get("cause")), ("Check next", cells.get("check")))
    if process := " ".join(f"{label}: {words.rstrip('.')}." for label, words in pairs if words):
        yield Row(category, "process", defect, process, where, *common)


def _kind_of(
    cells: dict[str, str], given: Sequence[str], roles: dict[int, str], file: str, line: int,
    default: EntryKind | None, understanding: Understanding,
) -> tuple[EntryKind, str | None]:  # fmt: skip
    """Kind and defect type of a row: what says its kind first, then what its defect's name says."""
    defect: str | None = cells.get("defect_type", "")
    said = _said_kind(cells, given, roles, file, line, understanding)
    if defect and says_no_defect(defect):
        if defect.casefold() not in ("good", "normal", "ok"):
            understanding.say(f"{defect!r} in the column of defects: no defect")
        defect, said = None, said or "normal"
    elif defect and is_label(defect):  # "NG", "rejected": a fault without a name
        defect, said = None, said or "defect"
    kind = said or ("defect" if defect else default or "process")
    return kind, (defect or None) if kind != "normal" else None


def _said_kind(
    cells: dict[str, str],
    given: Sequence[str],
    roles: dict[int, str],
    file: str,
    line: int,
    understanding: Understanding,
) -> EntryKind | None:
    for i, role in roles.items():
        if role.startswith("kind:") and given[i]:
            value, polarity = given[i].casefold(), role.removeprefix("kind:")
            if value in MARKS:
                return polarity  # type: ignore[return-value]
            if value in NO_MARKS:
                return "defect" if polarity == "normal" else "normal"
            if not is_empty(value):
                return read_polarity(value)  # type: ignore[return-value]
    if value := cells.get("kind", "").casefold():
        if value in KINDS:
            return value  # type: ignore[return-value]
        if read_polarity(value) not in ("normal", "defect"):
            raise KnowledgeError(f"{file}:{line}: kind: found {value!r}; expected one of {', '.join(KINDS)}")
    value = value or cells.get("status", "")
    corrected = understanding.corrected(value) if value else None
    kind = corrected if corrected in KINDS else read_polarity(value)
    if kind in KINDS:
        understanding.say(f"{value!r}: {kind}")
        return kind  # type: ignore[return-value]
    if value:
        understanding.say(f'{value!r}: neither good nor defective, passed over (--as "{value}=defect" where it is)')
    return None


def _plain(cell: str) -> str:
    """A cell without the apostrophe that an export puts before what a spreadsheet would compute."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", "＝", "＋", "－", "＠") else cell


def _leaves(content: Any, file: str) -> Iterator[tuple[str, str, str, str]]:
    """(data set with a slash or empty, category, type, text) of two or three nested levels of objects."""
    if not isinstance(content, dict):
        raise KnowledgeError(f"{file}:1: found {type(content).__name__}; expected an object of data sets or categories")
    for name, inner in content.items():
        if not isinstance(inner, dict):
            raise KnowledgeError(f"{file}: {name}: found {type(inner).__name__}; expected an object of defect types")
        for key, value in inner.items():
            if isinstance(value, str):
                yield "", name, key, value
            elif isinstance(value, dict) and all(isinstance(words, str) for words in value.values()):
                for defect, words in value.items():
                    yield f"{name}/", key, defect, words
            else:
                raise KnowledgeError(f"{file}: {name}/{key}: found no texts; expected texts by defect type")
