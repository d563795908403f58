"""A lot on two machines of a Ray cluster, one of which is killed on the way: are the reports those of a local run?

    python benchmarks/ray_lot.py [--images 100 | --lot DIR --good DIR] [--cheap] [--folder DIR] [--json]

Rendered tablets, one in twenty defective, and four good parts, or a lot and good parts of one's own, are inspected
twice by `reason-iad inspect` with fast streams: by two local processes, and by two actors on a cluster of two nodes,
the second of which is ended by SIGKILL (its raylet and with it its actor) once a third of the reports is written. Every
report is compared field by field but for times, every table row and picture by its bytes. Exits with 1 where one
differs or is missing.

With --cheap the inspector is one that costs next to nothing (`inputs_cheap.py`): order, retries, reports and index at a
scale where the real one would take an hour of this machine. With --folder images and reports are kept there, and a run
that was cut goes on with what is missing. The nodes are processes of this machine (`ray.cluster_utils.Cluster`): what
is tried is the loss of one, not the network between them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers import without_times

from reason_iad.images import encode_png

DEFECTIVE = 20  # one in so many
KILL_AFTER = 1 / 3  # of the reports
COMMAND = [sys.executable, "-m", "reason_iad.cli.app", "inspect"]
METHOD = ["--streams", "fast", "--reason", "auto", "--jobs", "2"]


def make(folder: Path, count: int) -> None:
    """Write the lot and its good parts, where they are not there yet."""
    from reason_iad.training.synth import Synthesizer

    line = Synthesizer(11).make_line(0, "tablet")
    for place in ("lot", "good"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (folder / "good" / f"{number}.png").write_bytes(encode_png(line.normal(100_000 + number)))
    for number in range(count):
        path = folder / "lot" / f"{number:05d}.png"
        if not path.is_file():
            bad = number % DEFECTIVE == DEFECTIVE - 1
            path.write_bytes(encode_png(line.defective(number).pixels if bad else line.normal(number)))


def reports(out: Path) -> int:
    """How many are written."""
    return sum(1 for _ in out.glob("*.json")) if out.is_dir() else 0


@dataclass(frozen=True)
class Lot:
    """What is inspected."""

    images: Path
    good: Path
    count: int
    cheap: bool

    def command(self, out: Path, *more: str) -> list[str]:
        """The command line of a run; one that was cut goes on."""
        program = [sys.executable, __file__, "--serve"] if self.cheap else COMMAND
        given = [*program, str(self.images), "--reference", str(self.good), "--out", str(out), *METHOD, *more]
        return [*given, "--resume"] if out.is_dir() else given


def run_here(folder: Path, lot: Lot) -> float:
    """Inspect with two local processes; seconds."""
    began = time.monotonic()
    with (folder / "here.log").open("ab") as log:
        subprocess.run(lot.command(folder / "here"), check=True, stdout=log, stderr=log)
    return time.monotonic() - began


def run_on_ray(folder: Path, lot: Lot) -> tuple[float, int]:
    """Inspect on two nodes and kill one; seconds, and how many reports were written by then."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # only the loss that is made here
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("RAY_worker_niceness", "0")  # as the local processes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    out, note = folder / "ray", folder / "killed_after"
    written = int(note.read_text()) if note.is_file() else -1  # in a run that was cut
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        began, already = time.monotonic(), reports(out)
        with (folder / "ray.log").open("ab") as log:
            given = lot.command(out, "--ray", cluster.address)
            with subprocess.Popen(given, stdout=log, stderr=log) as process:
                while process.poll() is None:
                    if written < 0 and reports(out) >= max(already + 4, KILL_AFTER * lot.count):
                        written = reports(out)
                        note.write_text(str(written))
                        cluster.remove_node(second, allow_graceful=False)
                        print(f"killed a node after {written} reports", flush=True)
                    time.sleep(0.2)
        if process.returncode:
            raise RuntimeError(f"the run on Ray ended with {process.returncode}; see {folder / 'ray.log'}")
        return time.monotonic() - began, written
    finally:
        cluster.shutdown()


def compare(here: Path, there: Path) -> dict[str, Any]:
    """Reports, rows and pictures that differ or are missing."""
    names = {path.name for path in here.iterdir()} | {path.name for path in there.iterdir()}
    wrong, same = [], {"reports": 0, "rows": 0, "pictures": 0}
    for name in sorted(names):
        one, other = here / name, there / name
        if not one.is_file() or not other.is_file():
            wrong.append(f"{name} is missing" if one.suffix else name)
        elif one.suffix == ".json":
            equal = without_times(json.loads(one.read_text())) == without_times(json.loads(other.read_text()))
            same["reports"] += equal
            wrong += [] if equal else [name]
        elif one.suffix == ".png":
            equal = one.read_bytes() == other.read_bytes()
            same["pictures"] += equal
            wrong += [] if equal else [name]
        elif name == "index.csv":
            rows, others = (_rows(path) for path in (one, other))
            same["rows"] = sum(a == b for a, b in zip(rows, others, strict=False))
            wrong += [] if rows == others else [name]
    return {**same, "differ": wrong}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [{key: text for key, text in row.items() if "millis" not in key} for row in csv.DictReader(file)]


def serve(given: list[str]) -> int:
    """Be the command, with the cheap inspector."""
    from inputs_cheap import load

    from reason_iad.cli import inspect
    from reason_iad.cli.app import build_parser

    return inspect.run(build_parser().parse_args(["inspect", *given]), load)


def main() -> int:
    """Make, run twice, compare."""
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--lot", type=Path, metavar="DIR", help="images of one's own; with --good")
    parser.add_argument("--good", type=Path, metavar="DIR", help="good parts that they are compared with")
    parser.add_argument("--cheap", action="store_true", help="with an inspector that costs next to nothing")
    parser.add_argument("--folder", type=Path, help="keep images and reports here, and go on with what is there")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if (args.lot is None) != (args.good is None):
        parser.error("expected --lot and --good together")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (args.folder or Path(scratch)).absolute()
        if args.lot is None:
            make(folder, args.images)
            lot = Lot(folder / "lot", folder / "good", args.images, args.cheap)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            count = sum(path.is_file() for path in args.lot.iterdir())
            lot = Lot(args.lot.absolute(), args.good.absolute(), count, args.cheap)
        here = run_here(folder, lot)
        print(f"here: {here:.0f} s", flush=True)
        there, written = run_on_ray(folder, lot)
        found = compare(folder / "here", folder / "ray")
    result = {
        "images": lot.count, "here_s": round(here, 1), "ray_s": round(there, 1), "killed_after": written, **found,
    }  # fmt: skip
    for name, value in result.items():
        print(f"{name:<14} {value}")
    if args.json:
        print(json.dumps(result))
    return 1 if found["differ"] or written < 0 or found["reports"] != lot.count else 0


if __name__ == "__main__":
    sys.exit(main())
