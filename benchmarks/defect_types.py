"""Name the type of a defect from 0, 1, 4 and 8 labeled examples a type: macro accuracy, refusal, calibration.

    python benchmarks/defect_types.py ROOT ... --cache DIR [--only CATEGORY ...] [--split test] [--json FILE] [--fit]

ROOT holds a manifest.csv. Examples are drawn from `train`, ten times, and figures are of `test`; with `--split train`
both are of `train`, apart by group: that is what constants were chosen on, and `--fit` prints them. A type is one of
the manifest's; of an image with boxes that name types each box counts by itself. "given": the area is the mask's or the
box's. "found": it is the one that the comparison with good parts finds (8 of `train`; of paired categories the image's
own template; without good parts, what stands out in the image itself); what it misses is wrong. Intervals are of a
bootstrap over test images. With --ask, types are named by knowledge, look and model, too (`defect_unseen.py`): alone
where there are 0 examples, beside what the model alone says; else joined with the examples. Beside the others: a linear
probe (logistic regression) on the same numbers of the given area's first description. Descriptions are kept in --cache;
a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from defect_unseen import KNOWN, Answered, Asker, Tally

from reason_iad.datasets.masks import read_mask
from reason_iad.evidence.compare import compare
from reason_iad.evidence.features import EvidenceOptions
from reason_iad.evidence.memory_bank import MemoryBank
from reason_iad.evidence.paired import compare_paired
from reason_iad.evidence.regions import find_regions
from reason_iad.images import read_image
from reason_iad.inspection.details import SURE_OF_TYPE
from reason_iad.metrics.classification import auroc, expected_calibration_error
from reason_iad.naming.describe import LENGTH, describe_areas, fit_box
from reason_iad.naming.examples import DefectExample, DefectExamples, overlap
from reason_iad.naming.few_shot import weighted
from reason_iad.naming.namer import NONE, Namer, NamerSettings
from reason_iad.naming.teach import standing_out

Heard = Callable[["Area"], dict[str, float]]
GOODS, DRAWS, SHOTS = 8, 10, (1, 4, 8)
PAIRED = {"bare_pcb"}
UNKNOWN = 0.05  # share of areas whose type has no example, as constants are fitted for
MOST_IMAGES = {"bare_pcb": {"train": 24, "test": 36}}  # each shows about seven faults


@dataclass(frozen=True, eq=False)
class Area:
    """One labeled area: its type, and its description as given, and as found (None where it was missed)."""

    kind: str
    image: str
    group: str
    given: np.ndarray
    found: np.ndarray | None

    def seen(self, where: str) -> np.ndarray:
        """Its description as given, or as found."""
        if where == "given" or self.found is None:
            return self.given
        return self.found


def say(text: str) -> None:
    """Tell the person who watches."""
    print(text, file=sys.stderr, flush=True)


def rows_of(root: Path) -> list[dict[str, str]]:
    """Rows of defective images whose type is known."""
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def boxes_of(root: Path, row: dict[str, str], image_hw: tuple[int, int]) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Type and box of each labeled area of an image; boxes are scaled to the file that is there."""
    if row["boxes"]:
        stated = (int(row["height"]), int(row["width"]))
        found = [(str(b[4]), fit_box(tuple(b[:4]), stated, image_hw)) for b in json.loads(row["boxes"])]
        if row["category"] not in PAIRED:  # one type an image: its largest box
            mine = [(k, b) for k, b in found if k == row["defect_type"] and b] or [(k, b) for k, b in found if b]
            mine.sort(key=lambda one: -(one[1][2] - one[1][0]) * (one[1][3] - one[1][1]))
            return [(row["defect_type"], mine[0][1])]
        return [(kind, box) for kind, box in found if box is not None]
    reading = read_mask(root / row["mask"], root / row["image"])
    if reading.marked is None:
        return []
    y, x = np.nonzero(reading.marked)
    scale = image_hw[0] / reading.marked.shape[0], image_hw[1] / reading.marked.shape[1]
    box = (x.min() * scale[1], y.min() * scale[0], (x.max() + 1) * scale[1], (y.max() + 1) * scale[0])
    return [(row["defect_type"], fit_box(box, None, image_hw) or (0, 0, image_hw[1], image_hw[0]))]


class Describer:
    """Describes the labeled areas of one category's images."""

    def __init__(self, root: Path, category: str, rows: Sequence[dict[str, str]], vision: Any, cache: Path) -> None:
        self.root, self.category, self.vision = root, category, vision
        mine = [row for row in rows if row["category"] == category]
        self.templates = {(r["split"], r["group"]): r for r in mine if r["label"] == "normal"}
        goods = [r for r in mine if r["split"] == "train" and r["label"] == "normal"]
        self.bank = None
        if goods and category not in PAIRED:
            chosen = [goods[int(i)] for i in np.random.default_rng(0).permutation(len(goods))[:GOODS]]
            place = cache / f"{category}.bank"
            if not place.is_dir():
                pixels = [read_image(root / r["image"]).pixels for r in chosen]
                MemoryBank.build(pixels, vision, EvidenceOptions(rotations="off")).save(place)
            self.bank = MemoryBank.load(place)

    def describe(self, row: dict[str, str]) -> dict[str, np.ndarray]:
        """Types, and descriptions as given and as found, of the areas of an image: arrays for a file."""
        image = read_image(self.root / row["image"])
        labeled = boxes_of(self.root, row, image.image_hw)
        evidence = None
        if self.category in PAIRED:
            good = self.templates[row["split"], row["group"]]
            evidence = compare_paired(image.pixels, read_image(self.root / good["image"]).pixels)
            regions = [r.box_xyxy for r in evidence.regions(image.image_hw)]
        elif self.bank is not None:
            evidence = compare(image.pixels, self.bank, self.vision)
            regions = [r.box_xyxy for r in find_regions(evidence.heat, evidence.anomaly_map, image.image_hw)][:1]
        else:
            regions = [standing_out(image.pixels, self.vision)]
        found = [self._found(box, regions, len(labeled)) for _, box in labeled]
        boxes = [box for _, box in labeled] + [box for box in found if box is not None]
        template = None if evidence is None else evidence.template
        areas = describe_areas(image.pixels, boxes, self.vision, self.bank, template)
        given = np.stack([area.vector for area in areas[: len(labeled)]]).astype(np.float16)
        rest = iter(areas[len(labeled) :])
        missing = np.full(LENGTH, np.nan, np.float16)
        seen = np.stack([missing if box is None else next(rest).vector.astype(np.float16) for box in found])
        return {"kinds": np.array([kind for kind, _ in labeled]), "given": given, "found": seen}

    def _found(self, box: Any, regions: Sequence[Any], labeled: int) -> Any:
        """The region that stands for a labeled area: where an image has one, the strongest, wherever it lies."""
        if labeled == 1 and self.category not in PAIRED:
            return regions[0] if regions else None
        near = [r for r in regions if box[0] - 3 <= (r[0] + r[2]) / 2 <= box[2] + 3
                and box[1] - 3 <= (r[1] + r[3]) / 2 <= box[3] + 3]  # fmt: skip
        return max(near, key=lambda r: overlap(box, r), default=None)


def load_areas(root: Path, category: str, split: str, cache: Path, vision: Any) -> list[Area]:
    """Labeled areas of a split, described now or earlier."""
    rows = rows_of(root)
    mine = [r for r in rows if r["category"] == category and r["split"] == split and r["label"] != "normal"]
    mine = mine[: MOST_IMAGES.get(category, {}).get(split, len(mine))]
    describer: Describer | None = None
    areas = []
    for number, row in enumerate(mine):
        place = cache / category / f"{row['image'].replace('/', '-')}.npz"
        if not place.is_file():
            describer = describer or Describer(root, category, rows, vision(), cache)
            place.parent.mkdir(parents=True, exist_ok=True)
            arrays = describer.describe(row)
            draft = place.with_suffix(".part.npz")
            np.savez(draft, kinds=arrays["kinds"], given=arrays["given"], found=arrays["found"])
            draft.replace(place)
            say(f"{category} {split}: {number + 1} of {len(mine)}")
        with np.load(place) as held:
            for kind, given, found in zip(held["kinds"], held["given"], held["found"], strict=True):
                seen = None if np.isnan(found).any() else found.astype(np.float32)
                areas.append(
                    Area(str(kind), row["image"], row["group"] or row["image"], given.astype(np.float32), seen)
                )
    return areas


def examples_of(areas: Sequence[Area], both: bool) -> DefectExamples:
    """Areas as examples; `both` with the description of the found area, too, as `learn --defects` keeps them."""
    found = []
    for index, area in enumerate(areas):
        views = [area.given] if not both or area.found is None else [area.given, area.found]
        found.append(
            DefectExample(
                area.kind, area.image, area.image, (1, 1), (index, 0, index + 1, 1), np.stack(views), b"", "", ""
            )
        )
    return DefectExamples("", tuple(found), 1)


def draw(areas: Sequence[Area], kinds: Sequence[str], shots: int, seed: int) -> list[int]:
    """Indices of `shots` areas of each type."""
    rng = np.random.default_rng(seed)
    picked: list[int] = []
    for kind in kinds:
        mine = [index for index, area in enumerate(areas) if area.kind == kind]
        picked += [mine[int(i)] for i in rng.permutation(len(mine))[:shots]]
    return picked


def probe(examples: Sequence[Area], queries: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Types by a plain linear probe: logistic regression on standardized numbers."""
    from scipy.optimize import minimize

    x = np.stack([area.given for area in examples]).astype(float)
    y = np.array([kinds.index(area.kind) for area in examples])
    center, spread = x.mean(0), x.std(0) + 1e-6
    x, q = (x - center) / spread / math.sqrt(x.shape[1]), (queries - center) / spread / math.sqrt(x.shape[1])
    target = np.eye(len(kinds))[y]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(x.shape[1], len(kinds))
        z = x @ w
        z -= z.max(1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        lost = -float(np.log(np.maximum((p * target).sum(1), 1e-12)).sum()) + 0.05 * float((w**2).sum())
        return lost, (x.T @ (p - target) + 0.1 * w).ravel()

    found = minimize(loss, np.zeros(x.shape[1] * len(kinds)), jac=True, method="L-BFGS-B", options={"maxiter": 60})
    chosen: np.ndarray = (q @ found.x.reshape(x.shape[1], len(kinds))).argmax(1)
    return chosen


def measure(
    train: Sequence[Area], test: Sequence[Area], shots: int, where: str, settings: NamerSettings, said: Heard
) -> dict[str, Any]:
    """One arm: `shots` examples a type, areas given or found, joined with what knowledge, look and model say."""
    kinds = sorted({area.kind for area in train} & {area.kind for area in test})
    test = [area for area in test if area.kind in kinds]
    same = bool({area.image for area in train} & {area.image for area in test})
    tally, plain = (Tally([[] for _ in test], [a.kind for a in test], [a.image for a in test]) for _ in range(2))
    sure, right, refused, stated = [], [], [], []
    for seed in range(DRAWS):
        chosen = [train[index] for index in draw(train, kinds, shots, seed)]
        groups = {area.group for area in chosen}
        namer = Namer(examples_of(chosen, where == "found"), settings)
        mine = [i for i, area in enumerate(test) if not (same and area.group in groups)]
        seen = [i for i in mine if where == "given" or test[i].found is not None]
        vectors = np.stack([test[i].seen(where) for i in seen])
        for i in mine:
            if i not in set(seen):
                tally.right[i].append(0.0)
                plain.right[i].append(0.0)
        guesses = probe(chosen, vectors, kinds)
        for i, vector, guess in zip(seen, vectors, guesses, strict=True):
            named = namer.name(vector, said(test[i]))
            assert named is not None
            best = next(one for one in named.types if one.name != NONE)
            tally.right[i].append(float(best.name == test[i].kind))
            plain.right[i].append(float(kinds[int(guess)] == test[i].kind))
            sure.append(named.best.probability)
            right.append(named.best.name == test[i].kind)
            if named.best.probability >= SURE_OF_TYPE and named.best.name != NONE:
                stated.append(named.best.name == test[i].kind)
        if shots > 1:
            refused += [
                pair for kind in kinds for pair in _refusals(chosen, kind, test, seen, vectors, where, settings)
            ]
    of_found = np.array([i for i, area in enumerate(test) if where == "given" or area.found is not None])
    found = {"ours": tally.told(), "probe": plain.told(), "ece": round(expected_calibration_error(right, sure), 3),
             "found": round(len(vectors) / max(len(mine), 1), 3), "right_of_found": round(tally.macro(of_found), 3),
             "stated": round(len(stated) / max(len(right), 1), 3),
             "right_when_stated": round(float(np.mean(stated)), 3) if stated else None}  # fmt: skip
    if refused:
        found["none_auroc"] = round(float(np.mean(refused)), 3)
    return found


def ask_all(root: Path, category: str, test: Sequence[Area], cache: Path) -> dict[str, Answered]:
    """What the model says of each image of some areas; nothing where the knowledge does not name these types."""
    if category not in KNOWN:
        return {}
    rows, images = rows_of(root), {area.image for area in test}
    asker = Asker(root, category, rows, cache)
    return {row["image"]: asker.ask(row, category in PAIRED) for row in rows if row["image"] in images}


def heard(answered: dict[str, Answered], area: Area) -> dict[str, float]:
    """What knowledge, look and model say of each type of one area, by the name that the data give it."""
    if area.image not in answered:
        return {}
    one = answered[area.image]
    return dict(zip(one.names, map(float, one.joined), strict=True))


def measure_unseen(answered: dict[str, Answered], test: Sequence[Area], where: str) -> dict[str, Any]:
    """Without any example: by knowledge, look and model, and by the model alone."""
    ours, model, sure, told_ = [], [], [], []
    for area in test:
        one = answered[area.image]
        right = one.names.index(area.kind)
        model.append(float(int(one.model.argmax()) == right))
        if where == "found" and area.found is None:
            ours.append(0.0)
            continue
        p = one.joined
        ours.append(float(int(p.argmax()) == right))
        sure.append(float(p.max()))
        told_.append(bool(ours[-1]))
    kinds, images = [area.kind for area in test], [area.image for area in test]
    stated = [right for right, p in zip(told_, sure, strict=True) if p >= SURE_OF_TYPE]
    return {"ours": Tally([[one] for one in ours], kinds, images).told(),
            "model": Tally([[one] for one in model], kinds, images).told(),
            "ece": round(expected_calibration_error(told_, sure), 3), "stated": round(len(stated) / len(sure), 3),
            "right_when_stated": round(float(np.mean(stated)), 3) if stated else None}  # fmt: skip


def _refusals(
    chosen: Sequence[Area], kind: str, test: Sequence[Area], seen: Sequence[int], vectors: np.ndarray, where: str,
    settings: NamerSettings,
) -> Iterator[float]:  # fmt: skip
    """AUROC of "none of these" where one type has no example."""
    namer = Namer(examples_of([area for area in chosen if area.kind != kind], where == "found"), settings)
    scores, unknown = [], []
    for i, vector in zip(seen, vectors, strict=True):
        named = namer.name(vector)
        assert named is not None
        scores.append(next(one.probability for one in named.types if one.name == NONE) + 1e-6 * named.unfamiliar)
        unknown.append(test[i].kind == kind)
    if any(unknown) and not all(unknown):
        yield float(auroc(unknown, scores))


def fit(areas_by_category: dict[str, list[Area]]) -> NamerSettings:
    """Constants by draws of 2 to 8 examples, each type in turn unknown: T by likelihood, a and b by logistic fit."""
    from scipy.optimize import minimize

    base = NamerSettings()
    scaled: list[tuple[np.ndarray, int]] = []
    ratios: list[tuple[float, float, float]] = []
    for category, areas in areas_by_category.items():
        kinds = sorted({area.kind for area in areas})
        usable = [area for area in areas if area.found is not None]
        for seed in range(4):
            for shots in (2, 4, 8):
                chosen = [areas[i] for i in draw(areas, kinds, shots, seed)]
                groups = {area.group for area in chosen}
                rest = [a for a in usable if a.group not in groups or (category in PAIRED and a not in chosen)]
                namer = Namer(examples_of(chosen, True), base)
                assert namer.rule is not None
                points = weighted(np.stack([a.seen("found") for a in rest]))
                scores, _ = namer.rule.scores(points)
                scaled += [(s, namer.types.index(a.kind)) for s, a in zip(scores, rest, strict=True)]
                for kind in kinds:
                    less = Namer(examples_of([a for a in chosen if a.kind != kind], True), base)
                    if less.usual is None or less.rule is None:
                        continue
                    _, far = less.rule.scores(points)
                    share = sum(a.kind == kind for a in rest) / len(rest)
                    for a, d in zip(rest, far, strict=True):
                        unknown = a.kind == kind
                        weight = (UNKNOWN / share if unknown else (1 - UNKNOWN) / (1 - share)) / len(rest)
                        ratios.append((math.log(max(float(d), 1e-9) / less.usual), float(unknown), weight))

    def lost(t: float) -> float:
        total = 0.0
        for s, k in scaled:
            z = s / t
            total += float(np.log(np.exp(z - z.max()).sum()) + z.max() - z[k])
        return total / len(scaled)

    grid = np.exp(np.linspace(-1, 5, 40))
    temperature = float(grid[int(np.argmin([lost(t) for t in grid]))])
    x, y, w = (np.array(column) for column in zip(*ratios, strict=True))

    def logistic(ab: np.ndarray) -> float:
        z = ab[0] + ab[1] * x
        return float((w * (np.logaddexp(0, z) - y * z)).sum() / w.sum())

    a, b = minimize(logistic, np.array([-2.0, 3.0])).x
    counts = f"n={len(scaled)} and {len(ratios)}"
    print(f"T {temperature:.3f} (loss {lost(temperature):.3f}), a {a:.3f}, b {b:.3f}, {counts}")
    return replace(base, temperature=round(temperature, 3), none_offset=round(float(a), 3), none_slope=round(b, 3))


def main() -> None:
    """Describe, draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="+", type=Path, metavar="ROOT")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--ask", action="store_true", help="ask the model, too: 0 examples, and what it adds to some")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fit", action="store_true", help="print constants fitted on train, and measure nothing")
    args = parser.parse_args()
    loaded: list[Any] = []

    def vision() -> Any:
        if not loaded:
            from reason_iad.models.vision import BundledVision
            from reason_iad.models.vision_cache import CachedVision

            loaded.append(CachedVision(BundledVision.load()))
        return loaded[0]

    settings, results, parts = NamerSettings.load(), {}, {}
    for root in args.roots:
        named = [r for r in rows_of(root) if r["label"] != "normal" and r["defect_type"] not in ("", "unknown")]
        names = {r["category"] for r in named if r["mask"] or r["boxes"]}
        for category in sorted(names):
            if args.only and category not in args.only:
                continue
            train = load_areas(root, category, "train", args.cache, vision)
            if len({area.kind for area in train}) < 2:
                say(f"{category}: one type in train: left out")
                continue
            if args.fit:
                parts[category] = train
                continue
            test = train if args.split == "train" else load_areas(root, category, "test", args.cache, vision)
            answered = ask_all(root, category, test, args.cache) if args.ask else {}
            for shots in (0, *SHOTS) if answered else SHOTS:
                for where in ("given", "found"):
                    if shots:
                        found = measure(train, test, shots, where, settings, functools.partial(heard, answered))
                    else:
                        found = measure_unseen(answered, test, where)
                    results[f"{category} {shots} {where}"] = found
                    print(category, shots, where, json.dumps(found), flush=True)
    if args.fit:
        for left_out in parts:
            print(f"without {left_out}: ", end="")
            fit({name: areas for name, areas in parts.items() if name != left_out})
        print(fit(parts))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
