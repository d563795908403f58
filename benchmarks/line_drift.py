"""How often stable parts raise a drift alarm, and how soon a change of light, focus or place does.

Good parts are measured as a line measures them (`line/quantities.py`), as they are and altered: 5 % dimmer, slightly
blurred, shifted by 2 % of the picture. A profile is a draw of them; a stream is drawn from the others with replacement,
all quantities of a part together, each value moved by a twentieth of its spread so that no two are equal. Score and
recognition need the towers and are drawn from a normal distribution instead, altered parts included: they can raise
false alarms and cannot help to see a change.

    python benchmarks/line_drift.py DIR_OF_GOOD_PARTS ... --streams 10 --parts 2000
    python benchmarks/line_drift.py DIR_OF_GOOD_PARTS ... --steady

It prints, for profiles of 8, 20 and 60 good parts, alarms per 10,000 stable parts with an exact 95 % interval, and
parts until the alarm: median, nine tenths, and the share of streams in which there was one within 200 parts. Beside it
a two-sided CUSUM on each quantity, with a limit from Siegmund's formula for the same rate of false alarms and mean and
deviation estimated from the same good parts.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, stats

from reason_iad.images import Pixels, find_images, read_image
from reason_iad.line.drift import DriftTest, Quantity
from reason_iad.line.quantities import QUANTITIES, RECOGNITION, SCORE, measure

DRAWN = (SCORE.name, RECOGNITION.name)
MEASURED = tuple(one.name for one in QUANTITIES if one.name not in DRAWN)
SIDES = sum(len(one.sides) for one in QUANTITIES)
BEFORE, MOST = 100, 200  # stable parts before a change; parts after it
CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "5 % dimmer": lambda pixels: (pixels * 0.95).astype(np.uint8),
    "blurred": lambda pixels: np.asarray(ndimage.gaussian_filter(pixels, (*blur(pixels), 0))),
    "shifted": lambda pixels: np.roll(pixels, round(0.02 * pixels.shape[1]), axis=1),
}
Rows = dict[str, np.ndarray]  # values of n parts by quantity, (n,)


def blur(pixels: Pixels) -> tuple[float, float]:
    """Deviation of a slight blur, in pixels: 0.8 where the longer side has 512."""
    width = 0.8 * max(1.0, max(pixels.shape[:2]) / 512)
    return width, width


def main() -> None:
    """Measure and simulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=150, help="good parts of each product at most")
    parser.add_argument("--steady", action="store_true", help="one part of each product, photographed again and again")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--parts", type=int, default=2000, help="of a stable stream")
    parser.add_argument("--changed", type=int, default=20, help="streams with a change")
    parser.add_argument("--references", type=int, nargs="+", default=[8, 20, 60])
    parser.add_argument("--limit", type=int, default=10_000, help="parts per false alarm that are asked for")
    parser.add_argument("--tolerance", type=float, default=0.5)
    args = parser.parse_args()
    for folder in args.folders:
        found = measured(folder, args.images, args.steady)
        for count in args.references:
            print(json.dumps(simulate("/".join(folder.parts[-3:]), found, count, args)), flush=True)


def measured(folder: Path, most: int, steady: bool) -> dict[str, Rows]:
    """Values of the good parts of a folder, as they are and under each change."""
    paths = find_images(folder)[:most]
    if steady:
        one, rng = read_image(paths[0]).pixels, np.random.default_rng(0)
        pictures = [again(one, rng) for _ in range(most)]
    else:
        pictures = [read_image(path).pixels for path in paths]
    found = {"": [measure(one) for one in pictures]}
    for name, change in CHANGES.items():
        found[name] = [measure(change(one)) for one in pictures]
    return {
        name: {quantity: np.array([row[quantity] for row in rows]) for quantity in MEASURED}
        for name, rows in found.items()
    }


def again(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The same part under a steady camera: light within 1 %, place within a pixel of 512, noise of 2 gray levels."""
    step = max(pixels.shape[:2]) / 512
    moved = np.roll(pixels, [round(one) for one in rng.normal(0, step, 2)], axis=(0, 1))
    taken = moved * (1 + rng.normal(0, 0.01)) + rng.normal(0, 2, pixels.shape)
    return np.clip(taken, 0, 255).astype(np.uint8)


def simulate(product: str, found: Mapping[str, Rows], count: int, args: argparse.Namespace) -> dict[str, Any]:
    """One product with profiles of `count` good parts."""
    rng = np.random.default_rng(count)
    stable = found[""]
    total = len(next(iter(stable.values())))
    if count > total // 2:
        return {"product": product, "images": total, "references": count, "skipped": "too few images"}
    alarms = seen = cusum_alarms = cusum_seen = 0
    for _ in range(args.streams):
        order = rng.permutation(total)
        known, others = order[:count], order[count:]
        values = draw(stable, known, None, rng)
        stream = draw(stable, rng.choice(others, args.parts), stable, rng)
        one, parts = alarms_of(values, stream, args)
        alarms, seen = alarms + one, seen + parts
        one, parts = cusum(values, stream, args.limit)
        cusum_alarms, cusum_seen = cusum_alarms + one, cusum_seen + parts
    told: dict[str, Any] = {
        "product": product, "images": total, "references": count,
        "stable_parts": seen, "alarms_per_10000": rate(alarms, seen),
        "cusum_alarms_per_10000": rate(cusum_alarms, cusum_seen),
    }  # fmt: skip
    for name in CHANGES:
        told[name] = delays(found, name, count, rng, args)
    return told


def delays(
    found: Mapping[str, Rows], name: str, count: int, rng: np.random.Generator, args: argparse.Namespace
) -> dict[str, Any]:
    """Parts until a change is seen, of the streams in which no false alarm came before."""
    total = len(next(iter(found[""].values())))
    late: list[float] = []
    by: dict[str, int] = {}
    for _ in range(args.changed):
        order = rng.permutation(total)
        known, others = order[:count], order[count:]
        values = draw(found[""], known, None, rng)
        test = fresh(values, args)
        before = draw(found[""], rng.choice(others, BEFORE), found[""], rng)
        after = draw(found[name], rng.choice(others, MOST), found[""], rng)
        if first_alarm(test, before) is not None:
            continue
        at = first_alarm(test, after)
        late.append(math.inf if at is None else at)
        if test.alarm is not None:
            by[test.alarm.quantity] = by.get(test.alarm.quantity, 0) + 1
    within = [one for one in late if one < math.inf]
    ordered = sorted(late)
    return {
        "streams": len(late), "seen": round(len(within) / len(late), 2) if late else None,
        "median": of(ordered, 0.5), "nine_tenths": of(ordered, 0.9), "by": by,
    }  # fmt: skip


def of(ordered: list[float], share: float) -> float | None:
    """A quantile; None where it is never."""
    if not ordered:
        return None
    value = ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
    return None if value == math.inf else value


def draw(rows: Rows, which: np.ndarray, spread_from: Rows | None, rng: np.random.Generator) -> Rows:
    """Values of the parts `which` (n,), moved a little where `spread_from` says how far values lie apart."""
    found = {name: values[which].copy() for name, values in rows.items()}
    if spread_from is not None:
        for name, values in found.items():
            values += rng.normal(0, 0.05 * float(spread_from[name].std()), len(which))
    return found | {name: rng.standard_normal(len(which)) for name in DRAWN}


def fresh(known: Rows, args: argparse.Namespace) -> DriftTest:
    """A test beside known values."""
    values: dict[Quantity, tuple[float, ...]] = {one: tuple(known[one.name]) for one in QUANTITIES}
    return DriftTest(values, args.limit, args.tolerance)


def first_alarm(test: DriftTest, stream: Rows) -> int | None:
    """The part of a stream that raises the alarm, from 1."""
    for number in range(len(stream[SCORE.name])):
        if test.see({name: float(values[number]) for name, values in stream.items()}) is not None:
            return number + 1
    return None


def alarms_of(known: Rows, stream: Rows, args: argparse.Namespace) -> tuple[int, int]:
    """Alarms of a stable stream, the test begun anew after each, and its parts."""
    alarms, left = 0, stream
    while (at := first_alarm(fresh(known, args), left)) is not None:
        alarms += 1
        left = {name: values[at:] for name, values in left.items()}
    return alarms, len(stream[SCORE.name])


def cusum(known: Rows, stream: Rows, limit: int) -> tuple[int, int]:
    """The same of a CUSUM on each side of each quantity, with slack 0.5, begun anew after each alarm."""
    asked = limit * SIDES
    reach = 1.0
    for _ in range(200):  # Siegmund: the mean time of one side is (exp(b) - b - 1) / 0.5 with b = h + 1.166
        reach = math.log(0.5 * asked + reach + 1)
    level, alarms = reach - 1.166, 0
    standard = {
        one: (stream[one.name] - known[one.name].mean()) / max(float(known[one.name].std(ddof=1)), 1e-9)
        for one in QUANTITIES
    }
    sums = {(one, side): 0.0 for one in QUANTITIES for side in one.sides}
    for number in range(len(stream[SCORE.name])):
        for one, side in sums:
            step = standard[one][number] if side == "high" else -standard[one][number]
            sums[one, side] = max(0.0, sums[one, side] + float(step) - 0.5)
        if max(sums.values()) > level:
            alarms += 1
            sums = dict.fromkeys(sums, 0.0)
    return alarms, len(stream[SCORE.name])


def rate(alarms: int, parts: int) -> str:
    """Alarms per 10,000 parts with their exact Poisson interval."""
    low = 0.0 if not alarms else float(stats.chi2.ppf(0.025, 2 * alarms)) / 2
    high = float(stats.chi2.ppf(0.975, 2 * alarms + 2)) / 2
    scale = 10_000 / parts
    return f"{alarms * scale:.2f} (95 % CI {low * scale:.2f}-{high * scale:.2f})"


if __name__ == "__main__":
    main()
