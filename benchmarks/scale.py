"""How many model processes, servers and how much memory a plant needs; computed, and checked against a simulated queue.

    OMP_NUM_THREADS=1 python benchmarks/nano.py --json | tail -1 > nano.json
    python benchmarks/workers.py --json | tail -1 > workers.json
    python benchmarks/scale.py --nano nano.json --workers workers.json [--lines 1 12 100 1000] [--parts 60] [--json]

A line sends `--parts` parts a minute. The comparison with good parts clears `--screened` of them alone; the others are
asked about, with or without thought. What each costs one thread is read from the measured files (or given by flags).

computed   E[S] of a part from both kinds; processes so that at most `--load` of their time is used and 95 of 100 parts
           wait at most `--wait` seconds (Erlang C, with the correction of Allen and Cunneen for times that are not
           exponential); servers, by cores and by what the one process that answers HTTP can do; memory; writes of the
           record; disk.
simulated  every part of every line for `--minutes`: lines in step with themselves, each from a random moment on, and
           `--jitter` of the period to either side; the first free process takes the part that came first.

Exits with 1 where the simulation finds the processes busier by 2 points, or parts that wait longer than computed by a
quarter and 50 ms. With --json the last line is one object.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HTTP_LOAD = 0.7  # of a server's own process, which also answers people
SPREAD = {"screened": 0.1, "asked": 0.35}  # standard deviation over mean, of the times of each kind


@dataclass(frozen=True)
class Costs:
    """What was measured.

    Attributes:
        screened_s: seconds of one thread for a part that the comparison clears alone.
        asked_s: the same for one that the model is asked about.
        server_mb: memory of the process that answers HTTP.
        worker_mb: memory of a model process.
        http_s: processor seconds of the server's own process for a part.
        crowding: seconds of a process beside as many as there are cores, over those alone; 1 where they do not disturb.
    """

    screened_s: float
    asked_s: float
    server_mb: float = 110.0
    worker_mb: float = 1900.0
    http_s: float = 0.02
    crowding: float = 1.0


@dataclass(frozen=True)
class Demand:
    """What a plant sends."""

    lines: int
    parts_a_minute: float
    screened: float  # share of the parts, 0 to 1

    @property
    def rate(self) -> float:
        """Parts a second."""
        return self.lines * self.parts_a_minute / 60


@dataclass(frozen=True)
class Service:
    """The time that a part takes a process: its mean in seconds, and its variance over the mean's square."""

    mean: float
    variability: float

    @classmethod
    def of(cls, costs: Costs, screened: float) -> Service:
        """The mixture of both kinds of parts."""
        kinds = ((screened, costs.screened_s, SPREAD["screened"]), (1 - screened, costs.asked_s, SPREAD["asked"]))
        mean = costs.crowding * sum(share * seconds for share, seconds, _ in kinds)
        square = costs.crowding**2 * sum(share * seconds**2 * (1 + spread**2) for share, seconds, spread in kinds)
        return cls(mean, square / mean**2 - 1)


@dataclass(frozen=True)
class Plan:
    """What is needed."""

    workers: int
    servers: int
    busy: float  # share of the time that a process is at a part
    mean_wait: float  # seconds
    p95_wait: float
    memory_gb: float
    asking_s: float  # seconds of processes that go into the parts that the model is asked about, a second


def erlang_c(workers: int, load: float) -> float:
    """Probability that a part waits, with `load` processes' worth of work; 1 where there are too few.

    One process waits as often as it is busy: erlang_c(1, 0.5) is 0.5.
    """
    if load >= workers:
        return 1.0
    blocked = 1.0
    for n in range(1, workers + 1):  # Erlang B by its recursion
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / workers * (1 - blocked))


def waits(workers: int, rate: float, service: Service) -> tuple[float, float]:
    """Mean and 95th percentile of the wait in seconds, of parts that come at random moments."""
    load = rate * service.mean
    if load >= workers:
        return math.inf, math.inf
    waiting = erlang_c(workers, load)
    of_those = service.mean / (workers - load) * (1 + service.variability) / 2
    return waiting * of_those, max(0.0, of_those * math.log(waiting / 0.05)) if waiting > 0 else 0.0


def plan(demand: Demand, costs: Costs, cores: int, most_load: float, most_wait: float) -> Plan:
    """The fewest processes that keep both limits, and what follows from them."""
    service = Service.of(costs, demand.screened)
    load = demand.rate * service.mean
    workers = max(1, math.ceil(load / most_load))
    while waits(workers, demand.rate, service)[1] > most_wait:
        workers += 1
    mean, p95 = waits(workers, demand.rate, service)
    servers = max(math.ceil(workers / cores), math.ceil(demand.rate * costs.http_s / HTTP_LOAD))
    memory = (servers * costs.server_mb + workers * costs.worker_mb) / 1024
    asking = demand.rate * (1 - demand.screened) * costs.asked_s * costs.crowding
    return Plan(workers, servers, load / workers, mean, p95, memory, asking)


def simulate(
    demand: Demand, costs: Costs, workers: int, minutes: float, jitter: float, seed: int = 0
) -> dict[str, float]:
    """Every part of every line through one queue; waits and how busy the processes were, after a tenth of the time."""
    rng = np.random.default_rng(seed)
    arrivals = _arrivals(demand, 60 * minutes, jitter, rng)
    times = _times(len(arrivals), costs, demand.screened, rng)
    free = [0.0] * workers
    began = np.empty(len(arrivals))
    for number, (moment, seconds) in enumerate(zip(arrivals.tolist(), times.tolist(), strict=True)):
        start = max(moment, free[0])
        heapq.heapreplace(free, start + seconds)
        began[number] = start
    kept = arrivals >= 6 * minutes
    waited = (began - arrivals)[kept]
    span = 60 * minutes * 0.9
    return {
        "parts": len(arrivals), "busy": float(times[kept].sum() / (workers * span)),
        "mean_wait": float(waited.mean()), "p95_wait": float(np.quantile(waited, 0.95)),
        "longest_wait": float(waited.max()),
    }  # fmt: skip


def _arrivals(demand: Demand, seconds: float, jitter: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    period = 60 / demand.parts_a_minute
    counts = np.arange(int(seconds / period))
    moments = rng.uniform(0, period, (demand.lines, 1)) + period * counts
    moments += rng.uniform(-jitter, jitter, moments.shape) * period
    return np.sort(np.maximum(moments, 0).ravel())


def _times(count: int, costs: Costs, screened: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    clear = rng.random(count) < screened
    found = np.empty(count)
    for kind, mask, seconds in (("screened", clear, costs.screened_s), ("asked", ~clear, costs.asked_s)):
        shape = 1 / SPREAD[kind] ** 2  # of a gamma distribution with that spread
        found[mask] = rng.gamma(shape, costs.crowding * seconds / shape, int(mask.sum()))
    return found


def measure_record(count: int, database: str | None) -> dict[str, float]:
    """What an inspection writes into the record: seconds of its transactions, one after the other, and bytes kept."""
    from reason_iad.images import encode_jpeg
    from reason_iad.store.store import Store
    from reason_iad.types import InspectionReport, InspectionRequest

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        store = Store.open(database or f"sqlite:///{folder / 'record.db'}", folder / "evidence")
        report = InspectionReport(
            "part.jpg", (480, 640), "0" * 64, "normal", 0.03, "calibrated", 0.1, "plate", "given", None, None,
            "No defect was found on the part.", None,
        )  # fmt: skip
        noise = [rng.integers(90, 130, (480, 640, 3), dtype=np.uint8) for _ in range(8)]
        spent = []
        for number in range(count):
            data = encode_jpeg(noise[number % 8]) + number.to_bytes(8, "big")  # each its own file
            began = time.perf_counter()
            identifier = store.accept(InspectionRequest(data, name="part.jpg"), "line", "server", "image/jpeg")
            store.audit("line", "inspector", "inspect", identifier, "ok")
            store.start(identifier)
            store.finish(identifier, report, {"preview": ("image/jpeg", data[::-1])})
            spent.append(time.perf_counter() - began)
        store.close()
    median, p95 = np.quantile(spent, (0.5, 0.95))
    return {"inspections": count, "median_ms": 1000 * float(median), "p95_ms": 1000 * float(p95)}


def read_costs(args: argparse.Namespace) -> Costs:
    """Costs by the measured files, else by flags."""
    nano = json.loads(Path(args.nano).read_text("utf-8")) if args.nano else {}
    found = json.loads(Path(args.workers).read_text("utf-8"))["servers"] if args.workers else {}
    first = next(iter(found["settings"].values())) if found else {}
    return Costs(
        screened_s=nano.get("screened_ms", args.screened_ms) / 1000,
        asked_s=nano.get("full_ms" if args.thought else "next_of_lot_ms", args.asked_ms) / 1000,
        worker_mb=nano.get("rss_mb", args.worker_mb),
        http_s=first.get("cpu_ms_of_server", args.http_ms) / 1000,
        crowding=max(1.0, 2 / found["two_over_one"]) if found else args.crowding,
    )


def check(planned: Plan, found: dict[str, float]) -> list[str]:
    """Where the simulation finds more than was computed."""
    wrong = []
    if abs(found["busy"] - planned.busy) > 0.02:
        wrong.append(f"busy {found['busy']:.3f}, computed {planned.busy:.3f}")
    if found["p95_wait"] > 1.25 * planned.p95_wait + 0.05:
        wrong.append(f"p95 of the wait {found['p95_wait']:.3f} s, computed {planned.p95_wait:.3f} s")
    return wrong


def table(args: argparse.Namespace, costs: Costs) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each number of lines and share that is screened, and what the simulation contradicts."""
    rows, wrong = [], []
    for screened in args.screened:
        for lines in args.lines:
            demand = Demand(lines, args.parts, screened)
            planned = plan(demand, costs, args.cores, args.load, args.wait)
            minutes = min(args.minutes, args.most_parts / (demand.rate * 60))
            found = simulate(demand, costs, planned.workers, minutes, args.jitter)
            wrong += [f"{lines} lines, {screened:.0%} screened: {one}" for one in check(planned, found)]
            rows.append({"lines": lines, "screened": screened, **vars(planned), "simulated": found})
    return rows, wrong


def show(rows: Sequence[dict[str, Any]], parts: float) -> None:
    """Print the table."""
    head = "screened | asking, s a second | processes | servers | memory | busy | simulated | wait, p95 | simulated"
    print(f"| lines of {parts:g} a minute | {head} |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        found = row["simulated"]
        cells = (
            f"{row['lines']:,}", f"{row['screened']:.0%}", f"{row['asking_s']:,.1f}", f"{row['workers']:,}",
            f"{row['servers']:,}", f"{row['memory_gb']:,.0f} GB", f"{row['busy']:.0%}", f"{found['busy']:.0%}",
            f"{row['p95_wait']:.2f} s", f"{found['p95_wait']:.2f} s",
        )  # fmt: skip
        print(f"| {' | '.join(cells)} |")


def main() -> int:
    """Compute, simulate, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nano", metavar="FILE", help="the last line of benchmarks/nano.py --json")
    parser.add_argument("--workers", metavar="FILE", help="the last line of benchmarks/workers.py --json")
    parser.add_argument("--thought", action="store_true", help="parts are asked about with latents and injection")
    parser.add_argument("--screened-ms", type=float, default=250.0, help="of one thread, without --nano")
    parser.add_argument("--asked-ms", type=float, default=1500.0, help="of one thread, without --nano")
    parser.add_argument("--worker-mb", type=float, default=1900.0, help="memory of a process, without --nano")
    parser.add_argument("--http-ms", type=float, default=20.0, help="of the server's own process, without --workers")
    parser.add_argument("--crowding", type=float, default=1.0, help="without --workers")
    parser.add_argument("--lines", type=int, nargs="+", default=[1, 12, 100, 1000])
    parser.add_argument("--parts", type=float, default=60.0, help="parts a minute of a line")
    parser.add_argument("--screened", type=float, nargs="+", default=[0.5, 0.9, 0.99], help="share of the parts")
    parser.add_argument("--cores", type=int, default=16, help="of a server")
    parser.add_argument("--load", type=float, default=0.85, help="share of their time that processes may be busy")
    parser.add_argument("--wait", type=float, default=1.0, help="seconds that 95 of 100 parts wait at most")
    parser.add_argument("--minutes", type=float, default=60.0, help="simulated, but for --most-parts")
    parser.add_argument("--most-parts", type=float, default=400_000, help="simulated for a row")
    parser.add_argument("--jitter", type=float, default=0.2, help="of a line's period, to either side")
    parser.add_argument("--record", type=int, metavar="N", help="measure what N inspections cost the record")
    parser.add_argument("--database", metavar="URL", help="of --record; SQLite where left out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    costs = read_costs(args)
    print(costs)
    rows, wrong = table(args, costs)
    show(rows, args.parts)
    for line in wrong:
        print(f"contradicted: {line}", file=sys.stderr)
    record = measure_record(args.record, args.database) if args.record else None
    if record:
        print(f"record: {record['median_ms']:.1f} ms an inspection (n={args.record}), p95 {record['p95_ms']:.1f} ms")
    if args.json:
        print(json.dumps({"costs": vars(costs), "rows": rows, "record": record}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
