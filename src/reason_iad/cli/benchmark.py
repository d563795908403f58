"""`reason-iad benchmark`: many questions or images under stated settings, resumable, compared with intervals."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from reason_iad.cli.benchmark_runs import (
    ProgressLine,
    ask_all,
    choose_pool,
    merged_options,
    needed,
    run_options,
    say_faults,
    say_outcome,
    setting_names,
    show_summaries,
)
from reason_iad.cli.method import add_method_options
from reason_iad.errors import InputError
from reason_iad.languages import note, say
from reason_iad.models.registry import JOINT
from reason_iad.types import KnowledgeMode, LatentMode

if TYPE_CHECKING:
    from reason_iad.benchmark.setting import Setting


def add_parser(subparsers: Any) -> None:
    """Add `benchmark` and its own subcommands."""
    from reason_iad.cli.reproduce import add_parsers

    parser = subparsers.add_parser("benchmark", help="ask many questions, resumable, and compare runs with intervals")
    commands = parser.add_subparsers(dest="benchmark", metavar="WHAT", required=True)
    mmad = commands.add_parser(
        "mmad",
        help="multiple-choice questions in the layout of MMAD",
        description="Ask every question of a file in the MMAD layout under one setting. The same command goes on where "
        "it was stopped; several commands may share one --cache.",
    )
    _add_run_options(mmad)
    add_setting_flags(mmad)
    mmad.set_defaults(run=run_mmad)
    ablate = commands.add_parser(
        "ablate",
        help="the same questions under many settings, image by image",
        description="Ask every question under many settings side by side: what settings share is done once, and a run "
        "that is stopped early has the same images in every setting. The grid is a preset, or the product of the "
        "values given for each part.",
    )
    _add_run_options(ablate)
    _add_grid_options(ablate)
    ablate.set_defaults(run=run_ablate)
    detect = commands.add_parser(
        "detect",
        help="detection and localization on a data set with labels and masks",
        description="Compare every test image of a data set with K normal training images of its category: image "
        "AUROC, average precision, largest F1, balanced accuracy, overkill, miss, pixel AUROC, AUPRO, ECE.",
    )
    _add_run_options(detect, questions=False)
    add = detect.add_argument
    add("--layout", metavar="NAME", help="layout of the data set (default: auto); see docs/benchmark.md")
    add("--shots", type=int, metavar="K", help="normal references of each category (default: 4)")
    add("--model", metavar="ID", help="also ask this model, and fuse (default: the comparison alone)")
    add("--seed", type=int, metavar="N", help="seed that draws the references (default: 0)")
    detect.set_defaults(run=run_detect)
    add_parsers(commands)
    report = commands.add_parser(
        "report",
        help="compare runs: tables, paired tests, plots",
        description="Compare runs on the questions they have in common: accuracy by type, detection, cost, paired "
        "differences with bootstrap intervals and McNemar's test. --out writes Markdown, CSV and a page with plots.",
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of an ablation's runs")
    report.add_argument("--baseline", metavar="NAME", help="run to compare the others with (default: the plainest)")
    report.add_argument("--out", type=Path, metavar="DIR", help="write Markdown, CSV, a page and plots there")
    report.add_argument("--no-published", action="store_true", help="leave the published figures out")
    report.add_argument("--json", action="store_true", help="print the summaries as one JSON object")
    report.set_defaults(run=run_report)


def _add_grid_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--preset",
        choices=("steps", "parts", "grid", "thought"),
        help="which settings (default: steps); see docs/benchmark.md",
    )
    add("--grid-shots", type=int, nargs="+", metavar="K", help="numbers of references")
    add("--grid-knowledge", nargs="+", choices=get_args(KnowledgeMode), help="uses of knowledge")
    add("--grid-latents", nargs="+", choices=get_args(LatentMode), help="kinds of latent reasoning")
    add("--grid-injection", nargs="+", choices=("off", "on"), help="visual injection")
    add("--grid-evidence", nargs="+", choices=("off", "on"), help="comparison with the references")
    add("--only", nargs="+", default=[], metavar="NAME", help="only these settings; --list names them")
    add("--list", action="store_true", help="name the settings and end")
    add_setting_flags(parser, leave_out=("knowledge", "latents", "injection", "evidence"))


def _add_run_options(parser: argparse.ArgumentParser, questions: bool = True) -> None:
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder of the data set")
    if questions:
        parser.add_argument("--questions", type=Path, metavar="FILE", help="questions over it, JSON in the MMAD layout")
        parser.add_argument(
            "--known-faults", action="store_true", default=None, help="leave out what is known to be wrong in MMAD"
        )
    parser.add_argument("--out", type=Path, metavar="RUN", help="folder of the run; an interrupted one goes on there")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder for image features, shared by all settings")
    parser.add_argument("--config", type=Path, metavar="TOML", help="file with these options; the command line wins")
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="only N images, spread over the file; of detect: a category"
    )
    parser.add_argument("--shard", metavar="I/N", help="this process's share of the images, such as 0/2")
    parser.add_argument("--workers", type=_count, metavar="N", help="local processes, each with a model (default: one "
                        "for each core that has memory for the bundled model, else 1)")  # fmt: skip
    parser.add_argument("--threads", type=_count, metavar="N", help="threads of each worker (default: 1)")
    parser.add_argument(
        "--parallel", type=_count, metavar="N", help="questions at a time that wait for a server (default: 1)"
    )
    parser.add_argument("--ray", metavar="ADDRESS", help="work on a Ray cluster; 'local' starts one here")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop in time; the same command goes on later")
    parser.add_argument("--retry-errors", action="store_true", help="ask again what ended in an error")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def add_setting_flags(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """Add a flag for every setting of a run; those not given stay unset, since a file may give them."""
    from reason_iad.benchmark.setting import Setting

    add_method_options(parser, leave_out, unset=True, settings=Setting)


def run_mmad(args: argparse.Namespace) -> int:
    """Run, or go on with, one setting; 0 when all was asked, 2 when some questions ended in an error."""
    from reason_iad.benchmark.setting import Setting

    given = merged_options(args)
    setting = _as_served(Setting.from_mapping({name: given[name] for name in setting_names() if name in given}), given)
    out = needed(given, "out", Path)
    if JOINT in setting.model:
        return _ask_panel(given, setting, out, args)
    return ask_all(given, {setting: out}, args)


def _ask_panel(given: dict[str, Any], setting: Setting, out: Path, args: argparse.Namespace) -> int:
    """Ask every model of a panel, one after the other, then join their answers."""
    from reason_iad.benchmark.panel import join_runs, member_folder
    from reason_iad.inspection.panel_inspector import of_member
    from reason_iad.models.fingerprint import of_model
    from reason_iad.models.registry import check_model, members_of

    check_model(setting.model)
    names = members_of(setting.model)
    folders = {name: member_folder(out, name) for name in names}
    worst = 0
    for name, folder in folders.items():
        note(f"asking {name}")
        alone = _as_served(of_member(setting, name), given)
        mine = {key: value for key, value in given.items() if key != "parallel" or name.startswith("openai:")}
        worst = max(worst, ask_all(mine, {alone: folder}, args))
    count = join_runs(out, setting, folders, {name: of_model(name) for name in names})
    note(f"{count} answers of {len(names)} models joined")
    show_summaries({setting: out}, args.json)
    return worst


def _as_served(setting: Setting, given: dict[str, Any]) -> Setting:
    """The setting as a model on a server can answer it; other models' are left as they are.

    Raises:
        InputError: latents or injection were asked for, which need the inside of the model.
    """
    from reason_iad.models.registry import SERVED

    if not setting.model.startswith(SERVED):
        return setting
    for name in ("latents", "injection"):
        if given.get(name, "off") != "off":
            raise InputError(
                f"found --{name} {given[name]}, and {setting.model} runs on a server, which gives no access to the "
                "inside of the model; expected off: leave the option out"
            )
    note(f"{setting.model} runs on a server: latents and injection, which need the inside of the model, are off")
    return dataclasses.replace(setting, latents="off", injection="off")


def run_ablate(args: argparse.Namespace) -> int:
    """Run, or go on with, many settings side by side, each into a folder of its own under --out."""
    from reason_iad.benchmark.ablation import Grid, choose, preset
    from reason_iad.benchmark.setting import Setting
    from reason_iad.models.registry import sees_references

    given = merged_options(args)
    base = Setting.from_mapping({name: given[name] for name in setting_names() if name in given})
    axes = {name: getattr(args, f"grid_{name}") for name in ("shots", "knowledge", "latents", "injection", "evidence")}
    chosen = {name: values for name, values in axes.items() if values is not None}
    if chosen and args.preset:
        raise InputError(f"found --preset {args.preset} and --grid-{next(iter(chosen))}; expected one of them")
    _check_preset(args)
    sees = sees_references(base.model)
    settings = Grid(**chosen).settings(base, sees) if chosen else preset(args.preset or "steps", base, sees)
    settings = choose(settings, args.only)
    if args.list:
        for name, setting in settings.items():
            print(f"{name:40} {setting}")
        return 0
    out = needed(given, "out", Path)
    return ask_all(given, {setting: out / name for name, setting in settings.items()}, args)


def _check_preset(args: argparse.Namespace) -> None:
    """Refuse settings that a preset sets itself.

    Raises:
        InputError: one was given.
    """
    chosen = ("details", "reward", "latent_depth") if args.preset == "thought" else ("shots",)
    if given := [name for name in chosen if getattr(args, name) is not None]:
        flag = given[0].replace("_", "-")
        remedy = "--grid-shots" if flag == "shots" else "no such option"
        raise InputError(f"found --{flag}, which the settings of the ablation vary themselves; expected {remedy}")


def run_detect(args: argparse.Namespace) -> int:
    """Run, or go on with, detection on a data set; 0 when all was judged, 2 when some images could not be."""
    from reason_iad.benchmark.detect import DetectSetting, DetectSolver
    from reason_iad.benchmark.detect_run import run_detection
    from reason_iad.benchmark.detect_summary import summarize_detection
    from reason_iad.datasets.registry import read_dataset

    given = merged_options(args)
    setting = DetectSetting.from_mapping({name: given[name] for name in ("shots", "model", "seed") if name in given})
    root, out = needed(given, "root", Path), needed(given, "out", Path)
    dataset = read_dataset(root, given.get("layout", "auto"))
    make = functools.partial(DetectSolver.load, setting.model, given.get("cache"), given.get("threads", 1))
    pool = choose_pool(given, None, make)
    with ProgressLine("images") as progress:
        outcome, faults = run_detection(dataset, setting, out, pool, **run_options(given, args, progress))
    for line in dataset.taken:
        note(f"taken: {line}")
    say_faults([str(fault) for fault in faults])
    say_outcome(outcome, "images judged")
    summary = summarize_detection(out)
    print(json.dumps({"dataset": dataset.name, **summary.to_json()}) if args.json else summary.render())
    return 2 if outcome.errors else 0


def run_report(args: argparse.Namespace) -> int:
    """Compare runs and print the report, or write it."""
    from reason_iad.benchmark.compare import find_folders, load_run
    from reason_iad.benchmark.detect_summary import report_detection
    from reason_iad.benchmark.record_log import read_run_file
    from reason_iad.benchmark.report import BenchmarkReport

    folders = find_folders(args.runs)
    tasks = {str(read_run_file(folder).get("task")) for folder in folders}
    if len(tasks) > 1:
        raise InputError(f"the runs are of {', '.join(sorted(tasks))}; expected runs of one kind: report each alone")
    if tasks == {"detect"}:
        summaries = [summary.to_json() for summary in report_detection(folders, args.out, quiet=args.json)]
        if args.json:
            print(json.dumps({"runs": summaries}))
        return 0
    report = BenchmarkReport.of([load_run(folder) for folder in folders], args.baseline, not args.no_published)
    if args.json:
        differences = [
            {
                "run": one.second,
                "baseline": one.first,
                "difference": one.difference.value,
                "interval": [one.difference.low, one.difference.high],
                "p": one.test.p_value,
            }
            for one in report.comparisons
        ]
        print(json.dumps({"runs": [run.to_json() for run in report.runs], "differences": differences}))
    elif args.out is None:
        print(report.to_markdown())
    if args.out is not None:
        say(f"report: {report.write(args.out)}", file=sys.stderr if args.json else sys.stdout)
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; expected a whole number above 0")
    return int(text)
