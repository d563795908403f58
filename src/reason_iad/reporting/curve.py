"""Geometry of the reward curve: where each point of a latent trace lies on the page. Drawing is the template's part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reason_iad.languages import _, number
from reason_iad.types import LatentTrace

WIDTH, HEIGHT = 640, 240  # of the SVG view box
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 16, 40  # margins around the plot


@dataclass(frozen=True)
class Tick:
    """A mark on an axis at `at` (view-box units) with its label."""

    at: float
    label: str


@dataclass(frozen=True)
class RewardCurve:
    """Points of the curve in view-box units; x is the step, y the reward."""

    candidates: tuple[tuple[float, float], ...]  # every candidate of every step
    means: tuple[tuple[float, float], ...]  # the updated mean, step by step
    best: str  # points of the polyline of the best reward so far
    start_y: float | None  # the plain model's reward
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str  # what the curve shows, for those who do not see it

    @property
    def means_points(self) -> str:
        """Points of the polyline through the means."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.means)


def reward_curve(trace: LatentTrace) -> RewardCurve | None:
    """Lay out the rewards of a trace; None where no step was taken."""
    if not trace.steps:
        return None
    rewards = [r for step in trace.steps for r in (*step.rewards, step.mean_reward, step.best_reward)]
    if trace.start_reward is not None:
        rewards.append(trace.start_reward)
    low, high = _padded(min(rewards), max(rewards))
    last = len(trace.steps)

    def x_of(position: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * position / last

    def y_of(reward: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (reward - low) / (high - low)

    steps = list(enumerate(trace.steps, 1))
    corners = [] if trace.start_reward is None else [(x_of(0), y_of(trace.start_reward))]
    for position, step in steps:
        if corners:
            corners.append((x_of(position), corners[-1][1]))
        corners.append((x_of(position), y_of(step.best_reward)))
    stride = max(1, -(-last // 10))
    return RewardCurve(
        candidates=tuple((x_of(p), y_of(r)) for p, step in steps for r in step.rewards),
        means=tuple((x_of(p), y_of(step.mean_reward)) for p, step in steps),
        best=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners),
        start_y=None if trace.start_reward is None else y_of(trace.start_reward),
        x_ticks=tuple(Tick(x_of(p), str(p)) for p in range(0, last + 1, stride)),
        y_ticks=tuple(Tick(y_of(v), number(v, 3)) for v in _levels(low, high, 4)),
        summary=_summary(trace),
    )


def _summary(trace: LatentTrace) -> str:
    best, steps = number(trace.steps[-1].best_reward, 3), len(trace.steps)
    if trace.start_reward is None:
        return _("The best reward went to {best} in {steps} steps.", best=best, steps=steps)
    start = number(trace.start_reward, 3)
    return _("The best reward went from {start} to {best} in {steps} steps.", start=start, best=best, steps=steps)


def _padded(low: float, high: float) -> tuple[float, float]:
    """Widen a range a little, and give a flat one some height."""
    pad = max((high - low) * 0.08, 0.002)
    return low - pad, high + pad


def _levels(low: float, high: float, count: int) -> Sequence[float]:
    return [low + (high - low) * i / (count - 1) for i in range(count)]
