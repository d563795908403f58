"""Three servers on one real PostgreSQL under load, one of them killed every ten seconds: nothing lost, nothing twice.

    python benchmarks/servers_soak.py --seconds 120 --clients 50

Starts a PostgreSQL of its own on loopback and `reason-iad serve` three times, as a user would, with one folder of
evidence. The comparison with good parts decides alone (`--reason never`), so that three servers fit into a small
machine. Clients send parts to any server, honor Retry-After, send a part again under its Idempotency-Key where the
connection broke, and follow some inspections at another server than the one that took them. Every ten seconds a server
gets SIGKILL and is started again. Then everything that was accepted must have ended once, with all its events, no part
may have been inspected twice, and `reason-iad records verify` must find the record whole. Prints a table; exits with 1
where it is not so.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from reason_iad.images import encode_jpeg, read_image
from reason_iad.store.store import Store

DEMO = Path(__file__).parent.parent / "src" / "reason_iad" / "data" / "demo"
ENDINGS = ("done", "failed")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL with its usual settings, on loopback; gives its URL."""
    found = shutil.which("pg_ctl")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    programs = next((place for place in places if (place / "initdb").exists()), None)
    if programs is None:
        raise SystemExit("found no PostgreSQL; expected its programs: on Debian apt-get install postgresql")
    folder.mkdir()
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    if user:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()

    def run(program: str, *arguments: str) -> None:
        command = [*user, str(programs / program), "-D", str(data), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    run("initdb", "-A", "trust", "-U", "soak")
    options = f"-k {folder} -c listen_addresses=127.0.0.1 -c port={port}"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://soak@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")


class Server:
    """`reason-iad serve` as a child process that can be killed and started again."""

    def __init__(self, number: int, folder: Path, database: str, queue: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable, "-m", "reason_iad.cli.app", "serve", "--port", str(self.port), "--database", database,
            "--data", str(folder / f"server-{number}"), "--files", str(folder / "evidence"), "--reason", "never",
            "--rate", "1000000", "--queue", str(queue),
        ]  # fmt: skip
        self._log = (folder / f"server-{number}.log").open("ab")
        self.start()

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        """End it without a word, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def ready(self) -> bool:
        """Whether it inspects now."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


@dataclass
class Told:
    """What the clients were told."""

    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    ids: set[str] = field(default_factory=set)
    followed: list[tuple[str, list[str]]] = field(
        default_factory=list
    )  # an inspection and the events that were streamed
    lost: int = 0  # connections that a kill cut, or that found nobody
    replayed: int = 0  # answers to a part that had been accepted before, though its client had not heard so
    lock: threading.Lock = field(default_factory=threading.Lock)


def pictures() -> tuple[list[bytes], bytes]:
    """Small parts, each a little different, and a good one to compare them with."""
    entry = json.loads((DEMO / "demo.json").read_text())["images"][0]
    pixels = read_image(DEMO / entry["image"]).pixels[::2, ::2]
    good = read_image(DEMO / entry["references"][0]).pixels[::2, ::2]
    return [encode_jpeg(np.roll(pixels, n, axis=1)) for n in range(24)], encode_jpeg(np.ascontiguousarray(good))


def client(servers: list[Server], told: Told, until: float, number: int, images: tuple[list[bytes], bytes]) -> None:
    """Send parts one after the other, to any server, until a moment."""
    (parts, good), chance, count, answered = images, random.Random(number), 0, True
    with httpx.Client(timeout=60) as session:
        while time.monotonic() < until:
            server, other = chance.sample(servers, 2)
            count += answered  # a part whose answer did not come is sent again, to any server
            answered = False
            name = f"client-{number}-part-{count}.jpg"
            files = [("image", (name, parts[count % len(parts)])), ("references", ("good.jpg", good))]
            wait = chance.choice((0, 10))
            try:
                key = {"Idempotency-Key": f"{number}-{count}"}
                answer = session.post(f"{server.url}/v1/inspections?wait={wait}", files=files, headers=key)
            except httpx.HTTPError:
                with told.lock:
                    told.lost += 1
                time.sleep(0.5)
                continue
            with told.lock:
                told.statuses[answer.status_code] += 1
                told.replayed += "idempotency-replayed" in answer.headers
                if answer.status_code in (200, 202):
                    told.ids.add(answer.json()["id"])
            answered = answer.status_code not in (409, 429, 503)
            if not answered:
                time.sleep(min(5.0, float(answer.headers.get("retry-after", 1)), max(0.0, until - time.monotonic())))
            elif answer.status_code == 202 and chance.random() < 0.2:
                follow(session, other, answer.json()["id"], told)


def follow(session: httpx.Client, server: Server, identifier: str, told: Told) -> None:
    """Stream the events of an inspection at a server that did not take it; a stream that a kill cuts does not count."""
    seen = []
    try:
        with session.stream("GET", f"{server.url}/v1/inspections/{identifier}/events") as answer:
            seen = [line[7:] for line in answer.iter_lines() if line.startswith("event: ")]
    except httpx.HTTPError:
        return
    with told.lock:
        told.followed.append((identifier, seen))


def kill_in_turn(servers: list[Server], every: float, stop: threading.Event) -> int:
    """Kill a server every so many seconds and start it again; returns how often."""
    kills = 0
    while not stop.wait(every):
        server = servers[kills % len(servers)]
        server.kill()
        kills += 1
        server.start()
    return kills


def load(servers: list[Server], args: argparse.Namespace) -> tuple[Told, int]:
    """Clients and kills at once."""
    told, stop, kills, images = Told(), threading.Event(), [0], pictures()
    until = time.monotonic() + args.seconds

    def killing() -> None:
        kills[0] = kill_in_turn(servers, args.kill_every, stop)

    threads = [threading.Thread(target=client, args=(servers, told, until, n, images)) for n in range(args.clients)]
    killer = threading.Thread(target=killing)
    for thread in (killer, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    killer.join()
    return told, kills[0]


def wait_until(found: object, seconds: float, what: str) -> None:
    """Wait for something.

    Raises:
        TimeoutError: it did not happen.
    """
    limit = time.monotonic() + seconds
    while not found():  # type: ignore[operator]
        if time.monotonic() > limit:
            raise TimeoutError(what)
        time.sleep(0.5)


def judge(store: Store, told: Told) -> tuple[dict[str, object], list[str]]:
    """What the record says at the end, and every promise that was broken."""
    leases, broken = store.leases("judge", 20), []
    states: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    again, seconds, streams = 0, [], {}
    parts: collections.Counter[str] = collections.Counter()
    for record in store.records():
        states[record.state] += 1
        parts[record.name] += record.state != "failed"
        kinds = [event.event for event in leases.events(record.id)]
        streams[record.id] = kinds
        started = kinds.count("started")
        again += started > 1 and record.state == "done"
        if kinds[:1] != ["queued"] or kinds[-1:] != [record.state] or sum(kinds.count(end) for end in ENDINGS) != 1:
            broken.append(f"{record.id} is {record.state} and its events are {kinds}")
        if record.state == "done" and (started not in (1, 2) or record.report is None or kinds.count("stage") < 3):
            broken.append(f"{record.id} is done and its events are {kinds}")
        if record.state == "failed":
            reasons[record.error or "without a reason"] += 1
        if record.finished_at is not None:
            seconds.append((record.finished_at - record.created_at).total_seconds())
    broken += [f"{name} was inspected {count} times" for name, count in parts.items() if count > 1]
    broken += [f"{one} was accepted and is lost" for one in told.ids - set(streams)]
    broken += [
        f"{one} was streamed as {seen} and is {streams.get(one)}"
        for one, seen in told.followed
        if seen != streams.get(one) and seen[-1:] != ["stopping"]
    ]
    broken += [
        f"{count} answers {status}" for status, count in told.statuses.items() if status >= 500 and status != 503
    ]
    broken += [f"{states[state]} are {state}" for state in ("queued", "running") if states[state]]
    seconds.sort()
    rows: dict[str, object] = {
        "inspections in the record": sum(states.values()), "accepted, as clients were told": len(told.ids),
        "done": states["done"], "of them by a second server": again, "failed": states["failed"],
        "reasons": dict(reasons) or "none", "streamed at another server": len(told.followed),
        "answers": dict(sorted(told.statuses.items())), "connections cut": told.lost,
        "sent again and found accepted": told.replayed,
    }  # fmt: skip
    if seconds:
        rows["seconds to the end, p50"] = round(seconds[len(seconds) // 2], 2)
        rows["seconds to the end, p95"] = round(seconds[int(0.95 * len(seconds))], 2)
        rows["seconds to the end, longest"] = round(seconds[-1], 2)
    return rows, broken


def verify(folder: Path, database: str) -> str:
    """What `reason-iad records verify` says of the record."""
    command = [sys.executable, "-m", "reason_iad.cli.app", "records", "verify", "--database", database]
    environment = {**os.environ, "REASON_IAD_EVIDENCE": str(folder / "evidence")}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return (found.stdout + found.stderr).strip().splitlines()[-1]


def main() -> int:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--kill-every", type=float, default=10.0, metavar="S")
    parser.add_argument("--queue", type=int, default=16, help="places that each server brings")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left behind
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres(folder / "postgres") as database:
            servers = [Server(n, folder, database, args.queue) for n in range(args.servers)]
            try:
                wait_until(lambda: all(one.ready() for one in servers), 300, "the servers are not ready")
                told, kills = load(servers, args)
                store = Store.open(database, folder / "evidence")
                ended = lambda: not {"queued", "running"} & set(store.counts())  # noqa: E731
                with contextlib.suppress(TimeoutError):
                    wait_until(ended, 300, "inspections have not ended")
                rows, broken = judge(store, told)
                store.close()
                rows |= {"servers killed": kills, "the record": verify(folder, database)}
            finally:
                for server in servers:
                    server.process.send_signal(signal.SIGKILL)
                    server.process.wait()
    for row, value in rows.items():
        print(f"{row:<32} {value}")
    for one in broken:
        print("BROKEN:", one)
    return 1 if broken or rows["the record"] != "the record is whole" else 0


if __name__ == "__main__":
    sys.exit(main())
