"""The server under load and under the axe: start-up, first and later inspections, 50 clients for a minute, a kill.

    python benchmarks/server_load.py --seconds 60 --clients 50

Starts `reason-iad serve` with the bundled model as a user would, sends the demo's images (with their references) from
many threads that honor Retry-After, samples the queue and the memory of both processes, then kills the server with
SIGKILL while inspections run and starts it again. Prints a table; exits with 1 where a promise is broken.

Seconds are those of the clock, with the processor seconds of both processes in brackets: where other programs share the
machine, the second is the fairer number.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

DEMO = Path(__file__).parent.parent / "src" / "reason_iad" / "data" / "demo"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`reason-iad serve` as a child process."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "reason_iad.cli.app", "serve", "--port", str(self.port), "--data", str(data)]
        self.began = time.monotonic()
        self.process = subprocess.Popen([*command, "--rate", "1000000"], stdout=subprocess.DEVNULL)

    def until(self, path: str, seconds: float = 120) -> float:
        """Seconds from the start until a path answers 200."""
        while time.monotonic() - self.began < seconds:
            try:
                if httpx.get(self.url + path, timeout=5).status_code == 200:
                    return time.monotonic() - self.began
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise TimeoutError(path)

    def cpu(self, model: bool = True) -> float:
        """Processor seconds of the server so far, and of its model process."""
        total = 0
        for process in (self.process.pid, *(children(self.process.pid) if model else ())):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])  # user and system time, in ticks
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory of the server and its model process, in MiB."""
        total = 0
        for process in (self.process.pid, *children(self.process.pid)):
            try:
                for line in Path(f"/proc/{process}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        total += int(line.split()[1])
            except OSError:
                continue
        return total / 1024


def children(process: int) -> list[int]:
    """Numbers of the processes that a process has started, from any of its threads."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(one) for one in path.read_text().split()]
    return found


def alive(process: int) -> bool:
    """Whether a process still runs; one that nobody waits for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def samples() -> list[tuple[bytes, list[bytes]]]:
    """The demo's images, each with its references."""
    entries = json.loads((DEMO / "demo.json").read_text())["images"]
    return [((DEMO / e["image"]).read_bytes(), [(DEMO / r).read_bytes() for r in e["references"]]) for e in entries]


def send(client: httpx.Client, url: str, image: bytes, references: list[bytes], wait: float = 55) -> httpx.Response:
    """Send one image and wait for its result."""
    files = [("image", ("part.jpg", image)), *(("references", ("good.jpg", r)) for r in references)]
    return client.post(f"{url}/v1/inspections?wait={wait}", files=files, timeout=90)


def load(server: Server, clients: int, seconds: float) -> dict[str, object]:
    """Many clients for some time: answers by status, times, largest queue, memory along the way."""
    images, stop = samples(), time.monotonic() + seconds
    statuses: collections.Counter[int] = collections.Counter()
    times: list[float] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        with httpx.Client() as client:
            turn = number
            while time.monotonic() < stop:
                began = time.monotonic()
                try:
                    answer = send(client, server.url, *images[turn % len(images)])
                    status = answer.status_code
                except httpx.TransportError:
                    status, answer = 599, None
                with lock:
                    statuses[status] += 1
                    if status == 200:
                        times.append(time.monotonic() - began)
                if status == 429 and answer is not None:
                    time.sleep(min(float(answer.headers["retry-after"]), max(0.0, stop - time.monotonic())))
                turn += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    memory, queue = [], []
    with httpx.Client() as client:
        while time.monotonic() < stop:
            memory.append(server.memory())
            queue.append(client.get(f"{server.url}/v1/status", timeout=30).json()["waiting"])
            time.sleep(1)
    for thread in threads:
        thread.join()
    times.sort()
    third = max(1, len(memory) // 3)
    return {
        "answers": dict(sorted(statuses.items())),
        "inspections": len(times),
        "median s": round(times[len(times) // 2], 2) if times else None,
        "largest queue": max(queue, default=0),
        "memory MiB, first third": round(sum(memory[:third]) / third),
        "memory MiB, last third": round(sum(memory[-third:]) / third),
        "5xx": sum(n for status, n in statuses.items() if status >= 500),
    }


def kill_and_restart(data: Path, server: Server) -> dict[str, object]:
    """SIGKILL with inspections in every state; afterwards each accepted one must be finished or marked failed."""
    accepted: list[str] = []
    with httpx.Client() as client:
        for image, references in samples() * 2:
            answer = send(client, server.url, image, references, wait=0)
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
        time.sleep(1.5)
    model = children(server.process.pid)
    server.process.kill()
    server.process.wait()
    limit = time.monotonic() + 5
    while (orphans := [p for p in model if alive(p)]) and time.monotonic() < limit:
        time.sleep(0.05)
    again = Server(data)
    again.until("/readyz")
    limit = time.monotonic() + 120
    states: dict[str, str] = {}
    with httpx.Client() as client:
        while time.monotonic() < limit:
            states = {i: client.get(f"{again.url}/v1/inspections/{i}").json().get("state", "lost") for i in accepted}
            if not set(states.values()) & {"queued", "running"}:
                break
            time.sleep(0.5)
    stop(again)
    return {"accepted": len(accepted), **collections.Counter(states.values()), "orphans": len(orphans)}


def stop(server: Server) -> float:
    """Ask the server to stop; seconds until it has."""
    began = time.monotonic()
    os.kill(server.process.pid, signal.SIGTERM)
    server.process.wait(60)
    return time.monotonic() - began


def timed(server: Server, client: httpx.Client) -> list[str]:
    """Inspect each of the demo's images once: seconds of the clock, processor seconds in brackets."""
    found = []
    for image, references in samples():
        began, before = time.monotonic(), server.cpu()
        answer = send(client, server.url, image, references)
        if answer.status_code != 200:
            raise RuntimeError(f"expected a finished inspection, found {answer.status_code}: {answer.text[:200]}")
        found.append(f"{time.monotonic() - began:.1f} ({server.cpu() - before:.1f})")
    return found


def ask(server: Server, client: httpx.Client) -> str:
    """Seconds of a follow-up question about the image that was inspected last."""
    newest = client.get(f"{server.url}/v1/inspections?limit=1").json()["inspections"][0]["id"]
    began, before = time.monotonic(), server.cpu()
    body = {"question": "Where is the defect?", "choices": ["At the left.", "In the center.", "There is none."]}
    answer = client.post(f"{server.url}/v1/inspections/{newest}/questions", json=body, timeout=90)
    seconds = f"{time.monotonic() - began:.1f} ({server.cpu() - before:.1f})"
    return f"{seconds}, prompt used again: {answer.json().get('prepared')}"


def measure(server: Server, data: Path, args: argparse.Namespace) -> tuple[dict[str, object], bool]:
    """Everything asked for, and whether a promise was broken."""
    rows: dict[str, object] = {"page after s": f"{server.until('/'):.1f} ({server.cpu(model=False):.1f}, server alone)"}
    rows["model ready after s"] = round(server.until("/readyz"), 2)
    with httpx.Client() as client:
        first, *new = timed(server, client)
        rows |= {"first inspection s": first, "new images s": ", ".join(new)}
        rows["same references again s"] = ", ".join(timed(server, client))
        rows["follow-up question s"] = ask(server, client)
    if args.only_times:
        rows["stopped after s"] = round(stop(server), 2)
        return rows, False
    rows |= load(server, args.clients, args.seconds)
    rows |= {f"kill: {k}": v for k, v in kill_and_restart(data, server).items()}
    unfinished = ("5xx", "kill: lost", "kill: queued", "kill: running", "kill: orphans")
    return rows, any(rows.get(name) for name in unfinished)


def main() -> int:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only-times", action="store_true", help="start-up and single inspections only")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            rows, broken = measure(server, Path(folder), args)
        finally:
            server.process.kill()  # also where a promise was broken: a model process left behind spoils what follows
            server.process.wait()
    for name, value in rows.items():
        print(f"{name:<28} {value}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
