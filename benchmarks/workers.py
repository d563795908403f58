"""What a second model process brings, and whether batches of screening would bring more.

    python benchmarks/workers.py [--images 24] [--part servers batches] [--json]

servers: `reason-iad serve` with a learned profile, as a user starts it, with one process of one thread, one process
         with both cores, and two processes of one thread each. A lot of rendered tablets, every second one defective,
         is sent by twice as many clients as there are processes; images a second count after every process has
         inspected some. The reports are compared, field by field but for times.
batches: milliseconds an image of the towers that screening runs, by the number of images in a pass, with one thread.

The profile is learned in a folder of its own that shares the weights of REASON_IAD_HOME. With --json the last line is
one object.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from nano import tablets
from server_load import free_port

from reason_iad.files import home
from reason_iad.images import encode_png

CATEGORY = "tablet of the line"
GOOD = 16  # images that the profile is learned from
SETTINGS = {  # processes, and threads of each
    "1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1),
}  # fmt: skip
BATCHES = (1, 2, 4, 8)


def own_home(folder: Path) -> Path:
    """A program's folder with everything of the real one but its profiles."""
    folder.mkdir()
    for one in home().iterdir() if home().is_dir() else ():
        if one.name != "profiles":
            (folder / one.name).symlink_to(one.absolute())
    return folder


@contextmanager
def server(base: Path, workers: int, threads: int) -> Iterator[tuple[str, int]]:
    """`reason-iad serve` with that many processes and threads of each: its address, and the number of its process."""
    port = free_port()
    command = [sys.executable, "-m", "reason_iad.cli.app", "serve", "--port", str(port), "--rate", "1000000"]
    command += ["--workers", str(workers), "--queue", "256", "--data", str(base / f"data-{workers}-{threads}")]
    env = {**os.environ, "REASON_IAD_HOME": str(base / "home"), "OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        limit = time.monotonic() + 180
        while time.monotonic() < limit:
            try:
                if httpx.get(f"{url}/v1/status").json()["workers_ready"] == workers:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)


def cpu_seconds(process: int) -> float:
    """Processor seconds of a process without those that it started."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def without_times(value: Any) -> Any:
    """A report, or a part of one, without the milliseconds in it."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key != "milliseconds"}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def inspect(url: str, client: httpx.Client, name: str, data: bytes) -> dict[str, Any]:
    """The report of one image."""
    files = {"image": (f"{name}.png", data, "image/png")}
    answer = client.post(
        f"{url}/v1/inspections?wait=60&priority=lot", files=files, data={"category": CATEGORY}, timeout=90
    )
    answer.raise_for_status()
    if answer.status_code != 200:
        raise RuntimeError(f"{name} was not finished within 60 s: {answer.text[:200]}")
    report: dict[str, Any] = without_times(answer.json()["report"])
    return report


def learn(base: Path, good: list[bytes]) -> None:
    """Learn the profile by the command, with all cores."""
    folder = base / "good"
    folder.mkdir()
    for number, data in enumerate(good):
        (folder / f"{number:03d}.png").write_bytes(data)
    command = [sys.executable, "-m", "reason_iad.cli.app", "learn", CATEGORY, str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "REASON_IAD_HOME": str(base / "home")})


def servers(count: int, both_cores: bool) -> dict[str, Any]:
    """Images a second of each setting, and whether all answered the same."""
    settings = {name: given for name, given in SETTINGS.items() if both_cores or given != (1, 2)}
    images, good = tablets(count, GOOD)
    parts = {f"part_{n:03d}": encode_png(pixels) for n, pixels in enumerate(images)}
    found: dict[str, Any] = {}
    answers = []
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        own_home(base / "home")
        learn(base, [encode_png(pixels) for pixels in good])
        for name, (workers, threads) in settings.items():
            with (
                server(base, workers, threads) as (url, process),
                httpx.Client() as client,
                ThreadPoolExecutor(2 * workers) as pool,
            ):
                send = functools.partial(inspect, url, client)
                warm = list(parts.items())[:2] * 2 * workers  # each process reads the profile
                list(pool.map(send, *zip(*warm, strict=True)))
                began, spent, own = time.monotonic(), cpu_seconds(process), time.process_time()
                answers.append(dict(zip(parts, pool.map(send, parts, parts.values()), strict=True)))
                seconds = time.monotonic() - began
                spent, own = cpu_seconds(process) - spent, time.process_time() - own
            found[name] = {
                "images": count, "seconds": round(seconds, 2), "per_second": round(count / seconds, 3),
                "cpu_ms_of_server": round(1000 * spent / count, 1), "cpu_ms_of_clients": round(1000 * own / count, 1),
            }  # fmt: skip
            print(f"{name}: {count / seconds:.3f} images/s", flush=True)
    rates = [one["per_second"] for one in found.values()]
    first, last = answers[0], answers[-1]
    asked = sum(report["trace"] is not None for report in answers[0].values())
    return {
        "settings": found, "two_over_one": round(rates[-1] / rates[0], 3),
        "two_over_both_cores": round(rates[-1] / rates[1], 3) if both_cores else None,
        "same_reports": last == first, "differ": differing(first, last),
        "differ_by_threads": differing(first, answers[1]) if both_cores else None, "asked": asked,
    }  # fmt: skip


def differing(one: dict[str, Any], other: dict[str, Any]) -> dict[str, int]:
    """In how many reports each field differs."""
    fields = [key for name in one for key in one[name] if one[name][key] != other[name].get(key)]
    return {key: fields.count(key) for key in dict.fromkeys(fields)}


def batches(repeat: int = 7) -> dict[str, Any]:
    """Milliseconds an image of both towers by images in a pass: medians over `repeat`, taken in turn."""
    import torch

    from reason_iad.models.vision import BundledVision

    torch.set_num_threads(1)
    images, _ = tablets(max(BATCHES) * (repeat + 1))
    vision = BundledVision.load()
    runs: dict[str, Callable[[Any], Any]] = {
        "efficientnet 448": lambda some: vision.efficientnet(some, 448),
        "vit 224": lambda some: vision.vit(some, 224, (7, 9, 10, 11, 12)),
    }
    spent: dict[str, dict[int, list[float]]] = {name: {size: [] for size in BATCHES} for name in runs}
    for turn in range(repeat + 1):
        for size in BATCHES:
            batch = images[turn * size : (turn + 1) * size]
            for name, run in runs.items():
                began = time.perf_counter()
                run(batch)
                if turn:  # the first pass of a size prepares memory
                    spent[name][size].append(1000 * (time.perf_counter() - began) / size)
    return {
        name: {str(size): round(statistics.median(times), 1) for size, times in by_size.items()}
        for name, by_size in spent.items()
    }


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--no-both", action="store_true", help="leave one process with both cores out")
    parser.add_argument("--part", nargs="+", choices=("servers", "batches"), default=["servers", "batches"])
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from reason_iad import processor

    result: dict[str, Any] = {"processor": processor.model_name(), "cores": processor.cores()}
    if "servers" in args.part:
        result["servers"] = servers(args.images, not args.no_both)
        print(f"two over one: {result['servers']['two_over_one']}; same reports: {result['servers']['same_reports']}")
    if "batches" in args.part:
        result["batches"] = batches()
        for name, by_size in result["batches"].items():
            print(f"{name}: " + ", ".join(f"{ms} ms at {size}" for size, ms in by_size.items()))
    if args.json:
        print(json.dumps(result))
    return 0 if result.get("servers", {}).get("same_reports", True) else 1


if __name__ == "__main__":
    sys.exit(main())
