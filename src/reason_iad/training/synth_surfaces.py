"""Painters of flat products: plates, tiles, glass, prints, wafers, cables."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from reason_iad.training.synth_canvas import Canvas, Field, box, lettering, noise

Painter = Callable[[Canvas], None]

WORDS = (
    "QUALITY",
    "NET 250 g",
    "KEEP DRY",
    "BATCH 0471",
    "SERIES A",
    "MADE WITH CARE",
    "PREMIUM",
    "OPEN HERE",
    "LOT 88-12",
    "100 % COTTON",
)


def backdrop(c: Canvas) -> None:
    """Paint what a part lies on: paper, a dark mat, a belt or steel."""
    s, p = c.style, c.pose
    kind = int(s.integers(5))
    names = ("white", "black", "gray", "beige", "blue", "green", "yellow")
    color = c.color(names[:3] if kind < 3 else names, fact=None)
    grain = float(s.uniform(0.5, 4))
    cells = float(s.uniform(30, 150))
    c.fill(color, noise(p, c.size, cells) * grain + noise(p, c.size, 2) * 4)


def framed(c: Canvas, radius: float, margin: float = 0.14) -> Field:
    """Show the painted sheet as a plate with edges on a backdrop; return the distance to its edge."""
    sheet = c.pixels
    half = float(c.style.uniform(0.74, 0.9)), float(c.style.uniform(0.74, 0.9))
    backdrop(c)
    u, v = c.placed(margin / 3, 0.06, 0.03)
    distance = box(u, v, half[0], half[1], radius)
    c.shadow(distance)
    c.keep_under()
    c.part(distance, sheet, bevel=0.05)
    c.inside = distance < -0.01
    return distance


def maybe_framed(c: Canvas, radius: float = 0.04) -> None:
    """Show half of the lines as whole plates, the others so near that no edge is seen."""
    if c.style.random() < 0.5:
        framed(c, radius)


def streaks(c: Canvas, fine: float, coarse: float, upright: bool) -> Field:
    """Grinding lines along one axis: (H, W), about standard normal."""
    lines = noise(c.pose, c.size, (fine, coarse)) + 0.6 * noise(c.pose, c.size, (fine / 3, coarse / 2))
    return np.ascontiguousarray(lines.T) if upright else lines


def brushed_metal(c: Canvas) -> None:
    """Paint a brushed metal plate."""
    s = c.style
    upright = bool(s.random() < 0.5)
    tint = np.array([0, 0, 0]) + s.uniform(-8, 8, 3)
    band = (c.x if upright else c.y) - c.pose.uniform(-0.5, 0.5)
    tone = float(s.uniform(110, 185)) + float(s.uniform(6, 14)) * streaks(c, float(s.uniform(100, 300)), 4, upright)
    c.fill(tint, tone + 30 * np.exp(-((band * 1.6) ** 2)))
    maybe_framed(c)


def cast_metal(c: Canvas) -> None:
    """Paint a cast metal surface."""
    s, p = c.style, c.pose
    grain = noise(p, c.size, float(s.uniform(50, 90)), 2)
    tone = float(s.uniform(85, 150)) + c.relief(grain, float(s.uniform(0.12, 0.3))) + 5 * noise(p, c.size, 5, 2)
    c.fill(s.uniform(-6, 6, 3), tone)
    maybe_framed(c)


def ground_tile(c: Canvas) -> None:
    """Paint a ground magnetic tile."""
    s, p = c.style, c.pose
    upright = bool(s.random() < 0.7)
    level = float(s.uniform(55, 120))
    lines = streaks(c, 150, 3, upright) * float(s.uniform(4, 9))
    axis = c.x if upright else c.y
    c.fill(
        (0, 0, 0), level + lines + 9 * noise(p, c.size, 3, 2) + level * 0.25 * np.cos(axis * 2.6 + p.uniform(-0.7, 0.7))
    )
    maybe_framed(c, 0.01)


def glazed_tile(c: Canvas) -> None:
    """Paint a glazed ceramic tile."""
    s, p = c.style, c.pose
    color = c.color(("white", "blue", "green", "beige", "red", "black"))
    c.fill(color, 2.5 * noise(p, c.size, 5, 2) + c.relief(noise(p, c.size, 14), 0.12))
    px, py, wide = p.uniform(-0.6, 0.6), p.uniform(-0.6, 0.6), float(s.uniform(0.15, 0.35))
    glare = np.clip(0.5 - box(c.x - px, c.y - py, wide, wide * 1.6, 0.05) * 12, 0, 1)
    c.over((255, 255, 255), glare * np.float32(s.uniform(0.08, 0.3)))
    framed(c, 0.03)


def wood_board(c: Canvas) -> None:
    """Paint a wooden board."""
    s, p = c.style, c.pose
    base = np.array([(176, 128, 82), (206, 170, 122), (120, 78, 48), (190, 120, 70)][int(s.integers(4))], np.float32)
    along, across = (c.y, c.x) if s.random() < 0.5 else (c.x, c.y)
    warp = noise(p, c.size, (2, 3)) * float(s.uniform(0.05, 0.16))
    knots = int(p.integers(0, 2)) if s.random() < 0.4 else 0
    for _ in range(knots):
        ka, kb = p.uniform(-0.7, 0.7), p.uniform(-0.7, 0.7)
        warp = warp + 0.25 * np.exp(-((along - ka) ** 2) * 6 - (across - kb) ** 2 * 18) * np.sign(across - kb)
    rings = np.sin((across + warp) * float(s.uniform(18, 45)) + p.uniform(0, 6))
    fine = streaks(c, 140, 5, bool(along is c.y))
    tone = 9 * rings + 6 * fine + 5 * noise(p, c.size, 3)
    c.pixels = base + tone[..., None] * np.array([1.0, 0.85, 0.65], np.float32)
    maybe_framed(c, 0.02)


def light_plate(c: Canvas) -> None:
    """Paint a light guide plate."""
    s, p = c.style, c.pose
    dark = bool(s.random() < 0.75)
    count = float(s.uniform(9, 17))
    skew = 0.5 if s.random() < 0.5 else 0.0
    u, v = c.placed(0.06, 0.03, 0.03)
    rows = v * count / 2 + 50
    columns = u * count * float(s.uniform(0.7, 1.0)) / 2 + 50 + (np.floor(rows) % 2) * skew
    jitter = 0.04 * noise(p, c.size, count)
    radius = float(s.uniform(0.13, 0.22))
    distance = np.hypot(columns % 1 - 0.5 + jitter, rows % 1 - 0.5 + jitter) - radius
    alpha = np.clip(0.5 - distance * 8, 0, 1)
    if c.fault == "missing dots":
        fu, fv = c.fault_rng.uniform(-0.7, 0.7, 2)
        alpha = alpha * (np.hypot(c.x - fu, c.y - fv) > 2.4 / count * c.fault_rng.uniform(0.6, 1.4))
    ground, dot = (float(s.uniform(8, 30)), float(s.uniform(170, 245))) if dark else (float(s.uniform(150, 190)), 245.0)
    c.fill(s.uniform(-4, 4, 3), ground + 3 * noise(p, c.size, 3))
    c.over((dot, dot, dot), alpha)


def frosted_glass(c: Canvas) -> None:
    """Paint a frosted glass pane."""
    s, p = c.style, c.pose
    tint = np.array([198, 214, 214]) + s.uniform(-22, 22, 3)
    c.fill(
        tint,
        float(s.uniform(2, 5)) * noise(p, c.size, 120)
        + 4 * noise(p, c.size, 4, 2)
        + 14 * np.cos(c.x * 1.4 + c.y * 0.8 + p.uniform(0, 3)),
    )
    if s.random() < 0.6:
        distance = framed(c, float(s.uniform(0.03, 0.3)))
        c.over((120, 150, 150), np.clip(1 - np.abs(distance + 0.02) * 60, 0, 1) * np.float32(0.5))


def printed_paper(c: Canvas) -> None:
    """Paint a printed paper."""
    s, p = c.style, c.pose
    paper = c.color(("white", "beige", "yellow"), spread=8)
    ink = c.color(("black", "blue", "red", "green"), "ink")
    c.fill(paper, 2.5 * noise(p, c.size, 140) + 2 * noise(p, c.size, 3))
    dx, dy = p.uniform(-0.03, 0.03, 2)
    lines = int(s.integers(4, 8))
    words = [str(WORDS[int(k)]) for k in s.integers(0, len(WORDS), lines)]
    indent = s.uniform(-0.25, 0.25, lines)
    drop = int(c.fault_rng.integers(lines)) if c.fault == "missing print" else -1
    c.facts["lines"] = str(lines)
    for k, word in enumerate(words):
        if k != drop:
            y = -0.75 + 1.5 * (k + 0.5) / lines
            c.over(ink, lettering(c.size, word, (float(indent[k]) + dx, y + dy), 0.9 / lines))
    rule = s.random() < 0.6
    if rule:
        edge = np.abs(box(c.x - dx, c.y - dy, 0.92, 0.92, 0.04)) - 0.012
        c.over(ink, c.cover(edge))


def solar_cell(c: Canvas) -> None:
    """Paint a solar cell."""
    s, p = c.style, c.pose
    blue = s.random() < 0.3
    base = np.array([40, 62, 112] if blue else [1, 1, 1], np.float32) * (1 if blue else float(s.uniform(95, 165)))
    c.facts["color"] = "blue" if blue else "gray"
    patches = np.round(noise(p, c.size, 7) * 2) * float(s.uniform(0, 5)) + 6 * noise(p, c.size, 3, 2)
    sheet = base + patches[..., None].astype(np.float32)
    c.fill((26, 26, 28))
    u, v = c.placed(0.02, 0.02, 0.02)
    corner = np.abs(u) + np.abs(v) - float(s.uniform(1.62, 1.75))
    distance = np.maximum(box(u, v, 0.94, 0.94, 0.01), corner)
    c.keep_under()
    c.over(sheet, c.cover(distance))
    c.inside = distance < -0.01
    fingers = int(s.integers(24, 44))
    stripe = np.sin(u * math.pi * fingers)
    c.pixels += (np.where(c.inside, stripe, 0) * float(s.uniform(0, 7)))[..., None]
    bars = c.count("busbars", 2, 5)
    bar_tone = 205.0 if blue else float(s.choice((38.0, 215.0)))
    broken = int(c.fault_rng.integers(bars)) if c.fault == "interrupted busbar" else -1
    half = float(s.uniform(0.008, 0.02))
    for k in range(bars):
        level = -0.94 + 1.88 * (k + 0.5) / bars
        bar = box(u, v - level, 0.9, half)
        if k == broken:
            bar = np.maximum(bar, c.fault_rng.uniform(0.06, 0.2) - np.abs(u - c.fault_rng.uniform(-0.7, 0.7)))
        c.over((bar_tone,) * 3, c.cover(bar))


def hammered_paint(c: Canvas) -> None:
    """Paint a hammered paint panel."""
    s, p = c.style, c.pose
    color = c.color(("blue", "green", "gray", "black", "red", "yellow"))
    bumps = noise(p, c.size, float(s.uniform(18, 36)))
    lit = c.relief(np.tanh(bumps), float(s.uniform(0.5, 0.9)))
    c.fill(color, lit + np.maximum(lit - 14, 0) + 4 * noise(p, c.size, 3))
    maybe_framed(c, 0.06)


def granite(c: Canvas) -> None:
    """Paint a granite slab."""
    s, p = c.style, c.pose
    color = c.color(("gray", "pink", "beige", "black"))
    cells = float(s.uniform(35, 70))
    a, b = noise(p, c.size, cells), noise(p, c.size, cells * 0.8)
    c.fill(color, 5 * noise(p, c.size, 100))
    c.pixels += np.where(a > 0.7, np.float32(-50), np.where(b > 0.9, np.float32(38), np.float32(0)))[..., None]
    maybe_framed(c, 0.02)


def perforated_sheet(c: Canvas) -> None:
    """Paint a perforated metal sheet."""
    s, p = c.style, c.pose
    level = float(s.uniform(120, 190))
    c.fill(s.uniform(-8, 8, 3), level + 5 * streaks(c, 120, 5, False) + 5 * noise(p, c.size, 3))
    count = int(s.integers(4, 8))
    u, v = c.placed(0.05, 0.04, 0.04)
    cu, cv = u * count / 2 + 0.5 * (count % 2), v * count / 2 + 0.5 * (count % 2)
    distance = (np.hypot(cu % 1 - 0.5, cv % 1 - 0.5) - float(s.uniform(0.2, 0.3))) * 2 / count
    if c.fault == "blocked hole":
        k, m = c.fault_rng.integers(-(count // 2) + 1, max(count // 2 - 1, 1), 2)
        distance = np.where((np.floor(cu) == k) & (np.floor(cv) == m), np.float32(1), distance)
    dark = float(s.uniform(15, 60))
    c.inside = distance > 0.02
    c.over((dark,) * 3, c.cover(distance))
    c.pixels += (c.relief(np.clip(-distance * 25, -1, 1), 2.0) * (np.abs(distance) < 0.03))[..., None]


def cable_jacket(c: Canvas) -> None:
    """Paint parallel cables from side to side."""
    p = c.pose
    backdrop(c)
    number = c.count("cables", 2, 5)
    names = ("red", "blue", "green", "yellow", "black", "white", "orange", "brown")
    order = c.style.permutation(len(names))[:number]
    colors = [c.color((names[int(k)],), None) for k in order]
    u, v = c.placed(0.05, 0.05, 0.02)
    c.keep_under()
    half = 0.66 / number
    v = v + 0.03 * np.sin(u * 2 + p.uniform(0, 6))
    inside = np.zeros_like(c.inside)
    swap = int(c.fault_rng.integers(number - 1)) if c.fault == "swapped cables" else -1
    if swap >= 0:
        colors[swap], colors[swap + 1] = colors[swap + 1], colors[swap]
    gone = int(c.fault_rng.integers(number)) if c.fault == "missing cable" else -1
    grain = 2 * noise(p, c.size, 60)
    for k in range(number):
        if k == gone:
            continue
        d = np.abs(v - (-0.8 + 1.6 * (k + 0.5) / number)) - half
        round_ = np.sqrt(np.clip(1 - ((d + half) / half) ** 2, 0, 1))
        c.part(d, colors[k], 70 * round_ - 50 + grain)
        inside |= d < -0.01
    c.inside = inside


PAINTERS: dict[str, Painter] = {
    f.__name__: f
    for f in (
        brushed_metal,
        cast_metal,
        ground_tile,
        glazed_tile,
        wood_board,
        light_plate,
        frosted_glass,
        printed_paper,
        solar_cell,
        hammered_paint,
        granite,
        perforated_sheet,
        cable_jacket,
    )
}
