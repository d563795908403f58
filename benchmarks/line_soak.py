"""Hours of a line in minutes: memory, midnight, a clock that is set, a camera that is lost and comes back.

The pictures are those of `line_video.py`'s film of good parts; what inspects, records and tells is the line itself,
with a clock that runs `--speed` times as fast. Midnight UTC comes after half of the time; after a third the camera is
lost for five minutes, after a quarter the clock of the wall is set back by half a minute, and after three quarters
forward by ten minutes.

    python benchmarks/line_video.py --out /tmp/line --prepare
    python benchmarks/line_soak.py --film /tmp/line/good.mp4 --out /tmp/soak --hours 4 --speed 24
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from reason_iad.cli.line import open_record
from reason_iad.images import Pixels
from reason_iad.line.clock import Clock
from reason_iad.line.frames import Frame, SourceLostError
from reason_iad.line.message import LineMessage
from reason_iad.line.parts import FACTORY
from reason_iad.line.runner import LineRunner, make_pool
from reason_iad.line.settings import LineSettings
from reason_iad.line.sinks import make_sink
from reason_iad.line.triggers import Each

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
LOST = 300.0  # seconds of the line


class Times:
    """A clock that runs fast, and whose wall is set twice."""

    def __init__(self, speed: float, total: float) -> None:
        self._speed, self._began = speed, time.monotonic()
        self._sets = ((total / 4, -30.0), (total * 3 / 4, 600.0))
        self._midnight = total / 2

    def seconds(self) -> float:
        """Seconds of the line since its beginning."""
        return (time.monotonic() - self._began) * self._speed

    def now(self) -> datetime:
        """What the wall says."""
        gone = self.seconds()
        moved = sum(by for at, by in self._sets if gone >= at)
        return MIDNIGHT + timedelta(seconds=gone - self._midnight + moved)

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds of the line."""
        time.sleep(seconds / self._speed)


class Camera:
    """Gives a part every so many seconds, but while it is lost; implements `Source`."""

    live = True

    def __init__(self, pictures: list[Pixels], times: Times, every: float, total: float) -> None:
        self._pictures, self._times, self._every, self._total = pictures, times, every, total
        self._rng = np.random.default_rng(0)
        self.given = 0

    def open(self) -> None:
        """Connect, unless it is lost."""
        self._check()

    def read(self) -> Frame | None:
        """The next part."""
        self._times.sleep(self._every - self._times.seconds() % self._every)
        if self._times.seconds() >= self._total:
            return None
        self._check()
        picture = self._pictures[self.given % len(self._pictures)] + self._rng.normal(0, 1, self._pictures[0].shape)
        self.given += 1
        return Frame(np.clip(picture, 0, 255).astype(np.uint8), self._times.now(), self._times.seconds())

    def close(self) -> None:
        """Nothing is held."""

    def _check(self) -> None:
        if self._total / 3 <= self._times.seconds() < self._total / 3 + LOST:
            raise SourceLostError("the made camera is unplugged")


def main() -> None:
    """Run and look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--category", default="bottle_cap_film")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--speed", type=float, default=24.0)
    parser.add_argument("--period", type=int, default=20, help="pictures of the film from one part to the next")
    parser.add_argument("--every", type=float, default=12.0, help="seconds between two parts")
    args = parser.parse_args()
    shutil.rmtree(args.out, ignore_errors=True)
    total = args.hours * 3600
    settings = LineSettings.model_validate({
        "line": {"name": "soak", "category": args.category}, "source": {"kind": "usb"}, "trigger": {"kind": "each"},
        "inspect": {"reason": "never", "streams": "fast"}, "record": {"folder": str(args.out)},
        "sink": [{"kind": "jsonl", "path": str(args.out / "parts-%Y-%m-%d.jsonl")}],
    })  # fmt: skip
    store, pool = open_record(settings), make_pool(settings, FACTORY, print)
    pictures = taken(args.film, args.period)
    times = Times(args.speed, total)
    camera = Camera(pictures, times, args.every, total)
    clock = Clock(times.now, times.seconds, times.sleep)
    sinks = [make_sink(one, settings.line) for one in settings.sink]
    runner = LineRunner(settings, store, pool, camera, Each(), sinks, clock, print)
    sizes: list[tuple[float, float, float]] = []
    watching = threading.Event()
    thread = threading.Thread(target=watch, args=(watching, times, lambda: pool.pids, sizes), daemon=True)
    thread.start()
    runner.run(threading.Event())
    watching.set()
    thread.join(5)
    pool.close()
    store.close()
    report(args.out, camera, runner, sizes)


def taken(film: Path, period: int) -> list[Pixels]:
    """Each part of a film, three fifths into its time, when it lies still."""
    import av

    with av.open(str(film)) as container:
        return [
            one.to_ndarray(format="rgb24")
            for number, one in enumerate(container.decode(video=0))
            if number % period == period * 3 // 5
        ]


def watch(
    stop: threading.Event, times: Times, pids: Callable[[], tuple[int, ...]], sizes: list[tuple[float, float, float]]
) -> None:
    """Note the resident memory of both processes, in MB, every ten minutes of the line."""
    while not stop.is_set():
        both = [resident("self"), *(resident(str(pid)) for pid in pids())]
        sizes.append((times.seconds(), both[0], both[1] if len(both) > 1 else 0.0))
        times.sleep(600)


def resident(process: str) -> float:
    """Resident memory of a process in MB."""
    try:
        rows = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return float(next((row.split()[1] for row in rows if row.startswith("VmRSS")), 0)) / 1024


def report(out: Path, camera: Camera, runner: LineRunner, sizes: list[tuple[float, float, float]]) -> None:
    """What was told, beside what was given."""
    files = sorted(out.glob("parts-*.jsonl"))
    rows = [[LineMessage.model_validate_json(row) for row in file.read_text().splitlines()] for file in files]
    told = sorted((one for file in rows for one in file), key=lambda one: one.sequence)
    steady = [size for size in sizes if size[0] > 1200]
    back = sum(after.at < before.at for before, after in itertools.pairwise(told))
    days = ((file.name, one.at.strftime("%Y-%m-%d")) for file, ones in zip(files, rows, strict=True) for one in ones)
    print(json.dumps({
        "given": camera.given, "dropped": runner.capture.slot.dropped,
        "parts_told": sum(one.kind == "part" for one in told), "verdicts": dict(runner.telling.tally.parts),
        "numbers_without_gap": [one.sequence for one in told] == list(range(1, len(told) + 1)),
        "files": [file.name for file in files], "each_in_the_file_of_its_day": all(day in name for name, day in days),
        "times_that_went_back": back, "notices": [one.notice.event for one in told if one.notice is not None],
        "drift_alarms": sum(one.kind == "drift" for one in told),
        "line_mb": [round(size[1]) for size in sizes], "model_mb": [round(size[2]) for size in sizes],
        "line_growth_mb_per_hour": slope(steady, 1), "model_growth_mb_per_hour": slope(steady, 2),
    }, indent=2))  # fmt: skip


def slope(sizes: list[tuple[float, float, float]], column: int) -> float | None:
    """Growth in MB an hour of the line, least squares."""
    if len(sizes) < 3:
        return None
    fitted = np.polyfit([size[0] / 3600 for size in sizes], [size[column] for size in sizes], 1)
    return round(float(fitted[0]), 2)


if __name__ == "__main__":
    main()
