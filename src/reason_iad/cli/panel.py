"""Inspecting a lot with a panel: every model makes its reports, which are kept; then they are joined into one each.

Models that run here have a process of their own, side by side where all of them fit into memory, else one after the
other. What a model has reported is found again by content, so that a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.cli.batch import Job, Loader, Outcome
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.types import InspectionReport

if TYPE_CHECKING:
    from reason_iad.workers import Tell

Maps = dict[str, Any]  # anomaly maps by digest of the image


def check_panel(args: argparse.Namespace) -> None:
    """Refuse what a panel cannot do.

    Raises:
        InputError: says what.
    """
    if args.faithfulness and (args.lot or args.watch):
        other = "--lot" if args.lot else "--watch"
        raise InputError(
            f"found --faithfulness with {other} and the panel {args.model}; expected one model: leave one of them out"
        )


def by_panel(jobs: Iterable[Job], args: argparse.Namespace, load: Loader, tell: Tell) -> Iterator[Outcome]:
    """Inspect every image with every model of the panel, and join what they report; in the order of the jobs.

    Raises:
        ReasonIADError: a model cannot be used; what the others reported is kept.
    """
    from reason_iad.inspection.panel import combine, remember
    from reason_iad.inspection.panel_inspector import usual_rate
    from reason_iad.inspection.panel_memory import PanelMemory
    from reason_iad.models.fingerprint import of_model
    from reason_iad.models.registry import members_of

    jobs, names = list(jobs), members_of(args.model)
    if not jobs:
        return
    passes = [_Pass(name, args, jobs, load, tell) for name in names]
    _run(passes, tell)
    memory = PanelMemory.of({name: of_model(name) for name in names})
    reports: list[dict[str, InspectionReport]] = []
    for job in jobs:
        mine = {one.name: one.reports[job.name] for one in passes if job.name in one.reports}
        reports.append(mine)
        if mine:
            remember(mine, memory)
    memory.save()
    for job, mine in zip(jobs, reports, strict=True):
        if not mine:
            yield job, next(one.errors[job.name] for one in passes if job.name in one.errors)
            continue
        failed = [f"{one.name}: {one.errors[job.name]}" for one in passes if job.name in one.errors]
        category = next(iter(mine.values())).category
        rate = args.max_overkill or usual_rate(category, bool(job.request.references))
        report = combine(mine, memory, rate)
        report = dataclasses.replace(report, notes=(*report.notes, *failed))
        yield job, _inspection(job, report, passes)


def _run(passes: Sequence[_Pass], tell: Tell) -> None:
    """Side by side where the models fit into memory together, else one after the other; the first error is raised."""
    if not _fit_together([one.name for one in passes]):
        tell("the models do not fit into memory together: one after the other")
        for one in passes:
            one.run()
    else:
        threads = [threading.Thread(target=one.run, daemon=True) for one in passes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for one in passes:
        if one.failed is not None:
            raise one.failed


def _fit_together(names: Sequence[str]) -> bool:
    """Whether the models that run here have room beside each other, as far as their sizes are known."""
    from reason_iad.models import memory
    from reason_iad.models.checkpoint import read_checkpoint
    from reason_iad.models.registry import NAMES, SERVED

    device = memory.pick_device("auto")
    needed, free = 0, memory.free_bytes(device)
    for name in names:
        if name in NAMES:
            needed += 2 * 10**9
        elif not name.startswith(SERVED):
            folder = Path(name).expanduser()
            if not folder.is_dir():
                return False  # not known before it is fetched
            found = read_checkpoint(folder)
            dtype = memory.pick_dtype("auto", device)
            needed += memory.need_of(found.num_parameters, memory.text_part(found.config), dtype).total
    return free is None or needed <= free


class _Pass:
    """One model of the panel over all images, in a process of its own where it runs here."""

    def __init__(self, name: str, args: argparse.Namespace, jobs: Sequence[Job], load: Loader, tell: Tell) -> None:
        from reason_iad.cli.method import method_options
        from reason_iad.inspection.panel_inspector import of_member

        self.name, self._jobs, self._load, self._tell = name, jobs, load, tell
        asked = of_member(method_options(args), name)
        changed = {"model": name, "reason": asked.reason, "offset": asked.offset, "out": None, "record": None}
        self._args = argparse.Namespace(**{**vars(args), **changed})
        self.reports: dict[str, InspectionReport] = {}
        self.errors: dict[str, ReasonIADError] = {}
        self.maps: Maps = {}
        self.goods: tuple[Any, ...] = ()
        self.failed: Exception | None = None

    def run(self) -> None:
        """Report on every image that this model has not reported on; an error that ends the pass is kept."""
        try:
            self._report()
        except Exception as error:  # noqa: BLE001 - told by whoever started the pass
            self.failed = error

    def _report(self) -> None:
        kept = self._kept()
        left = []
        for job in self._jobs:
            if (report := _read(kept / f"{_digest(job)}.json")) is not None:
                self.reports[job.name] = report
            else:
                left.append(job)
        for job, found in self._outcomes(left):
            if isinstance(found, ReasonIADError):
                self.errors[job.name] = found
                continue
            self.reports[job.name] = found.report
            self.maps[job.name], self.goods = found.anomaly_map, tuple(found.reference_pixels)
            _write(kept / f"{_digest(job)}.json", found.report)
            self._tell(f"{self.name}: {len(self.reports)} of {len(self._jobs)} images")

    def _outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        from reason_iad.cli.parallel import in_processes, in_threads
        from reason_iad.models.registry import SERVED

        if not jobs:
            return iter(())
        if self.name.startswith(SERVED):
            return in_threads(jobs, self._args.parallel, self._args, self._load, self._tell)
        return in_processes(jobs, self._args.jobs, self._args, self._load)

    def _kept(self) -> Path:
        """Where the reports of this model under these settings are kept."""
        from reason_iad.cli.made_by import made_by
        from reason_iad.files import home, sha256

        made = made_by(self._args, self._jobs[0].request.references)  # type: ignore[arg-type]
        return home() / "panels" / "reports" / sha256(json.dumps(made, sort_keys=True))[:16]


def _digest(job: Job) -> str:
    from reason_iad.files import sha256, sha256_of_file

    try:
        return sha256(sha256_of_file(job.path), job.request.category or "")[:32]
    except OSError:  # reading it as an image says what is wrong
        return "missing"


def _read(path: Path) -> InspectionReport | None:
    try:
        return InspectionReport.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ReasonIADError):
        return None


def _write(path: Path, report: InspectionReport) -> None:
    from reason_iad.files import write_whole

    write_whole(path, report.to_json(), durable=False)


def _inspection(job: Job, report: InspectionReport, passes: Sequence[_Pass]) -> Any:
    """The joined report with what its pictures are made from."""
    from reason_iad.images import read_image
    from reason_iad.inspection.compose import Inspection

    image = read_image(job.path, name=job.name, scale=job.scale)
    found = next((one.maps[job.name] for one in passes if one.maps.get(job.name) is not None), None)
    goods = next((one.goods for one in passes if one.goods), ())
    return Inspection(dataclasses.replace(report, image=job.name), image.pixels, found, goods)
