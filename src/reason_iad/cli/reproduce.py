"""`reason-iad benchmark reproduce` and `benchmark verify`: a number by one command, and how another checks it."""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_iad.languages import note, told

if TYPE_CHECKING:
    from reason_iad.benchmark.card import Check
    from reason_iad.benchmark.runner import Pool, RunOutcome
    from reason_iad.benchmark.setting import Setting
    from reason_iad.benchmark.solver import Solver
    from reason_iad.datasets.mmad import MmadQuestions


def add_parsers(commands: Any) -> None:
    """Add `reproduce` and `verify` to the commands of `benchmark`."""
    reproduce = commands.add_parser(
        "reproduce",
        help="a published number by one command: plain, knowledge, evidence, full, and a card",
        description="Ask all questions of a file under four settings (plain, with knowledge, with evidence, full), say "
        "hours and memory before that, print the figures beside the published ones with 95 %% intervals, and write a "
        "card that `benchmark verify` checks. The same command goes on where it was stopped.",
    )
    reproduce.add_argument("benchmark_name", choices=("mmad",), metavar="mmad", help="the benchmark")
    _add_data(reproduce)
    add = reproduce.add_argument
    add("--model", default="nano", metavar="ID", help="language model (default: nano, the bundled one)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the runs, the table and the card")
    add("--limit", type=int, metavar="N", help="only N images, spread over the file: no published figure")
    add("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="float32",
        help="precision (default: float32, which is the same everywhere)")  # fmt: skip
    add("--device", default="auto", metavar="D", help="cpu, cuda, cuda:1 or mps (default: the best here)")
    add("--seed", type=int, default=0, metavar="N", help="seed of every random choice (default: 0)")
    add("--minutes", type=float, metavar="M", help="stop in time; the same command goes on later")
    add("--dry-run", action="store_true", help="check the data, say hours and memory, and end")
    reproduce.set_defaults(run=run_reproduce)
    verify = commands.add_parser(
        "verify",
        help="check the card of a result",
        description="Follow the figures of a card from the records that lie beside it; with --root and --questions "
        "also check that data and content are the same here, and ask the questions in the card again. Exit code 0 "
        "where all is the same, else 1.",
    )
    verify.add_argument("card", type=Path, metavar="CARD", help="card.json, or the folder that holds it")
    _add_data(verify, required=False)
    verify.set_defaults(run=run_verify)


def _add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    add = parser.add_argument
    add("--root", type=Path, required=required, metavar="DIR", help="folder of the data set")
    add("--questions", type=Path, required=required, metavar="FILE", help="questions over it")
    add("--known-faults", action="store_true", help="leave out what is known to be wrong in MMAD")
    add("--cache", type=Path, metavar="DIR", help="folder for image features, shared by all runs")
    add("--workers", type=int, default=1, metavar="N", help="local processes, each with a model (default: 1)")
    add("--threads", type=int, default=1, metavar="N", help="threads of each worker (default: 1)")
    add("--json", action="store_true", help="print the card, or the checks, as one JSON object")


def run_reproduce(args: argparse.Namespace) -> int:
    """Run, or go on with, all four settings; 0 when all was asked, 2 when some questions ended in an error."""
    from reason_iad.benchmark import reproduce
    from reason_iad.benchmark.runner import run_questions, spread
    from reason_iad.benchmark.setting import Setting
    from reason_iad.cli.benchmark_runs import ProgressLine
    from reason_iad.datasets.questions import read_questions
    from reason_iad.models.registry import check_model, memory_need, sees_references
    from reason_iad.reporting.text import duration

    check_model(args.model)
    questions = read_questions(args.root, args.questions, args.known_faults)
    for fault in questions.faults[:10]:
        note(f"data fault: {fault}")
    for said in reproduce.check_data(questions):
        note(said)
    base = Setting(model=args.model, seed=args.seed, dtype=args.dtype, device=args.device)
    settings = reproduce.settings_for(base, sees_references(args.model))
    folders = {name: args.out / name for name in settings}
    by_setting = {setting: folders[name] for name, setting in settings.items()}
    note(f"memory: {memory_need(args.model)}, in each of {args.workers} workers")
    pool = _pool(args, base)
    seconds = reproduce.probe(questions, by_setting, pool, args.limit)
    samples = spread(questions.samples, args.limit)
    asked = sum(len(sample.questions) for sample in samples)
    note(
        f"time: {asked:,} questions in {len(settings)} settings take about "
        f"{duration(1000 * seconds * asked / args.workers)} ({seconds:.2f} s for a question in all of them, measured "
        "on the first images)"
    )
    if args.dry_run:
        return 0
    limited = 60 * args.minutes if args.minutes is not None else None
    with ProgressLine() as progress:
        outcome = run_questions(
            questions, by_setting, pool, limit=args.limit, seconds=limited, on_progress=progress.show
        )  # fmt: skip
    _write_result(args, questions, folders, outcome)
    return 2 if outcome.errors else 0


def _write_result(
    args: argparse.Namespace, questions: MmadQuestions, folders: Mapping[str, Path], outcome: RunOutcome
) -> None:
    """Write card, table and page of the four runs, and print where they are and what is left."""
    from reason_iad.benchmark import reproduce
    from reason_iad.benchmark.card import make_card, write_card
    from reason_iad.benchmark.report import BenchmarkReport
    from reason_iad.files import write_whole

    runs = reproduce.load_runs(folders)
    card = make_card(runs, questions, reproduce.spot_images(questions, args.limit))
    path = write_card(card, args.out)
    whole = args.limit is None and (len(questions.samples), questions.num_questions) == reproduce.MMAD_SIZE
    shown = reproduce.table(card, whole and not outcome.left)
    write_whole(args.out / "reproduce.md", shown)
    page = BenchmarkReport.of(list(runs.values())).write(args.out / "report")
    print(json.dumps(card, ensure_ascii=False) if args.json else shown)
    if outcome.left:
        note(f"{outcome.left} questions are left; the same command goes on")
    note(f"card: {path} (check it with `reason-iad benchmark verify {path}`)")
    note(f"report: {page}")


def run_verify(args: argparse.Namespace) -> int:
    """Check a card; 0 where everything is the same, 1 where something differs."""
    from reason_iad.benchmark.card import check_again, check_records, read_card, software
    from reason_iad.benchmark.setting import Setting
    from reason_iad.datasets.questions import read_questions
    from reason_iad.errors import InputError

    card = read_card(args.card)
    folder = args.card if args.card.is_dir() else args.card.parent
    checks: list[Check] = list(check_records(card, folder))
    if args.root is not None and args.questions is not None:
        questions = read_questions(args.root, args.questions, bool(card["data"].get("known_faults_left_out")))
        loaded = Setting.from_mapping(next(iter(card["settings"].values())))
        checks += check_again(card, questions, _pool(args, loaded))
    if not checks:
        raise InputError(
            f"there is nothing to check {args.card} against; expected the runs beside it, or --root and --questions"
        )
    others = [
        f"{name} {now} here, {card['software'].get(name)} there"
        for name, now in software().items()
        if card["software"].get(name) != now
    ]
    if args.json:
        print(json.dumps({"checks": [vars(one) for one in checks], "software": others}))
    else:
        print("\n".join(told(str(one)) for one in checks))
        for one in others:
            note(f"other software: {one}")
    return 0 if all(one.good for one in checks) else 1


def _pool(args: argparse.Namespace, setting: Setting) -> Pool:
    """Where the work is done; one process keeps its model from the first images to the last."""
    from reason_iad.benchmark import pool
    from reason_iad.benchmark.solver import InspectorSolver

    factory = functools.partial(InspectorSolver.load, setting, args.cache, args.threads)
    if args.workers > 1:
        return functools.partial(pool.answer_in_processes, factory, workers=args.workers)
    kept: list[Solver] = []

    def once() -> Solver:
        if not kept:
            kept.append(factory())
        return kept[0]

    return functools.partial(pool.answer_here, once)
