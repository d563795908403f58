"""A hot folder under a camera that moves, renames, rewrites, truncates and deletes: is every picture accounted for?

    python benchmarks/inputs_soak.py --files 10000 --minutes 30

A child process runs `reason-iad inspect CAMERA --watch --json` with an inspector that only looks at the brightness;
with --reports it writes reports and the index, too. This process plays the camera and those who sort its files, with a
fixed seed, and writes down the SHA-256 of every picture that was ever whole. At the end every one of them must be
reported once, or be named as removed, replaced or damaged. The child's memory is read every ten seconds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from inputs_cheap import load

from reason_iad.images import encode_png

KINDS = {  # how often each is done
    "renamed into place": 40, "written in two halves": 22, "moved away later": 10, "renamed at once": 6,
    "deleted later": 6, "rewritten later": 5, "deleted at once": 4, "truncated for ever": 2, "no image": 5,
}  # fmt: skip
BRIEF = 3.0  # seconds within which a file may come and go without being seen


@dataclass
class Camera:
    """Writes files and does to them what lines and people do."""

    folder: Path
    outside: Path
    rng: random.Random
    whole: dict[str, str] = field(default_factory=dict)  # SHA-256 of each picture that was whole, and its place
    brief: set[str] = field(default_factory=set)  # those that were there for less than `BRIEF` seconds
    damaged: set[str] = field(default_factory=set)  # places
    lived: dict[str, float] = field(default_factory=dict)  # seconds until a file was moved, removed or rewritten
    later: list[tuple[float, str, Path]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def picture(self, number: int) -> bytes:
        """A picture of its own, about 12 KiB."""
        return encode_png(np.random.default_rng(number).integers(60, 200, (64, 64, 3), dtype=np.uint8))

    def shoot(self, number: int) -> None:
        """Bring one file."""
        from reason_iad.files import sha256

        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        self.counts[kind] += 1
        place = f"{number % 7}/{number:05d}.png"
        path, data, now = self.folder / place, self.picture(number), time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "no image":
            path.with_suffix(".txt").write_text("no image", "utf-8")
            return
        if kind == "truncated for ever":
            path.write_bytes(data[: self.rng.randrange(20, len(data) - 20)])
            self.damaged.add(place)
            return
        if kind == "written in two halves":
            path.write_bytes(data[: len(data) // 2])
            time.sleep(self.rng.random() * 0.3)
            with path.open("ab") as file:
                file.write(data[len(data) // 2 :])
        else:
            draft = self.outside / path.name
            draft.write_bytes(data)
            draft.replace(path)
        self.whole[sha256(data)] = place
        if kind == "deleted at once":
            self.brief.add(sha256(data))
            path.unlink()
        elif kind == "renamed at once":
            path.rename(path.with_name(f"r{path.name}"))
        elif kind in ("moved away later", "deleted later", "rewritten later"):
            delay = self.rng.uniform(0.2, 20)
            self.lived[place] = round(delay, 1)
            if delay < BRIEF and kind != "moved away later":
                self.brief.add(sha256(data))
            self.later.append((now + delay, kind, path))

    def tidy(self) -> None:
        """Do what was to be done later."""
        from reason_iad.files import sha256

        now, due = time.monotonic(), []
        due, self.later = (
            [one for one in self.later if one[0] <= now],
            [one for one in self.later if one[0] > now],
        )
        for _, kind, path in due:
            if kind == "moved away later":
                target = self.folder / "sorted" / path.name
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
            elif kind == "deleted later":
                path.unlink()
            else:
                data = self.picture(1_000_000 + int(path.stem))
                self.whole[sha256(data)] = path.relative_to(self.folder).as_posix()
                draft = self.outside / path.name
                draft.write_bytes(data)
                draft.replace(path)


def serve(given: list[str]) -> int:
    """Be the child: watch the folder with the cheap inspector."""
    from reason_iad.cli import inspect
    from reason_iad.cli.app import build_parser

    return inspect.run(build_parser().parse_args(["inspect", *given, "--watch", "--json"]), load)


def resident(process: int) -> float:
    """Memory of a process in MiB."""
    for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def soak(files: int, minutes: float, seed: int, base: Path, reports: bool) -> dict[str, object]:
    """Run it; returns the figures."""
    folder, out, outside = base / "camera", base / "out", base / "outside"
    folder.mkdir(parents=True)
    outside.mkdir()
    with (base / "stdout").open("wb") as stdout, (base / "stderr").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(folder), *(["--out", str(out)] if reports else [])],
            stdout=stdout,
            stderr=stderr,
        )
    while "watching" not in (base / "stderr").read_text("utf-8"):
        if child.poll() is not None:
            raise SystemExit((base / "stderr").read_text("utf-8"))
        time.sleep(0.1)
    camera, memory, began = Camera(folder, outside, random.Random(seed)), [], time.monotonic()
    away = {files * share // 4 for share in (1, 2, 3)}
    for number in range(files):
        while time.monotonic() - began < 60 * minutes * number / files:
            camera.tidy()
            time.sleep(0.01)
        if number in away:  # the share goes and comes back
            folder.rename(base / "gone")
            time.sleep(3)
            (base / "gone").rename(folder)
        camera.shoot(number)
        if number % max(1, files // 180) == 0:
            memory.append(round(resident(child.pid), 1))
    while camera.later:
        camera.tidy()
        time.sleep(0.05)
    last, quiet = -1, time.monotonic()
    while time.monotonic() - quiet < 20:  # until nothing more is reported
        lines = (base / "stdout").read_bytes().count(b"\n") + (base / "stderr").read_bytes().count(b"\n")
        if lines != last:
            last, quiet = lines, time.monotonic()
        time.sleep(0.5)
    memory.append(round(resident(child.pid), 1))
    child.terminate()
    code = child.wait(120)
    found = account(camera, base, memory)
    if reports:
        with (out / "index.csv").open(newline="", encoding="utf-8-sig") as file:
            found["rows_of_the_table"] = sum(1 for _ in csv.DictReader(file))
    minutes = round((time.monotonic() - began) / 60, 1)
    return found | {"exit_code": code, "minutes": minutes, "files": files, "seed": seed}


def account(camera: Camera, base: Path, memory: list[float]) -> dict[str, object]:
    """Compare what was written with what was reported."""
    said = (base / "stderr").read_text("utf-8")
    with (base / "stdout").open(encoding="utf-8") as lines:
        inspected = Counter(json.loads(line)["image_sha256"] for line in lines)
    marks = (line.partition("reason-iad: error: ") for line in said.splitlines())
    refused = {error.split(" ")[0] for _, mark, error in marks if mark}
    lost = [
        (place, camera.lived.get(place)) for digest, place in camera.whole.items()
        if digest not in inspected and digest not in camera.brief
        and not {place, f"{place.split('/')[0]}/r{place.split('/')[1]}", f"sorted/{place.split('/')[1]}"} & refused
    ]  # fmt: skip
    return {
        "kinds": dict(camera.counts),
        "whole": len(camera.whole),
        "inspected": len(inspected),
        "inspected_twice": sum(count > 1 for count in inspected.values()),
        "refused_or_gone": len(refused),
        "removed_within_moments": len(camera.brief - set(inspected)),
        "damaged": len(camera.damaged),
        "damaged_not_said": len(camera.damaged - refused),
        "unknown": len(set(inspected) - set(camera.whole)),
        "lost": len(lost),
        "lost_with_seconds_they_lived": lost[:20],
        "memory_mib": {"first": memory[0], "middle": memory[len(memory) // 2], "last": memory[-1], "peak": max(memory)},
        "says_gone_and_back": (said.count(" is gone"), said.count(" is back")),
    }


def main() -> None:
    """Parse, run, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="leave all files there")
    parser.add_argument("--reports", action="store_true", help="write reports and the index as well")
    if sys.argv[1:2] == ["--serve"]:
        raise SystemExit(serve(sys.argv[2:]))
    args = parser.parse_args()
    os.environ["PYTHONUNBUFFERED"] = "1"
    base = args.keep or Path(tempfile.mkdtemp(prefix="reason-iad-soak-"))
    try:
        print(json.dumps(soak(args.files, args.minutes, args.seed, base, args.reports), indent=1))
    finally:
        if args.keep is None:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
