"""nano before and after the offset by references and after calibration, on real products.

    python benchmarks/calibration_nano.py collect --root ROOT --split train --rows ROWS

`collect` asks about images of a data set beside references of their category and keeps each answer at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
