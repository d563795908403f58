"""Questions a second of the benchmark: in one process, in several local ones, on Ray; and what the harness costs.

    python benchmarks/throughput.py ROOT QUESTIONS [--images 12] [--pools here 2 ray] [--cache DIR] [--full] [--json]

Every pool answers the same questions with one thread a worker, from a warm feature cache. The rate is that of the last
three quarters of the answers, so that loading the model does not count. The harness' own share is the time spent in
its process outside the pool (planning, hashing, writing, progress), against all of it; the records of all pools are
compared, too.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from reason_iad.benchmark.ablation import PLAIN
from reason_iad.benchmark.pool import answer_here, answer_in_processes
from reason_iad.benchmark.record_log import read_records, same_content
from reason_iad.benchmark.runner import Pool, Progress, run_questions
from reason_iad.benchmark.setting import Setting
from reason_iad.benchmark.solver import InspectorSolver
from reason_iad.datasets.mmad import MmadQuestions, read_mmad
from reason_iad.errors import InputError, ReasonIADError

SKIPPED = 0.25  # of the answers, in which workers still load


def main() -> int:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--pools", nargs="+", default=["here", "2", "ray"], help="here, a number of processes, or ray")
    parser.add_argument("--cache", type=Path, help="feature cache (default: a new one, filled first)")
    parser.add_argument("--full", action="store_true", help="the full method with one reference, not the plain model")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            rows = measure_all(args, Path(scratch))
    except ReasonIADError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(rows, args.json)
    return 0


def measure_all(args: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    """One row a pool, in the order given."""
    setting = Setting(latents="on", injection="on") if args.full else PLAIN
    questions = read_mmad(args.root, args.questions)
    cache = args.cache or scratch / "cache"
    load = functools.partial(InspectorSolver.load, setting, cache, 1)
    if args.cache is None:
        measure("filling the cache", functools.partial(answer_here, load), questions, setting, args.images, scratch)
    rows, first = [], None
    for name in args.pools:
        row, content = measure(name, pool_named(name, load), questions, setting, args.images, scratch)
        first = first or content
        row["same_records"] = content == first
        rows.append(row)
    return rows


def pool_named(name: str, load: Any) -> Pool:
    """The pool that a name on the command line stands for."""
    if name == "here":
        return functools.partial(answer_here, load)
    if name.isdecimal() and int(name) > 0:
        return functools.partial(answer_in_processes, load, workers=int(name))
    if name == "ray":
        from reason_iad.benchmark.pool import answer_on_ray

        return functools.partial(answer_on_ray, load, workers=2)
    raise InputError(f"the pool is {name!r}; expected here, a number of processes, or ray")


def measure(
    name: str, pool: Pool, questions: MmadQuestions, setting: Setting, images: int, scratch: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run once into a new folder."""
    times: list[float] = []

    def note(_: Progress) -> None:
        times.append(time.perf_counter())

    folder = Path(tempfile.mkdtemp(dir=scratch))
    outcome = run_questions(questions, {setting: folder}, pool, limit=images, on_progress=note)
    start = int(len(times) * SKIPPED)
    rate = (len(times) - 1 - start) / (times[-1] - times[start])
    records = read_records(folder)
    row = {
        "pool": name,
        "questions": outcome.asked,
        "errors": outcome.errors,
        "per_second": rate,
        "own_share": outcome.own_seconds / (len(times) / rate),
        "own_milliseconds": 1000 * outcome.own_seconds / len(times),
    }
    return row, same_content(records.records)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print the table; with --json one object as the last line."""
    print("| pool | questions | a second | against the first | harness itself | ms of it a question | same records |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        ratio = row["per_second"] / rows[0]["per_second"]
        print(
            f"| {row['pool']} | {row['questions']} | {row['per_second']:.2f} | {ratio:.2f} | {row['own_share']:.2%} | "
            f"{row['own_milliseconds']:.2f} | {'yes' if row['same_records'] else 'NO'} |"
        )
    if as_json:
        print(json.dumps({"pools": rows}))


if __name__ == "__main__":
    sys.exit(main())
