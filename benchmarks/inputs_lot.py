"""A lot of many files with an inspector that costs next to nothing: what do reading, printing and reporting cost?

    python benchmarks/inputs_lot.py --files 1000 10000

For each number of files: seconds to the first line and to the first result, images a second, peak memory of the
process, and whether every image is in the table once.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from inputs_cheap import load

from reason_iad.images import encode_jpeg


def make(folder: Path, count: int) -> None:
    """Write `count` pictures of their own, a hundred in a folder, with texts between them."""
    for number in range(count):
        place = folder / f"{number // 100:04d}" / f"{number:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(90, 160, (96, 128, 3), dtype=np.uint8)
        place.write_bytes(encode_jpeg(pixels))
        if number % 100 == 0:
            place.with_suffix(".txt").write_text("no image", "utf-8")


def measure(count: int, base: Path, reports: bool) -> dict[str, object]:
    """Inspect a lot in a process of its own."""
    folder, out = base / f"lot-{count}", base / f"out-{count}"
    make(folder, count)
    began = time.perf_counter()
    first: dict[str, float] = {}
    command = [sys.executable, "-u", __file__, "--serve", str(folder)]
    command += ["--out", str(out)] if reports else ["--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None

        def errors() -> None:
            for _ in child.stderr or ():
                first.setdefault("line", time.perf_counter() - began)

        reader = threading.Thread(target=errors)
        reader.start()
        images = []
        for line in child.stdout:
            first.setdefault("result", time.perf_counter() - began)
            if not reports:
                images.append(json.loads(line)["image"])
        reader.join()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if reports:
        with (out / "index.csv").open(newline="", encoding="utf-8-sig") as file:
            images = [row["image"] for row in csv.DictReader(file)]
    return {
        "files": count,
        "exit_code": child.returncode,
        "first_line_s": round(first["line"], 2),
        "first_result_s": round(first["result"], 2),
        "images_a_second": round(count / seconds, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "rows": len(images),
        "different": len(set(images)),
        "index_mib": round((out / "index.html").stat().st_size / 2**20, 1) if reports else None,
    }


def serve(given: list[str]) -> int:
    """Be the child."""
    from reason_iad.cli import inspect
    from reason_iad.cli.app import build_parser

    return inspect.run(build_parser().parse_args(["inspect", *given]), load)


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--reports", action="store_true", help="write reports and the index as well")
    if sys.argv[1:2] == ["--serve"]:
        raise SystemExit(serve(sys.argv[2:]))
    args = parser.parse_args()
    for count in args.files:
        base = Path(tempfile.mkdtemp(prefix="reason-iad-lot-"))
        try:
            print(json.dumps(measure(count, base, args.reports)), flush=True)
        finally:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
