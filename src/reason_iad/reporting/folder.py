"""A folder of reports: `<name>.json`, `<name>.png` and `<name>.html` of each image, and `index.html` over all.

Each file appears whole or not at all: it is written beside its place and then moved there.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reason_iad.errors import InputError
from reason_iad.files import write_whole
from reason_iad.images import Pixels, encode_png
from reason_iad.reporting.figures import FloatMap, draw_figure
from reason_iad.reporting.html import IndexRow, render_index, render_report, thumbnail
from reason_iad.reporting.table import table_text
from reason_iad.types import InspectionReport, Verdict

INDEX = "index.html"
TABLE = "index.csv"


@dataclass(frozen=True)
class Truth:
    """What an image really shows, where that is known."""

    text: str
    verdict: Verdict


@dataclass
class ReportFolder:
    """Writes the reports of one run into one folder; `create` it before any model is loaded."""

    path: Path
    title: str = "Inspection"
    introduction: str = ""
    _rows: list[IndexRow] = field(default_factory=list)
    _names: set[str] = field(default_factory=lambda: {Path(INDEX).stem})

    @classmethod
    def create(cls, path: str | Path, title: str = "Inspection", introduction: str = "") -> ReportFolder:
        """Make the folder where it is missing, and prove that it can be written.

        Raises:
            InputError: it cannot be made or written.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise InputError(
                f"the report folder {path} cannot be written ({error.strerror}); expected a folder that can: "
                "choose another with --out"
            ) from error
        return cls(path, title, introduction)

    @property
    def index(self) -> Path:
        """The page over all images."""
        return self.path / INDEX

    @property
    def count(self) -> int:
        """How many images are on the index so far, with those that could not be inspected."""
        return len(self._rows)

    def add(
        self,
        report: InspectionReport,
        pixels: Pixels,
        anomaly_map: FloatMap | None = None,
        reference_pixels: Sequence[Pixels] = (),
        truth: Truth | None = None,
    ) -> str:
        """Write the three files of one image; returns the name they share."""
        name = self._unique(report.image)
        said = truth.text if truth else None
        page = render_report(report, pixels, anomaly_map, reference_pixels, truth=said, index_href=INDEX)
        # A file name in a foreign encoding holds lone surrogates: JSON and HTML get them as \udcXX.
        self._write(f"{name}.json", (report.to_json() + "\n").encode("utf-8", "backslashreplace"))
        self._write(f"{name}.png", encode_png(draw_figure(report, pixels, anomaly_map, truth=said)))
        self._write(f"{name}.html", page.encode("utf-8", "backslashreplace"))
        agrees = None if truth is None or report.verdict == "uncertain" else report.verdict == truth.verdict
        self._rows.append(IndexRow(report.image, report, f"{name}.html", thumbnail(pixels), said, agrees))
        return name

    def add_failure(self, name: str, error: str) -> None:
        """Keep on the index that an image could not be inspected, and why."""
        self._rows.append(IndexRow(name, error=error))

    def add_page(self, name: str, report: InspectionReport, pixels: Pixels | None = None) -> None:
        """Put a report of an earlier run, whose files `name` are in the folder, on the index."""
        self._names.add(name.casefold())
        small = "" if pixels is None else thumbnail(pixels)
        self._rows.append(IndexRow(report.image, report, f"{name}.html", small))

    def earlier(self) -> dict[str, tuple[str, InspectionReport]]:
        """Name and report of what an earlier run wrote whole into the folder, by the image's SHA-256."""
        found: dict[str, tuple[str, InspectionReport]] = {}
        for path in sorted(self.path.glob("*.json")):
            with contextlib.suppress(InputError, OSError, UnicodeDecodeError):  # another program's file
                report = InspectionReport.from_json(path.read_text("utf-8"))
                if path.with_suffix(".html").is_file():
                    found[report.image_sha256] = (path.stem, report)
        return found

    def finish(self) -> Path:
        """Write the index, and the same as a table; returns the path of the index."""
        table = table_text((row.name, row.report, row.error) for row in self._rows)
        self._write(TABLE, table.encode("utf-8", "backslashreplace"))
        page = render_index(self._rows, self.title, self.introduction)
        self._write(INDEX, page.encode("utf-8", "backslashreplace"))
        return self.index

    def _unique(self, image: str) -> str:
        """A file name from the image's, without anything a file system or a shell stumbles over."""
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(image).stem).strip(".")[:100] or "image"
        name, number = stem, 2
        while name.casefold() in self._names:  # some file systems do not tell upper from lower case
            name, number = f"{stem}-{number}", number + 1
        self._names.add(name.casefold())
        return name

    def _write(self, name: str, data: bytes) -> None:
        target = self.path / name
        try:
            write_whole(target, data, durable=False)
        except OSError as error:
            raise InputError(
                f"{target} could not be written ({error.strerror}); expected a folder with free space that can be "
                "written: free some or choose another with --out"
            ) from error
