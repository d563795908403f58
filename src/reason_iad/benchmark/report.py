"""A report on several runs: tables, paired tests, plots; as Markdown, CSV and one HTML page.

All runs are shown on the questions they have in common; the first is the baseline of every difference.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from reason_iad import __version__
from reason_iad.benchmark.compare import Comparison, Run, compare_runs, on_common_questions
from reason_iad.benchmark.gallery import Gallery, galleries
from reason_iad.benchmark.plots import all_plots
from reason_iad.benchmark.published import published_results
from reason_iad.benchmark.tables import Table, all_tables
from reason_iad.errors import InputError
from reason_iad.files import write_whole

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class BenchmarkReport:
    """Runs on the same questions, the baseline first."""

    runs: tuple[Run, ...]
    left_out: dict[str, int]  # questions of each run that another has not been asked
    with_published: bool = True

    @classmethod
    def of(cls, runs: Sequence[Run], baseline: str | None = None, with_published: bool = True) -> BenchmarkReport:
        """Put runs side by side.

        Args:
            runs: at least one; those that share a name get their folders' names beside it.
            baseline: name of the run that the others are compared with; the plainest where None.
            with_published: whether published figures stand beside them, marked as such.

        Raises:
            InputError: no run, no common question, or no such baseline.
        """
        if not runs:
            raise InputError("found no run; expected at least one folder written by the benchmark")
        named = _with_distinct_names(sorted(runs, key=lambda run: (run.setting.shots, len(run.name), run.name)))
        if baseline is not None:
            if baseline not in [run.name for run in named]:
                raise InputError(f"no run is named {baseline!r}; expected one of {', '.join(r.name for r in named)}")
            named.sort(key=lambda run: run.name != baseline)
        common = on_common_questions(named)
        pairs = zip(named, common, strict=True)
        left_out = {run.name: len(run.records.records) - len(kept.records.records) for run, kept in pairs}
        return cls(tuple(common), left_out, with_published)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every run against the first."""
        return tuple(compare_runs(self.runs[0], run) for run in self.runs[1:])

    @property
    def introduction(self) -> str:
        """What was compared, in one paragraph."""
        first = self.runs[0].summary
        partial = [f"{name} {count}" for name, count in self.left_out.items() if count]
        more = f" Left out because another run has not been asked them: {', '.join(partial)}." if partial else ""
        return (
            f"{len(self.runs)} run{'s' if len(self.runs) > 1 else ''} on the same {first.n} questions about "
            f"{first.images} images. Intervals are 95 %: Wilson's for shares, bootstrap over images elsewhere. "
            f"Unreadable answers count as wrong.{more}"
        )

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """All tables, in reading order."""
        return all_tables(self.runs, self.comparisons, self.with_published)

    @cached_property
    def galleries(self) -> tuple[Gallery, ...]:
        """Questions worth looking at, with pictures where the data lies where it lay."""
        return galleries(self.runs)

    @cached_property
    def plots(self) -> dict[str, tuple[str, str]]:
        """Title and SVG of each plot, by file name."""
        return all_plots(self.runs)

    def to_markdown(self) -> str:
        """The whole report; plots are files beside it."""
        parts = ["# Benchmark", "", self.introduction, ""]
        parts += [f"{table.to_markdown()}\n" for table in self.tables]
        parts += [f"## {title}\n\n![{title}]({name}.svg)\n" for name, (title, _) in self.plots.items()]
        return "\n".join(parts)

    def to_csv(self) -> str:
        """Every figure as one line: run, part, measure, value, ends of the interval, n."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["run", "part", "measure", "value", "low", "high", "n"])
        for row in self._figures():
            writer.writerow(["" if cell is None else cell for cell in row])
        return out.getvalue()

    def to_html(self) -> str:
        """One page with the plots inside; it loads nothing."""
        import jinja2
        import markupsafe

        environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
        shown = [(title, markupsafe.Markup(svg)) for title, svg in self.plots.values()]  # noqa: S704 - escaped where made
        return environment.get_template("report.html").render(report=self, plots=shown, version=__version__)

    def write(self, folder: Path) -> Path:
        """Write report.md, report.csv, report.html and the plots; returns the page."""
        files = {"report.md": self.to_markdown(), "report.csv": self.to_csv(), "report.html": self.to_html()}
        files |= {f"{name}.svg": svg for name, (_, svg) in self.plots.items()}
        for name, text in files.items():
            write_whole(folder / name, text, durable=False)
        return folder / "report.html"

    def _figures(self) -> Iterator[tuple[Any, ...]]:
        for run in self.runs:
            for part, summary in {"all": run.summary, **run.parts}.items():
                for kind, one in {**summary.accuracy, "macro": summary.macro}.items():
                    yield run.name, part, f"accuracy: {kind}", one.value, one.low, one.high, one.n
                yield run.name, part, "official average", summary.official.average / 100, None, None, summary.n
                yield run.name, part, "unreadable", len(summary.unreadable), None, None, summary.n
                if (found := summary.detection) is not None:
                    count = found.num_normal + found.num_defective
                    yield run.name, part, "image AUROC", found.auroc.value, found.auroc.low, found.auroc.high, count
                    for name in ("balanced", "overkill", "miss", "ece"):
                        yield run.name, part, name, getattr(found, name), None, None, count
                if summary.cost is not None:
                    yield run.name, part, "milliseconds", summary.cost.total, None, None, summary.n
        for change in self.comparisons:
            for kind, one in {"all": change.difference, **change.by_type}.items():
                yield change.second, "all", f"difference to {change.first}: {kind}", one.value, one.low, one.high, one.n
            p_value, count = change.test.p_value, change.difference.n
            yield change.second, "all", f"McNemar p against {change.first}", p_value, None, None, count
        for line in published_results() if self.with_published else ():
            for kind, value in {**line.accuracy, "macro": line.average}.items():
                yield line.method, "published", f"accuracy: {kind}", value / 100, None, None, None


def _with_distinct_names(runs: Sequence[Run]) -> list[Run]:
    names = [run.name for run in runs]
    folders = [run.folder.name for run in runs]
    shown = folders if len(set(folders)) == len(folders) else [str(run.folder) for run in runs]
    return [
        replace(run, name=f"{run.name} [{folder}]") if names.count(run.name) > 1 else run
        for run, folder in zip(runs, shown, strict=True)
    ]
