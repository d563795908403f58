"""A report as one row of a table, for spreadsheets and line controllers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reason_iad.files import TABLE_MARK
from reason_iad.reporting.text import counts_phrase, total_milliseconds
from reason_iad.store.cells import cell_text, table_line
from reason_iad.types import InspectionReport

COLUMNS = (
    "image", "verdict", "probability", "anomaly_score", "category", "category_source", "defect_type",
    "defect_probability", "defect_types", "description",
    "consequence", "check_next", "regions", "place", "box_xyxy", "strength", "milliseconds", "image_sha256",
    "schema_version", "error",
)  # fmt: skip


def table_parts(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table piece by piece: for each image the cells of `report_row`, or its name and why there is none."""
    yield TABLE_MARK + table_line(COLUMNS)
    for cells in rows:
        if len(cells) == len(COLUMNS):
            yield table_line(cells)
        else:
            name, error = cells
            yield table_line([name, *[""] * (len(COLUMNS) - 2), error])


def report_row(report: InspectionReport) -> list[str]:
    """The cells of one report, in the order of `COLUMNS`; the place is that of the first region."""
    first, named = report.regions[0] if report.regions else None, report.naming
    values = (
        report.image, report.verdict, round(report.probability, 6), round(report.anomaly_score, 6), report.category,
        report.category_source, report.defect_type, named and round(named.types[0].probability, 4),
        counts_phrase(report.defect_counts), report.description, report.consequence, report.check_next,
        len(report.regions), first and first.place, first and " ".join(map(str, first.box_xyxy)),
        first and round(first.strength, 4), round(total_milliseconds(report), 1), report.image_sha256,
        report.schema_version, "",
    )  # fmt: skip
    return [cell_text(value) for value in values]
