"""The program that computes what a plant needs: its formulas against closed forms, and its simulation against them."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).parent.parent.parent / "benchmarks" / "scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("scale", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale"] = module  # dataclasses look there for their annotations
    spec.loader.exec_module(module)
    yield module
    del sys.modules["scale"]


def erlang_c_by_its_sum(workers: int, load: float) -> float:
    last = load**workers / math.factorial(workers) * workers / (workers - load)
    return last / (sum(load**k / math.factorial(k) for k in range(workers)) + last)


@pytest.mark.parametrize(("workers", "load"), [(1, 0.5), (2, 1.7), (12, 10.0), (50, 42.5)])
def test_the_share_that_waits_is_erlangs(scale, workers, load):
    assert scale.erlang_c(workers, load) == pytest.approx(erlang_c_by_its_sum(workers, load), rel=1e-12)


def test_one_process_waits_as_pollaczek_and_khinchine_say(scale):
    service = scale.Service(mean=0.5, variability=0.36)
    mean, _ = scale.waits(1, 1.2, service)
    square = 0.5**2 * 1.36
    assert mean == pytest.approx(1.2 * square / (2 * (1 - 0.6)), rel=1e-12)


def test_what_comes_faster_than_it_is_done_waits_forever(scale):
    assert scale.waits(2, 5.0, scale.Service(0.5, 0.0)) == (math.inf, math.inf)


@pytest.mark.parametrize("workers", [1, 4, 20])
def test_the_simulation_of_parts_that_come_at_random_moments_waits_as_computed(scale, monkeypatch, workers):
    demand, costs = scale.Demand(workers, 60.0, 0.7), scale.Costs(screened_s=0.4, asked_s=1.6)

    def at_random(demand, seconds, jitter, rng):
        return np.cumsum(rng.exponential(1 / demand.rate, int(demand.rate * seconds)))

    monkeypatch.setattr(scale, "_arrivals", at_random)
    service = scale.Service.of(costs, 0.7)
    mean, p95 = scale.waits(workers, demand.rate, service)
    found = [scale.simulate(demand, costs, workers, 60_000 / demand.rate / 60, 0.0, seed) for seed in range(4)]
    assert np.mean([one["busy"] for one in found]) == pytest.approx(service.mean, abs=0.01)
    assert np.mean([one["mean_wait"] for one in found]) == pytest.approx(mean, rel=0.15)
    assert np.mean([one["p95_wait"] for one in found]) == pytest.approx(p95, rel=0.15)


def test_a_plan_keeps_its_limits_with_the_fewest_processes(scale):
    demand, costs = scale.Demand(12, 60.0, 0.9), scale.Costs(screened_s=0.25, asked_s=1.5)
    planned = scale.plan(demand, costs, 16, 0.85, 0.2)
    assert planned.busy <= 0.85
    assert planned.p95_wait <= 0.2
    _, p95 = scale.waits(planned.workers - 1, demand.rate, scale.Service.of(costs, 0.9))
    assert p95 > 0.2 or planned.busy * planned.workers / (planned.workers - 1) > 0.85
    assert planned.asking_s == pytest.approx(12 * 0.1 * 1.5)


def test_a_plan_that_the_simulation_contradicts_is_told(scale):
    planned = scale.plan(scale.Demand(4, 60.0, 0.5), scale.Costs(0.25, 1.5), 16, 0.85, 1.0)
    assert scale.check(planned, {"busy": planned.busy, "p95_wait": planned.p95_wait}) == []
    wrong = scale.check(planned, {"busy": planned.busy + 0.1, "p95_wait": planned.p95_wait * 2 + 0.1})
    assert [one.split()[0] for one in wrong] == ["busy", "p95"]
