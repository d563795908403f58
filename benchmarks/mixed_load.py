"""A server under everything at once: a person at the page, lots, feedback, learning; times, memory, errors.

    python benchmarks/mixed_load.py [--minutes 30] [--workers 2] [--lots 2] [--json]

`reason-iad serve` with tokens, as a plant starts it. A person inspects a part every few seconds, looks at its picture
and at the list, asks about one in four and says of one in three that the verdict was right or wrong, which is taught to
the profile; each of the lots sends one part after the other, as fast as the server takes them; every minute an admin
learns the profile anew, and every five seconds reads the status and the numbers. 429 is honored as `Retry-After` says,
and is no error. Parts are rendered tablets, every second one defective.

Printed: the number of requests by kind with their 50th, 95th and 99th percentile in seconds, statuses, and the
processor time of the server's own process for each inspection with all that belongs to it. Memory is what all processes
have resident, read every five seconds: the median of each third of the run, together and by process, and what of it is
no file. The rule: the first third warms up (caches fill), and the last may hold at most 2 % more than the middle one
(`--grown`). Exits with 1 where it holds more, a status of 400 or more was answered, 429 apart, or a connection broke.
With --series the readings are written there, to see what grew when.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from nano import tablets
from server_load import children, free_port
from workers import cpu_seconds, own_home

from reason_iad.images import encode_png

CATEGORY = "tablet of the line"
WAIT = 55.0  # seconds that a request waits for its result
ROLES = {"page": "inspector", "admin": "admin"}


class Load:
    """What is sent, by whom, and what came back."""

    def __init__(self, url: str, tokens: dict[str, str], parts: list[bytes], good: list[bytes], until: float) -> None:
        self.url, self.tokens, self.parts, self.good, self.until = url, tokens, parts, good, until
        self.seconds: dict[str, list[float]] = collections.defaultdict(list)
        self.statuses: collections.Counter[int] = collections.Counter()
        self.lock = threading.Lock()
        self.turn = 0
        self.whole: list[dict[str, Any]] = []
        self.server_cpu = 0.0  # processor seconds of the server's own process

    def client(self, who: str) -> httpx.Client:
        """A client with the token of `who`."""
        headers = {"authorization": f"Bearer {self.tokens[who]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=WAIT + 70)

    def send(self, client: httpx.Client, kind: str, method: str, path: str, **given: Any) -> httpx.Response | None:
        """One request, counted; waits as told where there is no room. None where the connection broke."""
        began = time.monotonic()
        try:
            answer = client.request(method, path, **given)
        except httpx.TransportError:
            with self.lock:
                self.statuses[599] += 1
            return None
        with self.lock:
            self.statuses[answer.status_code] += 1
            if answer.status_code < 300:
                self.seconds[kind].append(time.monotonic() - began)
        if answer.status_code == 429:
            self.pause(float(answer.headers["retry-after"]))
        return answer

    def inspect(self, client: httpx.Client, kind: str, priority: str) -> dict[str, Any] | None:
        """Send the next part; its inspection where it was finished in time."""
        with self.lock:
            self.turn += 1
            number = self.turn
        files = {"image": (f"part_{number:05d}.png", self.parts[number % len(self.parts)], "image/png")}
        path = f"/v1/inspections?wait={WAIT}&priority={priority}"
        answer = self.send(client, kind, "POST", path, files=files, data={"category": CATEGORY})
        return answer.json() if answer is not None and answer.status_code == 200 else None

    def pause(self, seconds: float) -> None:
        """Rest, but no longer than the load lasts."""
        time.sleep(max(0.0, min(seconds, self.until - time.monotonic())))

    def person(self) -> None:
        """Someone at the page."""
        chance = random.Random(1)
        with self.client("page") as client:
            while time.monotonic() < self.until:
                found = self.inspect(client, "inspect (person)", "person")
                if found is not None:
                    place = f"/v1/inspections/{found['id']}"
                    self.send(client, "picture", "GET", f"{place}/pictures/preview")
                    self.send(client, "list", "GET", "/v1/inspections?limit=50")
                    if chance.random() < 1 / 4:
                        asked = {"question": "Where is it?", "choices": ["In the center.", "At the edge."]}
                        self.send(client, "question", "POST", f"{place}/questions", json=asked)
                    if chance.random() < 1 / 3:
                        wrong = found["verdict"] == "defective" and chance.random() < 0.3
                        kind = "false_alarm" if wrong else "confirmed"
                        self.send(client, "feedback", "POST", f"{place}/feedback", json={"kind": kind})
                self.pause(chance.uniform(1, 5))

    def lot(self, number: int) -> None:
        """A program that sends one part after the other."""
        with self.client(f"lot-{number}") as client:
            while time.monotonic() < self.until:
                self.inspect(client, "inspect (lot)", "lot")

    def learn(self) -> None:
        """Learn the profile from good parts."""
        with self.client("admin") as client:
            files = [("images", (f"{n}.png", data, "image/png")) for n, data in enumerate(self.good)]
            self.send(client, "learn", "POST", "/v1/profiles", data={"category": CATEGORY}, files=files)

    def teacher(self) -> None:
        """An admin who learns the profile anew every minute."""
        while time.monotonic() < self.until:
            self.pause(60)
            if time.monotonic() < self.until:
                self.learn()

    def watcher(self, process: int) -> None:
        """What reads status and numbers."""
        with self.client("admin") as client:
            while time.monotonic() < self.until:
                answer = self.send(client, "status", "GET", "/v1/status?whole=true")
                self.send(client, "metrics", "GET", "/metrics")
                if answer is not None and answer.status_code == 200:
                    self.whole.append({**answer.json()["whole"], "memory": memory_mb(process), "at": time.time()})
                self.pause(5)


def memory_mb(process: int) -> dict[str, tuple[float, float]]:
    """Resident memory of the server and of each model process, and what of it is no file: by number of the process."""
    found = {}
    for one in (process, *children(process)):
        with contextlib.suppress(OSError, IndexError):
            text = Path(f"/proc/{one}/status").read_text()
            kib = [int(text.split(f"{name}:")[1].split()[0]) for name in ("VmRSS", "RssAnon")]
            found["server" if one == process else str(one)] = (kib[0] / 1024, kib[1] / 1024)
    return found


def start(base: Path, args: argparse.Namespace) -> tuple[subprocess.Popen[bytes], str, dict[str, str]]:
    """A server whose processes are all ready, and the tokens of everyone."""
    env = {**os.environ, "REASON_IAD_HOME": str(own_home(base / "home"))}
    program = [sys.executable, "-m", "reason_iad.cli.app"]
    tokens = {}
    for who in ("page", "admin", *(f"lot-{n}" for n in range(args.lots))):
        given = ["records", "token", who, "--role", ROLES.get(who, "inspector"), "--file", str(base / "tokens.json")]
        said = subprocess.run([*program, *given], check=True, capture_output=True, text=True, env=env).stdout
        tokens[who] = max(said.split(), key=len)
    port = free_port()
    given = ["serve", "--port", str(port), "--data", str(base / "data"), "--tokens", str(base / "tokens.json")]
    process = subprocess.Popen([*program, *given, "--workers", str(args.workers), "--rate", "6000"], env=env)
    url, limit = f"http://127.0.0.1:{port}", time.monotonic() + 600
    while time.monotonic() < limit and process.poll() is None:
        try:
            if httpx.get(f"{url}/v1/status", timeout=30).json()["workers_ready"] == args.workers:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return process, url, tokens


def run(load: Load, process: int, lots: int) -> None:
    """Everyone at once, to the end."""
    everyone: list[Callable[[], None]] = [load.person, load.teacher, lambda: load.watcher(process)]
    everyone += [lambda n=n: load.lot(n) for n in range(lots)]  # type: ignore[misc]
    threads = [threading.Thread(target=one) for one in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def summary(load: Load, minutes: float) -> dict[str, Any]:
    """What is printed."""
    kinds = {
        kind: {"n": len(times), **{f"p{p}": round(_quantile(times, p / 100), 2) for p in (50, 95, 99)}}
        for kind, times in sorted(load.seconds.items())
    }
    memory = [one["memory"] for one in load.whole]
    thirds = by_thirds([sum(resident for resident, _ in one.values()) for one in memory])
    anonymous = by_thirds([sum(plain for _, plain in one.values()) for one in memory])
    each = {name: by_thirds([one[name][0] for one in memory if name in one]) for name in (memory[-1] if memory else {})}
    inspected = sum(len(times) for kind, times in load.seconds.items() if kind.startswith("inspect"))
    last = load.whole[-1] if load.whole else {"workers": []}
    return {
        "minutes": minutes, "requests": sum(load.statuses.values()), "kinds": kinds,
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "errors": sum(count for status, count in load.statuses.items() if status >= 400 and status != 429),
        "memory_mb_by_thirds": [round(one) for one in thirds],
        "of_it_no_file": [round(one) for one in anonymous],
        "by_process": {name: [round(one) for one in values] for name, values in each.items()},
        "memory_grown": round(thirds[2] / thirds[1] - 1, 4) if thirds else None,
        "server_cpu_ms": round(1000 * load.server_cpu / inspected, 1) if inspected else None,
        "longest_queue": max((sum(one["queue"]["waiting"].values()) for one in load.whole), default=0),
        "restarts": sum(one["restarts"] for one in last["workers"]),
    }  # fmt: skip


def by_thirds(values: list[float]) -> list[float]:
    """The median of each third; none of too few."""
    third = len(values) // 3
    return [statistics.median(values[n * third : (n + 1) * third]) for n in range(3)] if third else []


def write_series(path: Path, load: Load) -> None:
    """Every reading of the memory, as a table."""
    rows = [
        {"at": one["at"], "process": name, "resident_mb": round(resident, 1), "no_file_mb": round(plain, 1)}
        for one in load.whole
        for name, (resident, plain) in one["memory"].items()
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["at", "process", "resident_mb", "no_file_mb"])
        table.writeheader()
        table.writerows(rows)


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    """Start, load, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lots", type=int, default=2)
    parser.add_argument("--parts", type=int, default=240, help="different parts that are sent in turn")
    parser.add_argument("--grown", type=float, default=0.02, help="share by which memory may grow in the last third")
    parser.add_argument("--series", type=Path, metavar="FILE.csv", help="where every reading of the memory goes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    images, good = tablets(args.parts, 8)
    parts, references = [encode_png(one) for one in images], [encode_png(one) for one in good]
    with tempfile.TemporaryDirectory() as scratch:
        process, url, tokens = start(Path(scratch), args)
        try:
            load = Load(url, tokens, parts, references, time.monotonic() + 600)
            load.learn()  # the first profile: before it the category is not known
            load.seconds.clear()
            load.until = time.monotonic() + 60 * args.minutes
            before = cpu_seconds(process.pid)
            run(load, process.pid, args.lots)
            load.server_cpu = cpu_seconds(process.pid) - before
        finally:
            process.terminate()
            process.wait(90)
    if args.series:
        write_series(args.series, load)
    found = summary(load, args.minutes)
    for kind, one in found.pop("kinds").items():
        print(f"{kind:<20} {one}")
    for name, value in found.items():
        print(f"{name:<20} {value}")
    if args.json:
        print(json.dumps(summary(load, args.minutes)))
    return 1 if found["errors"] or (found["memory_grown"] or 0) > args.grown else 0


if __name__ == "__main__":
    sys.exit(main())
