"""The plots of a benchmark report as SVG: accuracy against cost, reliability, reward curves.

Pure functions of numbers to text; colors work on light and dark grounds, every line is named beside the plot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 20, 52
COLORS = ("#2a78d6", "#e0762b", "#2c9c5f", "#b2479d", "#b08900", "#5b6bd0", "#c7433f", "#2b9a9f")
_STYLE = (
    "text{font:13px system-ui,'Liberation Sans',sans-serif;fill:#76808c}.grid{stroke:#8a94a0;stroke-opacity:.28}"
    ".diagonal{stroke:#76808c;stroke-dasharray:5 4}.name{font-weight:600}"
)


@dataclass(frozen=True)
class Point:
    """A point with the ends of its interval along y."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    size: float = 5.0


@dataclass(frozen=True)
class Series:
    """Points under one name, joined by a line or not."""

    name: str
    points: Sequence[Point]
    joined: bool = True
    color: int = 0  # which of `COLORS`: a run keeps its own in every plot


@dataclass(frozen=True)
class Axis:
    """What an axis shows, from where to where."""

    label: str
    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Share of the axis at which a value lies, 0 to 1 inside."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values along the axis."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            return [m * 10.0**p for p in powers for m in (1, 2, 5) if self.low <= m * 10.0**p <= self.high]
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def plot(title: str, x: Axis, y: Axis, series: Sequence[Series], diagonal: bool = False) -> str:
    """One plot as an SVG document, its legend below."""
    columns = 1 if any(len(one.name) > 42 for one in series) else 2
    rows = math.ceil(len(series) / columns)
    height = HEIGHT + 22 * rows + 8

    def at_x(value: float) -> float:
        return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)

    def at_y(value: float) -> float:
        return HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        *_axes(x, y, at_x, at_y),
    ]
    if diagonal:
        parts.append(
            f'<line class="diagonal" x1="{at_x(x.low):.1f}" y1="{at_y(y.low):.1f}" '
            f'x2="{at_x(x.high):.1f}" y2="{at_y(y.high):.1f}"/>'
        )
    for index, one in enumerate(series):
        color = COLORS[one.color % len(COLORS)]
        parts += _draw(one, color, at_x, at_y)
        column, row = index % columns, index // columns
        left, top = LEFT + column * (WIDTH - LEFT) / 2, HEIGHT + 14 + 22 * row
        parts.append(f'<circle cx="{left + 5:.0f}" cy="{top - 4}" r="5" fill="{color}"/>')
        parts.append(f'<text x="{left + 16:.0f}" y="{top}">{escape(one.name)}</text>')
    return "".join([*parts, "</svg>"])


def _axes(x: Axis, y: Axis, at_x: Callable[[float], float], at_y: Callable[[float], float]) -> list[str]:
    parts = []
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in x.ticks():
        parts.append(f'<line class="grid" x1="{at_x(tick):.1f}" x2="{at_x(tick):.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at_x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{_short(tick)}</text>')
    for tick in y.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at_y(tick):.1f}" y2="{at_y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at_y(tick) + 4:.1f}" text-anchor="end">{_short(tick)}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text class="name" x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x.label)}</text>')
    center = (TOP + bottom) / 2
    parts.append(
        f'<text class="name" x="16" y="{center:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 16 {center:.0f})">{escape(y.label)}</text>'
    )
    return parts


def _draw(one: Series, color: str, at_x: Callable[[float], float], at_y: Callable[[float], float]) -> list[str]:
    parts = []
    if one.joined and len(one.points) > 1:
        path = " ".join(f"{at_x(p.x):.1f},{at_y(p.y):.1f}" for p in one.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    for p in one.points:
        if p.low is not None and p.high is not None:
            parts.append(
                f'<line x1="{at_x(p.x):.1f}" x2="{at_x(p.x):.1f}" y1="{at_y(p.low):.1f}" y2="{at_y(p.high):.1f}" '
                f'stroke="{color}" stroke-width="2" stroke-opacity=".55"/>'
            )
        hint = f"{one.name}: {_short(p.x)}, {p.y:.3f}"
        parts.append(
            f'<circle cx="{at_x(p.x):.1f}" cy="{at_y(p.y):.1f}" r="{p.size:.1f}" fill="{color}">'
            f"<title>{escape(hint)}</title></circle>"
        )
    return parts


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough - 1e-12)


def _short(value: float) -> str:
    """A tick's label.

    >>> _short(0.5), _short(2000.0), _short(1.0)
    ('0.5', '2,000', '1')
    """
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
