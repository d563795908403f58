"""False alarms on unseen good parts at a rate the user sets: profiles learned on `train`, normals of `test` judged.

    python benchmarks/evidence_false_alarms.py ROOT [--json] [--max-overkill 0.02] [--limit N] [--categories NAME ...]
                                               [--cache DIR]

ROOT holds `manifest.csv` (image, category, split, label). What a category gave is kept in `--cache` beside the features
(see `evidence_features.py`): a run that was cut off goes on. Of each category every normal of `train` is learned, as
`reason-iad learn` does, and every normal and defective image of `test`, at most `--limit` a label, gets the profile's
verdict. Where the normals are too few for the rate, the profile says so, gives no threshold and calls images uncertain
that it cannot place. Intervals are Clopper-Pearson, 95 %.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from evidence_features import StoredTowers
from scipy import stats

from reason_iad.benchmark.features import evidence_code
from reason_iad.errors import InputError, ReasonIADError
from reason_iad.evidence.conformal import normals_needed
from reason_iad.evidence.profile import CategoryProfile
from reason_iad.images import read_image
from reason_iad.models.base import VisionTowers

PAIRED = {"bare_pcb"}  # boards are compared with their own templates, not with other boards


def judge(root: Path, rows: list[dict[str, str]], vision: VisionTowers, rate: float, limit: int) -> dict[str, Any]:
    """Learn one category and count its verdicts."""
    learned = [root / row["image"] for row in rows if (row["split"], row["label"]) == ("train", "normal")]
    profile = CategoryProfile.learn(rows[0]["category"], learned, vision)
    verdicts: dict[str, list[str]] = {"normal": [], "defective": []}
    for label, given in verdicts.items():
        for row in [
            row for row in rows if row["split"] == "test" and (row["label"] == "normal") == (label == "normal")
        ]:
            if len(given) == limit:
                break
            found = profile.compare(read_image(root / row["image"]).pixels, vision)
            given.append(profile.verdict(found, rate).verdict)
    stopped, count = verdicts["normal"].count("defective"), len(verdicts["normal"])
    interval = stats.binomtest(stopped, count).proportion_ci()
    return {
        "learned": len(profile.normals),
        "enough": len(profile.normals) >= normals_needed(rate),
        "normals": count,
        "false_alarms": stopped,
        "share": round(stopped / count, 4),
        "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        "normals_uncertain": verdicts["normal"].count("uncertain"),
        "defectives": len(verdicts["defective"]),
        "defectives_stopped": verdicts["defective"].count("defective"),
        "defectives_uncertain": verdicts["defective"].count("uncertain"),
        "promise": profile.verdict(found, rate).promise,
    }


def main() -> int:
    """Parse the command line and run."""
    from reason_iad.models.vision import BundledVision

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--max-overkill", type=float, default=0.02)
    parser.add_argument("--limit", type=int, default=1000, help="test images per category and label")
    parser.add_argument("--categories", nargs="+", default=[])
    parser.add_argument("--cache", type=Path, help="folder that keeps features; a temporary one if not given")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        manifest = args.root / "manifest.csv"
        if not manifest.is_file():
            raise InputError(f"{manifest} does not exist; expected a folder with a manifest.csv and its images")
        with manifest.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["category"] not in PAIRED]
        categories = args.categories or sorted({row["category"] for row in rows})
        result = {}
        print(
            "| category | normals learned | enough for it | false alarms | 95 % CI | uncertain | defectives stopped |"
        )
        print("|---|---|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            cache = args.cache or Path(folder)
            vision = StoredTowers(BundledVision.load(exact=True), cache)
            for category in categories:
                mine = [row for row in rows if row["category"] == category]
                facts = (str(args.root.resolve()), args.max_overkill, args.limit, evidence_code())
                key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
                kept = cache / "false_alarms" / f"{category}-{key}.json"
                if not kept.is_file():
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    found = judge(args.root, mine, vision, args.max_overkill, args.limit)
                    draft = kept.with_suffix(".draft")
                    draft.write_text(json.dumps(found), encoding="utf-8")
                    draft.replace(kept)
                one = result[category] = json.loads(kept.read_text(encoding="utf-8"))
                low, high = one["interval"]
                print(
                    f"| {category} | {one['learned']} | {'yes' if one['enough'] else 'no'} | {one['false_alarms']} of "
                    f"{one['normals']} ({one['share']:.3f}) | {low:.3f}-{high:.3f} | {one['normals_uncertain']} | "
                    f"{one['defectives_stopped']} of {one['defectives']} |",
                    flush=True,
                )
    except ReasonIADError as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(result, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
