"""nano before and after the offset by references and after calibration, on real products.

    python benchmarks/calibration_nano.py collect --root ROOT ... --split train --rows TRAIN --per-category 5 --shots 4
    python benchmarks/calibration_nano.py collect --root ROOT ... --split test --rows TEST --per-category 6 --shots 4
    python benchmarks/calibration_nano.py report --train TRAIN --test TEST
    python benchmarks/calibration_nano.py choose --train TRAIN

`collect` asks about images of data sets beside references of their category and keeps each answer at once. `report`
chooses on TRAIN whether the offset helps, fits there, and measures on TEST: the model alone, the evidence alone, both
by the mean of their log-odds, by the fit that ships, and by one made on TRAIN, each with and without the offset; then a
panel of nano, the evidence and a model that guesses, weighed by agreement alone. Intervals by bootstrap over images.
`choose` compares fixed weights of model and comparison with a fit that each product is left out of in turn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reason_iad.calibration.rows import Row

CANDIDATES = (
    (0.0, 0.76, 0.31), (0.0, 0.0, 1.0), (0.0, 0.5, 0.5), (0.0, 0.3, 1.0), (0.3, 0.1, 1.0), (0.3, 0.3, 0.5),
    (0.3, 0.3, 1.0), (0.3, 0.5, 1.0), (0.6, 0.3, 1.0),
)  # fmt: skip


def collect(args: argparse.Namespace) -> None:
    """Ask about images of every root."""
    import torch

    from reason_iad.calibration.rows import RowFile, dataset_cases
    from reason_iad.calibration.rows import collect as ask
    from reason_iad.datasets.registry import read_dataset
    from reason_iad.inspection.inspector import Inspector
    from reason_iad.inspection.options import InspectorOptions
    from reason_iad.recognition.prototypes import CategoryPrototypes

    torch.set_num_threads(1)
    loaded = Inspector.load(InspectorOptions(latents="off", injection="off"))
    unset = Inspector(loaded.options, loaded.model, loaded.vision, loaded.knowledge, CategoryPrototypes.load())
    kept = RowFile.open(args.rows)
    for shots in args.shots:
        for root in args.root:
            cases = dataset_cases(read_dataset(root), (shots,), args.per_category, args.split)
            for line in ask(unset, cases, kept, lambda text: print(f"\r{text[:100]:<100}", end="", file=sys.stderr)):
                print(line)


def report(args: argparse.Namespace) -> None:
    """Print the tables."""
    import numpy as np

    from reason_iad.calibration.fusion import Quality, fit_fusion
    from reason_iad.calibration.rows import RowFile
    from reason_iad.inspection.verdict import Fusion, less
    from reason_iad.models.nano import read_adapter
    from reason_iad.models.sources import default_adapter
    from reason_iad.types import AnswerOffset

    train, test = (RowFile.open(path).rows for path in (args.train, args.test))
    shipped = Fusion.from_settings(read_adapter(default_adapter())[1], "with_evidence")
    plain = Fusion(0.0, 1.0, 1.0, "")

    def said(row: Row, offset: bool) -> float:
        mean = row["offset"]
        return less(row["model"], AnswerOffset((mean,), mean) if offset and mean is not None else None)

    def of(fusion: Fusion, rows: list[Row], offset: bool) -> list[float]:
        return [fusion.probability(said(row, offset), row["score"]) for row in rows]

    def show(name: str, rows: list[Row], stated: list[float]) -> None:
        q = Quality.of([row["defective"] for row in rows], stated)
        cells = (q.balanced_accuracy, q.auroc, q.calibration_error)
        told = " | ".join(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})" for e in cells)
        print(f"| {name} | {told} | {q.log_loss:.3f} |")

    fits = {offset: fit_fusion("with_evidence", train, offset).record for offset in (False, True)}
    for name, rows in (("TRAIN", train), ("TEST", test)):
        print(f"\n{name}: {len(rows)} images of {len({row['group'] for row in rows})} products, 4 references\n")
        print("| probability of a defect | balanced accuracy at 0.5 | AUROC | calibration error | log loss |")
        print("|---|---|---|---|---|")
        show("evidence alone", rows, [row["score"] for row in rows])
        for offset in (False, True):
            tail = ", less good parts" if offset else ""
            show(f"model alone{tail}", rows, [said(row, offset) for row in rows])
            show(f"mean of log-odds, no fit{tail}", rows, of(plain, rows, offset))
            show(f"the fit that ships{tail}", rows, of(shipped, rows, offset))
            record = fits[offset]
            made = Fusion(record["bias"], record["model"], record["evidence"], "")
            told = "a fit on TRAIN (not cross-fitted here)" if rows is train else "a fit on TRAIN"
            show(f"{told}{tail}", rows, of(made, rows, offset))
    for name, rows in (("TRAIN", train), ("TEST", test)):
        show_panel(name, rows, show)
    spent = [row["seconds"] for row in (*train, *test) if "seconds" in row]
    products = [offset for _, offset in spent if offset > 0.05]
    print(f"\nmedian seconds an image {np.median([image for image, _ in spent]):.2f}; of the offset, once a product, "
          f"{np.median(products):.2f} (n={len(products)})")  # fmt: skip


def show_panel(name: str, rows: list[Row], show: Callable[[str, list[Row], list[float]], None]) -> None:
    """Print what nano, the comparison and a model that guesses say together, without labels."""
    import numpy as np

    from reason_iad.inspection.panel import good_votes, join_defect
    from reason_iad.inspection.panel_weights import EVIDENCE, earn
    from reason_iad.inspection.verdict import less
    from reason_iad.metrics.classification import auroc
    from reason_iad.metrics.intervals import bootstrap
    from reason_iad.types import AnswerOffset

    truth, rng = np.array([row["defective"] for row in rows]), np.random.default_rng(0)
    goods: dict[str, dict[str, list[float]]] = {}
    voices = []
    for row in rows:
        mean, pairs = row["offset"], row["goods"]
        offset = AnswerOffset(tuple(odds for odds, _ in pairs), mean, tuple(score for _, score in pairs))
        votes = {"nano": less(row["model"], offset), EVIDENCE: row["score"]}
        voices.append(votes | {"a model that guesses": float(1 / (1 + np.exp(-rng.normal(0, 2))))})
        for item, said in good_votes({"nano": offset}):
            guess = float(1 / (1 + np.exp(-rng.normal(0, 2))))
            goods.setdefault(item, {n: [p, 1 - p] for n, p in (said | {"a model that guesses": guess}).items()})
    weights = earn([{n: [p, 1 - p] for n, p in votes.items()} for votes in voices], list(goods.values()))
    print(f"\nPanel on {name}, without labels: {weights.how}\n")
    print("| voice | balanced accuracy at 0.5 | AUROC | calibration error | log loss |\n|---|---|---|---|---|")
    for voice in voices[0]:
        show(voice, rows, [votes[voice] for votes in voices])
    joined = np.array([join_defect(votes, weights)[0] for votes in voices])
    show("the panel", rows, joined.tolist())
    evidence = np.array([row["score"] for row in rows])
    gain = bootstrap(range(len(rows)), lambda i: auroc(truth[i], joined[i]) - auroc(truth[i], evidence[i]))
    print(f"\nAUROC of the panel less that of the comparison: {gain}")
    if weights.found is not None:
        print({name: round(float(w), 2) for name, w in zip(weights.names, weights.found.weights, strict=True)})


def choose(args: argparse.Namespace) -> None:
    """Print what fixed weights would bring, by number of references, beside a cross-fitted fit."""
    import numpy as np

    from reason_iad.calibration.fusion import Quality, crossed, features_of
    from reason_iad.calibration.rows import RowFile
    from reason_iad.metrics.classification import auroc

    rows = RowFile.open(args.train).rows
    by_shots: dict[int, list[Row]] = {}
    for row in rows:
        by_shots.setdefault(16 if row["references"] > 8 else row["references"], []).append(row)
    for shots, some in sorted(by_shots.items()):
        truth = np.array([row["defective"] for row in some])
        products = np.array([row["group"] for row in some])
        names = sorted(set(products.tolist()))
        features = features_of(some, with_evidence=True, with_offset=False)
        folds = np.array([names.index(name) for name in products])
        print(f"\n{shots} references: {len(some)} images of {len(names)} products\n")
        print("| bias, model, comparison | AUROC | mean over products | balanced | calibration error | log loss |")
        print("|---|---|---|---|---|---|")
        tried = {
            ", ".join(map(str, weights)): 1 / (1 + np.exp(-features @ np.array(weights))) for weights in CANDIDATES
        }
        for name, stated in {**tried, "fitted, the product left out": crossed(features, truth, folds)}.items():
            q = Quality.of(truth.tolist(), stated.tolist())
            both = [m for m in (products == one for one in names) if 0 < truth[m].sum() < m.sum()]
            mean = np.mean([auroc(truth[m], stated[m]) for m in both])
            print(
                f"| {name} | {q.auroc.value:.3f} | {mean:.3f} | {q.balanced_accuracy.value:.3f} | "
                f"{q.calibration_error.value:.3f} | {q.log_loss:.3f} |"
            )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    asked = commands.add_parser("collect")
    asked.add_argument("--root", type=Path, nargs="+", required=True)
    asked.add_argument("--split", choices=("train", "test"), required=True)
    asked.add_argument("--rows", type=Path, required=True)
    asked.add_argument("--per-category", type=int, default=10)
    asked.add_argument("--shots", type=int, nargs="+", default=[4, 1])
    asked.set_defaults(run=collect)
    shown = commands.add_parser("report")
    shown.add_argument("--train", type=Path, required=True)
    shown.add_argument("--test", type=Path, required=True)
    shown.set_defaults(run=report)
    chosen = commands.add_parser("choose")
    chosen.add_argument("--train", type=Path, required=True)
    chosen.set_defaults(run=choose)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
