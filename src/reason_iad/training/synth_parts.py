"""Painters of mechanical parts lying on a background: fasteners, drives, seals, buttons."""

from __future__ import annotations

import math

import numpy as np

from reason_iad.training.synth_canvas import Canvas, Field, box, noise, polygon, rgb
from reason_iad.training.synth_surfaces import Painter, backdrop, wood_board

FULL = math.pi  # any turn


def steel(c: Canvas, low: float = 120, high: float = 180) -> Field:
    """A metal color of the line."""
    value: Field = np.asarray(float(c.style.uniform(low, high)) + c.style.uniform(-8, 8, 3), np.float32)
    return value


def lay(c: Canvas, distance: Field, color: Field, tone: Field | float = 0.0, bevel: float = 0.06) -> None:
    """Put the object with its shadow on the backdrop; its surface is where defects go."""
    c.shadow(distance)
    c.keep_under()
    c.part(distance, color, tone, bevel)
    c.inside = distance < -0.015


def sheen(c: Canvas, u: Field, v: Field, lobes: int = 2, strength: float = 22) -> Field:
    """Anisotropic gloss of turned metal."""
    lobe = np.cos(lobes * np.arctan2(v, u) + c.pose.uniform(0, 6.3))
    gloss: Field = strength * lobe + 3 * noise(c.pose, c.size, 70)
    return gloss


def pick(c: Canvas, name: str, number: int) -> int:
    """Which of `number` parts the fault `name` hits, or -1."""
    return int(c.fault_rng.integers(number)) if c.fault == name else -1


def screw(c: Canvas) -> None:
    """Paint a screw."""
    s = c.style
    color = steel(c)
    backdrop(c)
    u, v = c.placed(0.1, 0.5, 0.08, tilt=math.pi / 2 * int(s.integers(2)))
    shaft, pitch = float(s.uniform(0.1, 0.15)), float(s.uniform(55, 85))
    wave = np.sin(u * pitch + np.sign(v) * 0.9)
    if c.fault == "damaged thread":
        spot = c.fault_rng.uniform(-0.1, 0.5)
        flat = np.exp(-(((u - spot) / c.fault_rng.uniform(0.08, 0.2)) ** 2) * 2)
        wave = wave * (1 - flat) - 0.9 * flat
    end = 0.25 if c.fault == "missing tip" else 0.85
    taper = np.clip((0.85 - u) * 4, 0, 1)
    thread = np.maximum(np.abs(v) - (shaft + 0.025 * wave) * taper, np.maximum(-0.4 - u, u - end))
    head = box(u + 0.52, v, 0.13, float(s.uniform(0.26, 0.34)), 0.07)
    lay(c, np.minimum(thread, head), color, 55 * (1 - (v / 0.3) ** 2) - 35 + np.where(u > -0.4, 22 * wave, 0), 0.04)


def hex_nut(c: Canvas) -> None:
    """Paint a hexagon nut."""
    s = c.style
    color = steel(c, 110, 190)
    backdrop(c)
    u, v = c.placed(0.12, FULL, 0.1)
    hole, outer = float(s.uniform(0.26, 0.34)), float(s.uniform(0.52, 0.62))
    radius = np.hypot(u, v)
    distance = np.maximum(polygon(u, v, outer, 6), hole - radius)
    lay(c, distance, color, sheen(c, u, v))
    ring = np.abs(radius - hole - 0.04) - 0.012
    c.pixels -= (35 * c.cover(ring))[..., None]


def washer(c: Canvas) -> None:
    """Paint a washer."""
    s = c.style
    color = steel(c, 120, 200)
    backdrop(c)
    u, v = c.placed(0.12, FULL, 0.1)
    hole, outer = float(s.uniform(0.2, 0.42)), float(s.uniform(0.58, 0.72))
    shift = c.fault_rng.uniform(0.06, 0.14) if c.fault == "off-center hole" else 0.0
    distance = np.maximum(np.hypot(u, v) - outer, hole - np.hypot(u - shift, v))
    lay(c, distance, color, sheen(c, u, v, 2, 30), 0.04)


def bearing(c: Canvas) -> None:
    """Paint a ball bearing."""
    color = steel(c, 130, 190)
    backdrop(c)
    u, v = c.placed(0.1, FULL, 0.08)
    radius = np.hypot(u, v)
    lay(c, np.maximum(radius - 0.76, 0.26 - radius), color, sheen(c, u, v, 2, 18))
    c.over((45, 45, 48), c.cover(np.abs(radius - 0.52) - 0.11))
    number = c.count("balls", 7, 12)
    gone = pick(c, "missing ball", number)
    for k in range(number):
        angle = 2 * math.pi * k / number
        center = 0.52 * math.cos(angle), 0.52 * math.sin(angle)
        at = c.window(u, v, center, 0.1)
        du, dv = u[at] - center[0], v[at] - center[1]
        if k != gone:
            c.part(np.hypot(du, dv) - 0.1, color, 50 - 500 * (du * c.light[0] + dv * c.light[1]) ** 2, 0.1, at)
    c.over((60, 60, 62), c.cover(np.abs(radius - 0.76) - 0.01))


def gear(c: Canvas) -> None:
    """Paint a gear wheel."""
    s = c.style
    color = steel(c, 100, 180) if s.random() < 0.6 else c.color(("white", "black", "yellow"), None)
    backdrop(c)
    u, v = c.placed(0.08, FULL, 0.08)
    teeth = c.count("teeth", 10, 22)
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    wave = np.clip(np.sin(angle * teeth) * 2.2, -1, 1)
    k = pick(c, "broken tooth", teeth)
    if k >= 0:
        turn = (angle - (math.pi / 2 + 2 * math.pi * k) / teeth + math.pi) % (2 * math.pi) - math.pi
        wave = np.where(np.abs(turn) < math.pi / teeth, np.float32(-1), wave)
    distance = np.maximum(radius - 0.66 - 0.07 * wave, 0.16 - radius)
    lay(c, distance, color, sheen(c, u, v, 2, 12), 0.04)
    c.pixels += (c.relief(np.clip((0.44 - radius) * 30, -1, 1), 1.6) * (radius < 0.55))[..., None]


def screw_block(c: Canvas) -> None:
    """Paint a block with screws."""
    s = c.style
    number = (2, 4, 6)[int(s.integers(3))]
    c.facts["screws"] = str(number)
    style = int(s.integers(3))
    if style == 0:
        wood_board(c)
        c.under, c.inside = None, np.ones_like(c.inside)
    else:
        c.fill(
            c.color(("gray", "white", "blue", "black"), None),
            3 * noise(c.pose, c.size, 100) + 3 * noise(c.pose, c.size, 3),
        )
    u, v = c.placed(0.07, 0.12, 0.06)
    metal = steel(c, 60, 200)
    radius, across = float(s.uniform(0.13, 0.19)), number // 2
    gone, loose = pick(c, "missing screw", number), pick(c, "misplaced screw", number)
    slot = c.pose.uniform(0, math.pi, number)
    gloss = sheen(c, u, v, 2, 10)
    for k in range(number):
        cu = (k % across - (across - 1) / 2) * (1.3 / max(across, 1.6)) if across > 1 else 0.0
        cv = 0.48 if k >= across else -0.48
        du, dv = u - cu, v - cv
        if k == gone:
            c.part(np.hypot(du, dv) - radius * 0.5, rgb(30, 24, 20), 0, 0.03)
            continue
        if k == loose:
            du, dv = (
                du - c.fault_rng.choice((-1, 1)) * c.fault_rng.uniform(0.1, 0.2),
                dv + c.fault_rng.uniform(-0.12, 0.12),
            )
        head = np.hypot(du, dv) - radius
        c.shadow(head, 45, 0.06)
        c.part(head, metal, gloss, 0.05)
        a, b = math.cos(slot[k]), math.sin(slot[k])
        w, t = du * a + dv * b, dv * a - du * b
        cross = np.minimum(box(w, t, radius * 0.6, radius * 0.13), box(w, t, radius * 0.13, radius * 0.6))
        c.part(cross, metal * 0.35)


def o_ring(c: Canvas) -> None:
    """Paint a rubber sealing ring."""
    s = c.style
    color = c.color(("black", "red", "gray", "green"))
    backdrop(c)
    u, v = c.placed(0.12, FULL, 0.08)
    radius, thick = float(s.uniform(0.5, 0.62)), float(s.uniform(0.07, 0.12))
    middle = np.hypot(u, v) - radius
    distance = np.abs(middle) - thick
    if c.fault == "split ring":
        distance = np.maximum(distance, c.fault_rng.uniform(0.02, 0.07) - np.where(u > 0, np.abs(v), np.float32(9)))
    lay(c, distance, color, 50 * np.sqrt(np.clip(1 - (middle / thick) ** 2, 0, 1)) - 25, 0.05)


def impeller(c: Canvas) -> None:
    """Paint a cast impeller."""
    s = c.style
    level = float(s.uniform(130, 195))
    backdrop(c)
    u, v = c.placed(0.06, FULL, 0.05)
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    tone = sheen(c, u, v, 2, 16) + 4 * np.sin(radius * 190)
    lay(c, radius - 0.86, rgb(level, level, level), tone, 0.05)
    bore = float(s.uniform(0.44, 0.55))
    c.over((34, 34, 36), c.cover(np.maximum(radius - bore, 0.3 - radius)))
    blades = c.count("blades", 5, 8)
    wave = np.sin(angle * blades + radius * 9)
    k = pick(c, "missing blade", blades)
    if k >= 0:
        turn = (angle * blades + radius * 9 - math.pi / 2 - 2 * math.pi * k) / blades
        turn = (turn + math.pi) % (2 * math.pi) - math.pi
        wave = np.where(np.abs(turn) < math.pi / blades, np.float32(-1), wave)
    c.over((95, 95, 97), np.clip((wave - 0.55) * 6, 0, 1) * ((radius < bore) & (radius > 0.3)))
    c.part(np.abs(radius - 0.25) - 0.07, rgb(level, level, level), tone, 0.05)
    c.over((150, 150, 152), c.cover(radius - 0.17) * np.float32(0.6))
    c.inside = (radius < 0.83) & (radius > bore + 0.03)


def button(c: Canvas) -> None:
    """Paint a sewing button."""
    s = c.style
    color = c.color(("white", "black", "brown", "blue", "red", "green", "beige"))
    backdrop(c)
    u, v = c.placed(0.12, FULL, 0.1)
    number = (2, 4)[int(s.integers(2))]
    c.facts["holes"] = str(number)
    outer = float(s.uniform(0.55, 0.7))
    radius = np.hypot(u, v)
    holes = np.full_like(u, 9)
    gone = pick(c, "missing hole", number)
    for k in range(number):
        angle = 2 * math.pi * k / number
        if k != gone:
            holes = np.minimum(holes, np.hypot(u - 0.17 * math.cos(angle), v - 0.17 * math.sin(angle)) - 0.065)
    lay(c, np.maximum(radius - outer, -holes), color, 3 * noise(c.pose, c.size, (4, 14)), 0.05)
    c.pixels += (
        c.relief(np.clip((radius - outer + 0.14) * 20, -1, 1), 1.6) * (radius < outer - 0.06) * (holes > 0.02)
    )[..., None]


PAINTERS: dict[str, Painter] = {
    f.__name__: f
    for f in (
        screw, hex_nut, washer, bearing, gear, screw_block, o_ring, impeller, button,
    )
}  # fmt: skip
