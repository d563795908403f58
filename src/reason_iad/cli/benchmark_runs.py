"""What the commands of `reason-iad benchmark` share: options of flags and file, the place of work, what is said."""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reason_iad.errors import InputError
from reason_iad.inspection.options import declared_settings
from reason_iad.languages import _, note, number

if TYPE_CHECKING:
    from reason_iad.benchmark.runner import Pool, Progress, RunOutcome
    from reason_iad.benchmark.setting import Setting
    from reason_iad.benchmark.solver import SolverFactory

RUN_OPTIONS = (
    "layout", "root", "questions", "known_faults", "out", "cache", "limit", "shard", "workers", "threads", "ray",
    "parallel",
    "minutes",
)  # fmt: skip
MOST_WORKERS, BYTES_EACH = 8, 2 * 2**30  # of the bundled model, where no number of processes is given


def setting_names() -> tuple[str, ...]:
    """Names of all settings of a run, as a configuration file knows them."""
    from reason_iad.benchmark.setting import Setting

    return tuple(declared.name for declared in declared_settings(Setting))


def ask_all(given: dict[str, Any], folders: dict[Setting, Path], args: argparse.Namespace) -> int:
    """Ask all questions under all settings and print what came of each."""
    from reason_iad.benchmark.runner import run_questions
    from reason_iad.datasets.manifest import seen_categories
    from reason_iad.datasets.questions import read_questions

    root, file = needed(given, "root", Path), needed(given, "questions", Path)
    questions = read_questions(root, file, bool(given.get("known_faults")))
    say_faults([str(fault) for fault in questions.faults])
    facts = {"images": len(questions.samples), "seen_categories": seen_categories(root)}
    pool = choose_pool(given, next(iter(folders)))
    with ProgressLine() as progress:
        outcome = run_questions(questions, folders, pool, facts, **run_options(given, args, progress))
    say_outcome(outcome, "questions asked")
    show_summaries(folders, args.json)
    return 2 if outcome.errors else 0


def run_options(given: dict[str, Any], args: argparse.Namespace, progress: ProgressLine) -> dict[str, Any]:
    """What `run_questions` and `run_detection` take alike: which part of the work, how long, and who is told."""
    from reason_iad.benchmark.plan import Shard

    return {
        "shard": Shard.parse(given.get("shard", "0/1")),
        "limit": given.get("limit"),
        "retry_errors": args.retry_errors,
        "seconds": 60 * given["minutes"] if "minutes" in given else None,
        "on_progress": progress.show,
    }


def say_faults(faults: list[str]) -> None:
    """Name the first faults of the data, and how many there are more."""
    for fault in faults[:10]:
        note(f"data fault: {fault}")
    if len(faults) > 10:
        note(f"and {len(faults) - 10} more data faults; all stand in the first line of plan-*.jsonl in the run")


def say_outcome(outcome: RunOutcome, done: str) -> None:
    """Say what was done, how fast, and what was kept, damaged or left."""
    for line in outcome.damaged:
        note(f"{line} is damaged; what it held was asked again")
    own = outcome.own_seconds / outcome.seconds if outcome.seconds else 0.0
    note(
        f"{outcome.asked} {done} in {outcome.seconds:.0f} s (harness itself {own:.1%}), "
        f"{outcome.kept} kept from before, {outcome.errors} errors, {outcome.left} left"
        + (f", {outcome.duplicates} duplicates take another's answer" if outcome.duplicates else "")
    )


def show_summaries(folders: dict[Setting, Path], as_json: bool) -> None:
    """Print the summary of each run: a table, or one JSON object a run."""
    from reason_iad.benchmark.compare import load_run, render_run

    for folder in folders.values():
        run = load_run(folder)
        print(json.dumps(run.to_json(), ensure_ascii=False) if as_json else render_run(run))


def choose_pool(given: dict[str, Any], setting: Setting | None, factory: SolverFactory | None = None) -> Pool:
    """Where the work is done: here, in local processes, or on Ray."""
    from reason_iad.benchmark import pool
    from reason_iad.benchmark.solver import InspectorSolver

    cache, threads = given.get("cache"), given.get("threads", 1)
    make: SolverFactory = factory or functools.partial(InspectorSolver.load, setting, cache, threads)
    parallel = given.get("parallel", 1)
    apart = factory is not None or setting is None or "ray" in given or parallel > 1
    workers = given.get("workers", 1 if apart or setting is None else usual_workers(setting, threads))
    if workers > 1 and "workers" not in given:
        note(f"answering in {workers} processes, one for each core (--workers 1 for one)")
    if parallel > 1:
        if "ray" in given or workers > 1:
            raise InputError("found --parallel with --workers or --ray; expected one of them: leave one out")
        return functools.partial(pool.answer_in_threads, make, parallel=parallel)
    if "ray" in given:
        from reason_iad.benchmark.pool import answer_on_ray

        return functools.partial(answer_on_ray, make, address=given["ray"], workers=workers)
    if workers == 1:
        return functools.partial(pool.answer_here, make)
    return functools.partial(pool.answer_in_processes, make, workers=workers)


def usual_workers(setting: Setting, threads: int) -> int:
    """Local processes where none are named: as many of the bundled model as have cores and memory, one of others."""
    from reason_iad.models.memory import free_bytes
    from reason_iad.processor import cores

    if setting.model != "nano" or setting.bundled_device != "cpu":
        return 1
    free = free_bytes("cpu")
    fit = 1 if free is None else free // BYTES_EACH
    return max(1, min(cores() // threads, fit, MOST_WORKERS))


def merged_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the configuration file, then those of the command line over them; unset ones are left out.

    Raises:
        InputError: the file cannot be read, or names an option that does not exist.
    """
    given = {} if args.config is None else _read_config(args.config)
    for name in (*setting_names(), *RUN_OPTIONS):
        if getattr(args, name, None) is not None:
            given[name] = getattr(args, name)
    return given


def _read_config(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected a TOML file such as docs/benchmark.md") from error
    allowed = {*setting_names(), *RUN_OPTIONS}
    if unknown := set(given) - allowed:
        raise InputError(f"{path} names {sorted(unknown)}; expected some of {sorted(allowed)}")
    for name in ("root", "questions", "out", "cache"):
        if name in given:
            given[name] = (path.parent / str(given[name])).resolve()
    for name in ("limit", "workers", "threads"):
        if name in given and (not isinstance(given[name], int) or given[name] < 1):
            raise InputError(f"{path} sets {name} to {given[name]!r}; expected a whole number above 0")
    return given


def needed(given: dict[str, Any], name: str, kind: type[Path]) -> Path:
    """A path that the command line or the file must give.

    Raises:
        InputError: neither gives it.
    """
    if name not in given:
        raise InputError(f"--{name} is missing; expected a path: give it, or set {name} in the --config file")
    return kind(given[name])


class ProgressLine:
    """One line on stderr with rate and time left: rewritten on a terminal, every ten seconds elsewhere."""

    def __init__(self, unit: str = "questions") -> None:
        self._live, self._said, self._unit = sys.stderr.isatty(), 0.0, unit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._live:
            sys.stderr.write("\r\x1b[K")

    def show(self, progress: Progress) -> None:
        """Tell how far the run is, not too often."""
        from reason_iad.reporting.text import duration

        now = time.monotonic()
        if now - self._said < (0.2 if self._live else 10) and progress.done < progress.total:
            return
        self._said = now
        line = _(
            "{done} of {total}, {rate} a second",
            done=progress.done,
            total=progress.total,
            rate=number(progress.rate, 2),
        )
        if progress.seconds_left is not None:
            line += f", {_('about {time} left', time=duration(1000 * progress.seconds_left))}"
        if progress.errors:
            line += f", {_('{count} errors', count=progress.errors)}"
        sys.stderr.write(f"\r\x1b[K{line}" if self._live else f"reason-iad: {line}\n")
        sys.stderr.flush()
