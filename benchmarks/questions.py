"""Accuracy on multiple-choice questions in the MMAD layout: the plain model beside the full method.

    python benchmarks/questions.py ROOT QUESTIONS --out RUN [--per-category 30] [--worker i/n] [--json]
    python benchmarks/questions.py --report RUN [--json]

Every image is asked under every setting: `plain` (the model alone), `full-1` and `full-4` (knowledge, evidence from
1 and 4 references, latents, injection). One JSON line a question, appended at once, so a stopped run goes on where it
was; the report gives accuracy per type with Wilson intervals and image AUROC per category. Detection in the full
method is the tool's own verdict probability, model and evidence fused; `model` beside it is the model's answer alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from reason_iad.datasets.mmad import DETECTION, MmadSample, read_mmad
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.inspection.inspector import Inspector, InspectorOptions
from reason_iad.metrics.classification import auroc, balanced_accuracy, expected_calibration_error
from reason_iad.metrics.intervals import bootstrap, share

PLAIN = InspectorOptions(knowledge="none", latents="off", injection="off", evidence="off")
SETTINGS: dict[str, tuple[InspectorOptions, int]] = {
    "plain": (PLAIN, 0),
    "full-1": (InspectorOptions(), 1),
    "full-4": (InspectorOptions(), 4),
}


def main() -> int:
    """Parse the command line and run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("questions", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path("runs/questions"))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--settings", nargs="+", choices=sorted(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--per-category", type=int, help="a random few images a category, half of them defective")
    parser.add_argument("--minutes", type=float, help="stop in time; the same command goes on later")
    parser.add_argument("--worker", default="0/1", help="this process's share i/n of the images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        if args.report:
            return report(args.report, args.json)
        if args.root is None or args.questions is None:
            parser.error("ROOT and QUESTIONS are needed to run")
        run(args)
        return report(args.out, args.json)
    except ReasonIADError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def choose(samples: tuple[MmadSample, ...], per_category: int | None, seed: int) -> list[MmadSample]:
    """A stratified random part: the same images whatever the worker; order mixed so that a stopped run is fair."""
    rng = random.Random(seed)
    strata: dict[tuple[str, bool], list[MmadSample]] = defaultdict(list)
    for sample in samples:
        strata[sample.category, any(q.kind.startswith("Defect") for q in sample.questions)].append(sample)
    chosen: list[MmadSample] = []
    for key in sorted(strata):
        rng.shuffle(strata[key])
        chosen.extend(strata[key][: per_category // 2 if per_category else None])
    rng.shuffle(chosen)
    return chosen


def run(args: argparse.Namespace) -> None:
    """Ask every chosen question under every setting and append the answers."""
    index, count = (int(part) for part in args.worker.split("/"))
    samples = choose(read_mmad(args.root, args.questions), args.per_category, args.seed)[index::count]
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"records-{index}.jsonl"
    done = {(r["image"], r["setting"]) for r in read_records(args.out)}
    base = Inspector.load(InspectorOptions())
    started = time.monotonic()
    with path.open("a", encoding="utf-8") as file:
        for number, sample in enumerate(samples):
            if args.minutes and time.monotonic() - started > args.minutes * 60:
                break
            for name in args.settings:
                if (str(sample.image), name) in done:
                    continue
                options, shots = SETTINGS[name]
                for record in ask(base, options, shots, sample, name):
                    file.write(json.dumps(record) + "\n")
                file.flush()
            left = (time.monotonic() - started) / (number + 1) * (len(samples) - number - 1)
            print(f"\r{number + 1}/{len(samples)} images, {left / 60:.0f} min left ", end="", file=sys.stderr)


def ask(base: Inspector, options: InspectorOptions, shots: int, sample: MmadSample, name: str) -> list[dict[str, Any]]:
    """All questions about one image under one setting."""
    view = base.with_options(options)
    session = view.open(sample.image, references=sample.templates("random", shots))
    records = []
    for q in sample.questions:
        began = time.monotonic()
        reply = session.dialog.choose(q.question, q.options)
        probabilities = [o.probability for o in reply.answer.options]
        record = {
            "image": str(sample.image), "category": sample.category, "setting": name, "type": q.kind,
            "target": q.target, "model": probabilities, "probabilities": probabilities,
            "base": list(reply.trace.base_answer), "stopped": reply.trace.stopped, "steps": len(reply.trace.steps),
            "milliseconds": round((time.monotonic() - began) * 1000, 1), "options": list(q.options),
        }  # fmt: skip
        if q.kind == DETECTION:
            yes = [o.lower().startswith("yes") for o in q.options].index(True)
            fused = session.probability(probabilities[yes])
            record["probabilities"] = [fused if i == yes else 1 - fused for i in range(len(q.options))]
            summary = session.context.summary
            record["yes"], record["evidence"] = yes, None if summary is None else summary.anomaly_score
        records.append(record)
    return records


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All complete lines of a run."""
    records = []
    for path in sorted(folder.glob("records-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:  # cut off by a kill; the image is asked again
                print(f"{path}: an incomplete line was left out", file=sys.stderr)
    return records


def report(folder: Path, as_json: bool) -> int:
    """Tables of a run; with --json the last line is one object."""
    records = read_records(folder)
    if not records:
        raise InputError(f"{folder} holds no records; run the benchmark first")
    by_setting = {s: [r for r in records if r["setting"] == s] for s in SETTINGS}
    images = [{r["image"] for r in found} for found in by_setting.values() if found]
    common = set.intersection(*images)
    summary: dict[str, Any] = {"images": len(common)}
    print(f"{len(common)} images under every setting\n")
    for setting, found in by_setting.items():
        mine = [r for r in found if r["image"] in common]
        if mine:
            summary[setting] = table(setting, mine)
    if as_json:
        print(json.dumps(summary))
    return 0


def table(setting: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Print accuracy per type and detection measures of one setting."""
    print(f"## {setting}\n\n| type | accuracy | changed by thought |\n|---|---|---|")
    result: dict[str, Any] = {"accuracy": {}}
    for kind in sorted({r["type"] for r in records}):
        mine = [r for r in records if r["type"] == kind]
        right = sum(pick(r["probabilities"]) == r["target"] for r in mine)
        moved = sum(pick(r["model"]) != pick(r["base"]) for r in mine)
        result["accuracy"][kind] = right / len(mine)
        print(f"| {kind} | {share(right, len(mine))} | {moved} |")
    macro = sum(result["accuracy"].values()) / len(result["accuracy"])
    result["macro"], result["n"] = macro, len(records)
    print(f"\nmacro average {macro:.3f}, {len(records)} questions, 0 unreadable (read from probabilities)")
    milliseconds = sum(r["milliseconds"] for r in records) / len(records)
    print(f"{milliseconds:.0f} ms a question after the prefix; stopped: {count(r['stopped'] for r in records)}\n")
    detection = [r for r in records if r["type"] == DETECTION]
    if detection:
        result["detection"] = detection_table(detection)
    return result


def detection_table(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Detection by category: balanced accuracy, image AUROC of the fused probability, of model and evidence alone."""
    print("| category | balanced | AUROC | model alone | evidence alone | n |\n|---|---|---|---|---|---|")
    labels = {id(r): r["target"] == r["yes"] for r in records}
    result: dict[str, Any] = {}
    for category in [*sorted({r["category"] for r in records}), "all"]:
        mine = [r for r in records if category in (r["category"], "all")]
        truth = [labels[id(r)] for r in mine]
        if len(set(truth)) < 2:
            continue
        fused = [r["probabilities"][r["yes"]] for r in mine]
        model = [r["model"][r["yes"]] for r in mine]
        area = bootstrap(range(len(mine)), lambda i, t=truth, f=fused: auroc([t[j] for j in i], [f[j] for j in i]), 300)
        alone = "-" if mine[0]["evidence"] is None else f"{auroc(truth, [r['evidence'] for r in mine]):.2f}"
        balanced = balanced_accuracy(truth, [p > 0.5 for p in fused])
        result[category] = {"balanced": balanced, "auroc": area.value}
        shown = f"{area.value:.2f} ({area.low:.2f}-{area.high:.2f})"
        print(f"| {category} | {balanced:.2f} | {shown} | {auroc(truth, model):.2f} | {alone} | {len(mine)} |")
        if category == "all":
            print(f"\nECE of the probability {expected_calibration_error(truth, fused):.3f}\n")
    return result


def pick(probabilities: list[float]) -> int:
    """Index of the most likely option."""
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def count(values: Any) -> dict[str, int]:
    """How often each value occurs."""
    found: dict[str, int] = defaultdict(int)
    for value in values:
        found[value] += 1
    return dict(found)


if __name__ == "__main__":
    sys.exit(main())
