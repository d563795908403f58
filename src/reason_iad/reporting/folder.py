"""A folder of reports: `<name>.json`, `<name>.png` and `<name>.html` of each image, and `index.html` over all.

Each file appears whole or not at all: it is written beside its place and then moved there. One run at a time writes a
folder; `run_log` says how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from reason_iad.errors import InputError
from reason_iad.files import replacing, write_whole
from reason_iad.images import Pixels, encode_png
from reason_iad.reporting.figures import FloatMap, draw_figure
from reason_iad.reporting.html import IndexRow, index_parts, render_report, thumbnail
from reason_iad.reporting.run_log import RunLog
from reason_iad.reporting.table import table_parts
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
    log: RunLog
    title: str = "Inspection"
    introduction: str = ""
    left_out: str = ""  # which files of the lot are no images, in words
    _counts: Counter[str] = field(default_factory=Counter)  # of verdicts, and of `failed`
    _types: Counter[str] = field(default_factory=Counter)  # number of defects by type
    _has_truth: bool = False
    _last: str = ""
    _names: set[str] = field(default_factory=lambda: {Path(INDEX).stem})

    @classmethod
    def create(
        cls,
        path: str | Path,
        title: str = "Inspection",
        introduction: str = "",
        made_by: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> ReportFolder:
        """Make the folder where it is missing, prove that it can be written, and hold it until `close`.

        Args:
            path: the folder.
            title: of the index.
            introduction: of the index.
            made_by: every setting that a report depends on; reports of others are never taken over.
            resume: whether reports of an earlier run are taken over by `take_earlier`.

        Raises:
            InputError: it cannot be made or written, another run writes it, or its reports were made by other settings.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            log = RunLog.claim(path, made_by)
        except OSError as error:
            raise InputError(
                f"the report folder {path} cannot be written ({error.strerror}); expected a folder that can: "
                "choose another with --out"
            ) from error
        folder = cls(path, log, title, introduction)
        if resume:
            try:
                folder._names.update(name.casefold() for name in log.resume())
            except InputError:
                folder.close()
                raise
        return folder

    @property
    def last(self) -> str:
        """Name of the image whose row was written last."""
        return self._last

    def __enter__(self) -> ReportFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another run write here."""
        self.log.close()

    @property
    def index(self) -> Path:
        """The page over all images."""
        return self.path / INDEX

    @property
    def count(self) -> int:
        """How many images are on the index so far, with those that could not be inspected."""
        return self.log.count

    def add(
        self,
        report: InspectionReport,
        pixels: Pixels,
        anomaly_map: FloatMap | None = None,
        reference_pixels: Sequence[Pixels] = (),
        truth: Truth | None = None,
    ) -> str:
        """Write the three files of one image; returns the name they share."""
        self._begin()
        name = self._unique(report.image)
        said = truth.text if truth else None
        page = render_report(report, pixels, anomaly_map, reference_pixels, truth=said, index_href=INDEX)
        # A file name in a foreign encoding holds lone surrogates: JSON and HTML get them as \udcXX.
        self._write(f"{name}.json", (report.to_json() + "\n").encode("utf-8", "backslashreplace"))
        self._write(f"{name}.png", encode_png(draw_figure(report, pixels, anomaly_map, truth=said)))
        self._write(f"{name}.html", page.encode("utf-8", "backslashreplace"))
        agrees = None if truth is None or report.verdict == "uncertain" else report.verdict == truth.verdict
        row = IndexRow.of(report, f"{name}.html", thumbnail(pixels), said, agrees)
        self._keep(row, report.image_sha256)
        return name

    def add_failure(self, name: str, error: str) -> None:
        """Keep on the index that an image could not be inspected, and why."""
        self._keep(IndexRow(name, error=error))

    def take_earlier(self, sha256: str, image: str) -> IndexRow | None:
        """Put the report that an earlier run made of this image on the index; None where there is none."""
        row = self.log.earlier(sha256, image)
        if row is not None:
            self._count(row)
        return row

    def take_all_earlier(self) -> Iterator[tuple[str, IndexRow]]:
        """Put every report of earlier runs on the index; gives the SHA-256 and the row of each."""
        for sha256, row in self.log.earlier_rows():
            self._count(row)
            yield sha256, row

    def finish(self) -> Path:
        """Write the index, and the same as a table; returns the path of the index."""
        self._stream(TABLE, table_parts(row.cells or (row.name, row.error or "") for row in self.log.rows()))
        parts = index_parts(
            self.log.rows(), self.count, self._counts, self._has_truth, self.title, self.introduction, self.left_out,
            self._types,
        )  # fmt: skip
        self._stream(INDEX, parts)
        return self.index

    def _begin(self) -> None:
        try:
            self.log.begin()
        except OSError as error:
            raise _not_written(self.log.path, error) from error

    def _keep(self, row: IndexRow, sha256: str = "") -> None:
        try:
            self.log.add(row, sha256)
        except OSError as error:
            raise _not_written(self.log.path, error) from error
        self._count(row)

    def _count(self, row: IndexRow) -> None:
        self._last = row.name
        self._counts[row.verdict or "failed"] += 1
        self._types.update(row.types)
        self._has_truth = self._has_truth or bool(row.truth)

    def _unique(self, image: str) -> str:
        """A file name from the image's place, without anything a file system or a shell stumbles over."""
        place = PurePosixPath(image)
        stem = "_".join(part for part in place.with_suffix("").parts if part not in ("/", "..")) if place.name else ""
        stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem).strip(".")[-100:] or "image"
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
            raise _not_written(target, error) from error

    def _stream(self, name: str, parts: Iterable[str]) -> None:
        target = self.path / name
        try:
            with replacing(target, durable=False) as draft, draft.open("wb") as file:
                for part in parts:
                    file.write(part.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise _not_written(target, error) from error


def _not_written(target: Path, error: OSError) -> InputError:
    return InputError(
        f"{target} could not be written ({error.strerror}); expected a folder with free space that can be written: "
        "free some or choose another with --out"
    )
