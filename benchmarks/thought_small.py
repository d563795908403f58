"""What forms of thought change on small defects alone, from runs that are there.

    python benchmarks/thought_small.py ROOT RUN [RUN ...] [--below 0.004] [--json]

ROOT holds the images of the runs with a manifest.csv that names masks. Of the runs, or of the folders of them that
`reason-iad benchmark ablate` wrote, only questions on images whose defect covers less than `--below` of the image are
kept; of detection also those on as many good images of the same products, so that calling everything defective gains
nothing. Every run is compared with the first: accuracy by type with intervals over images, McNemar's test with Holm's
correction, and the log-probability of the right option.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from reason_iad.benchmark.compare import Run, compare_runs, find_runs, on_common_questions
from reason_iad.benchmark.tables import holm
from reason_iad.datasets.listed import read_manifest
from reason_iad.datasets.masks import join_masks, read_mask


def defect_shares(root: Path) -> dict[str, tuple[str, float]]:
    """Of every image by its name: its category, and the share of it that its masks mark; 0 of a good one."""
    found = {}
    for sample in read_manifest(root).samples:
        if not sample.defective:
            found[sample.name] = (sample.category, 0.0)
        elif sample.masks:
            marked = join_masks([read_mask(path, sample.image) for path in sample.masks])
            if marked is not None:
                found[sample.name] = (sample.category, float((marked > 0).mean()))
    return found


def small_images(run: Run, shares: dict[str, tuple[str, float]], below: float) -> tuple[set[str], set[str]]:
    """Names of asked images with a small defect, and of as many good ones of each category, in order of the run."""
    names = list(dict.fromkeys(record["image"] for record in run.records.records))
    small = {name for name in names if 0 < shares.get(name, ("", 0.0))[1] < below}
    wanted: dict[str, int] = {}
    for name in small:
        wanted[shares[name][0]] = wanted.get(shares[name][0], 0) + 1
    good = set()
    for name in names:
        category, share = shares.get(name, ("", 1.0))
        if share == 0 and wanted.get(category, 0):
            good.add(name)
            wanted[category] -= 1
    return small, good


def main() -> None:
    """Parse, read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--below", type=float, default=0.004, help="share of the image")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    runs = on_common_questions(find_runs(args.runs))
    shares = defect_shares(args.root)
    small, good = small_images(runs[0], shares, args.below)
    asked = frozenset(
        (record["id"], record["question"], *record["options"])
        for record in runs[0].records.records
        if record["image"] in small or (record["image"] in good and record["type"] == "Anomaly Detection")
    )
    if not asked:
        parser.exit(2, f"no question of the runs is about a defect under {args.below:.1%} of its image\n")
    kept = [run.only(asked) for run in runs]
    print(
        f"{len(asked)} questions on {len(small)} images with a defect under {args.below:.1%}, {len(good)} good ones\n"
    )
    compared = [compare_runs(kept[0], run) for run in kept[1:]]
    corrected = holm([one.test.p_value for one in compared])
    kinds = list(kept[0].summary.accuracy)
    print("| run | right | against the first | p (Holm) | log-probability | " + " | ".join(kinds) + " |")
    print("|" + "---|" * (5 + len(kinds)))
    first = kept[0].summary
    cells = [f"{first.accuracy[kind].value:.3f} of {first.accuracy[kind].n}" for kind in kinds]
    print(f"| {kept[0].name} | {first.macro.value:.3f} | | | | " + " | ".join(cells) + " |")
    for run, one, p in zip(kept[1:], compared, corrected, strict=True):
        cells = [str(one.by_type[kind]) for kind in kinds]
        macro = run.summary.macro.value
        print(f"| {run.name} | {macro:.3f} | {one.difference} | {p:.2g} | {one.log_gain} | " + " | ".join(cells) + " |")
    if args.json:
        print(json.dumps({run.name: run.to_json() for run in kept}))


if __name__ == "__main__":
    main()
