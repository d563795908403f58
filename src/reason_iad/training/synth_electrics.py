"""Painters of electrical parts: boards, connectors, resistors, cables, batteries, keypads."""

from __future__ import annotations

import math

import numpy as np

from reason_iad.training.synth_canvas import Canvas, Field, blob, box, lettering, noise, rgb, sketch
from reason_iad.training.synth_parts import lay, pick, steel
from reason_iad.training.synth_surfaces import Painter, backdrop


def circuit_board(c: Canvas) -> None:
    """Paint a printed circuit board."""
    s, p = c.style, c.pose
    look = int(s.integers(3))
    ground, copper = (((24, 84, 52), (98, 150, 88)), ((246, 246, 246), (12, 12, 12)), ((12, 12, 12), (246, 246, 246)))[
        look
    ]
    c.facts["look"] = ("green with light traces", "white with black traces", "black with white traces")[look]
    upright = bool(s.random() < 0.5)
    dx, dy = p.uniform(-0.04, 0.04, 2)
    step, wide = float(s.uniform(0.2, 0.34)), float(s.uniform(0.035, 0.075))
    routes, pads = _routes(s, step)
    strokes = [(route, wide * c.size / 2) for route in routes]
    dots = [(x, y, wide * radius) for x, y, radius in pads]
    gone = pick(c, "missing hole", len(pads))
    holes = [(x, y, radius * 0.45) for n, (x, y, radius) in enumerate(dots) if n != gone]
    r = c.fault_rng
    route = routes[int(r.integers(2, len(routes) - 2))]
    start = min(r.uniform(-0.8, 0.6), route[-1][0] - 0.06)
    level = float(np.interp(start, [q[0] for q in route], [q[1] for q in route]))
    up = level + r.choice((-1, 1)) * (wide / 2 + step * r.uniform(0.2, 0.4))
    if c.fault == "bridged traces":
        strokes.append(
            ([(start, level), (start + r.uniform(-0.04, 0.04), level + step)], wide * r.uniform(0.4, 1) * c.size / 2)
        )
    elif c.fault == "spur":
        strokes.append(
            ([(start, level), (start + r.uniform(-0.03, 0.03), up)], wide * r.uniform(0.3, 0.6) * c.size / 2)
        )
    copper_at = sketch(c.size, strokes, dots)
    x, y = c.x - start, c.y - level
    if c.fault == "spurious copper":
        copper_at = np.maximum(copper_at, c.cover(blob(x, y - step / 2, wide * r.uniform(0.5, 0.8), r, 0.5)))
    elif c.fault == "open trace":
        copper_at = copper_at * (1 - c.cover(box(x, y, r.uniform(0.02, 0.06), wide) + 0.01 * noise(r, c.size, 40)))
    elif c.fault == "mouse bite":
        copper_at = copper_at * (
            1 - c.cover(blob(x, y - r.choice((-1, 1)) * wide / 2, wide * r.uniform(0.35, 0.6), r, 0.4))
        )
    hole_at = sketch(c.size, (), holes)
    move = round(dy * c.size / 2), round(dx * c.size / 2)
    copper_at, hole_at = (_moved(f.T if upright else f, *move) for f in (copper_at, hole_at))
    c.fill(ground, (3.0 if look == 0 else 1.0) * noise(p, c.size, 90))
    c.over(copper, copper_at)
    c.over(ground if look else (20, 20, 18), hole_at)


def _moved(field: Field, rows: int, columns: int) -> Field:
    """Shift by whole pixels, repeating the border."""
    size = field.shape[0]
    row, column = (np.clip(np.arange(size) - k, 0, size - 1) for k in (rows, columns))
    return np.ascontiguousarray(field[row[:, None], column])


def _routes(
    s: np.random.Generator, step: float
) -> tuple[list[list[tuple[float, float]]], list[tuple[float, float, float]]]:
    """Traces from left to right with bends of 45 degrees in common, and pads (x, y, radius in trace widths)."""
    routes, pads = [], []
    bends = sorted(float(k) for k in s.uniform(-0.8, 0.8, 2))
    rises = [float(k) * step for k in s.choice((-2, -1, 0, 1, 2), 2)]
    for k in range(int(2 / step) + 4):
        y = -1.3 + k * step
        route = [(-1.3, y)]
        for bend, rise in zip(bends, rises, strict=True):
            route += [(bend, y), (bend + abs(rise), y + rise)]
            y += rise
        route = sorted(route) if bends[0] + abs(rises[0]) <= bends[1] else [route[0], *route[1:3]]
        y = route[-1][1]
        end = float(s.uniform(route[-1][0] + 0.05, max(route[-1][0] + 0.1, 1.0))) if s.random() < 0.55 else 1.3
        route.append((end, y))
        routes.append(route)
        for where in (end, float(s.uniform(-0.95, bends[0]))):
            if s.random() < 0.6:
                level = y if where == end else route[0][1]
                pads.append((where, level, float(s.uniform(1.1, 1.7))))
    shown = [q for q in pads if abs(q[0]) < 0.9 and abs(q[1]) < 0.9]
    return routes, shown or [(0.0, routes[len(routes) // 2][0][1], 1.5)]


def connector(c: Canvas) -> None:
    """Paint a pin connector."""
    s = c.style
    color = c.color(("black", "white", "blue", "green", "beige"))
    backdrop(c)
    u, v = c.placed(0.08, 0.12, 0.06)
    number = c.count("pins", 3, 9)
    body = box(u, v + 0.28, 0.82, 0.26, 0.03)
    gone, bent = pick(c, "missing pin", number), pick(c, "bent pin", number)
    half, length = min(0.3 / number, 0.06), float(s.uniform(0.45, 0.6))
    c.keep_under()
    metal = steel(c, 170, 215)
    lean = c.fault_rng.choice((-1, 1)) * c.fault_rng.uniform(0.25, 0.6)
    for k in range(number):
        if k == gone:
            continue
        w = u - (-0.72 + 1.44 * (k + 0.5) / number)
        if k == bent:
            w = w - lean * np.maximum(v - 0.08, 0)
        pin = box(w, v + 0.06 - length / 2, half, length / 2, half * 0.6)
        c.shadow(pin, 18, 0.04)
        c.part(pin, metal, 30 * (1 - (w / half) ** 2) - 15)
    c.shadow(body, 26)
    c.part(body, color, 2 * noise(c.pose, c.size, 90), 0.04)
    c.part(box(u, v + 0.34, 0.74, 0.09, 0.02), color, -22, 0.03)
    c.inside = body < -0.015


def resistor(c: Canvas) -> None:
    """Paint a resistor."""
    color = c.color(("beige", "blue", "green"))
    backdrop(c)
    u, v = c.placed(0.1, 0.5, 0.08)
    c.keep_under()
    bend = c.fault_rng.choice((-1, 1)) * c.fault_rng.uniform(0.4, 0.8) if c.fault == "bent lead" else 0.0
    lead = box(u, v - bend * np.maximum(u - 0.5, 0), 0.95, 0.025)
    c.shadow(lead, 25, 0.04)
    c.part(lead, rgb(188, 188, 186), 25 * (1 - (v / 0.03) ** 2) * (np.abs(v) < 0.03))
    body = box(u, v, 0.48, 0.17 + 0.0, 0.12)
    body = np.minimum(body, np.hypot((np.abs(u) - 0.36) / 1.0, v) - 0.2)
    shape = 70 * np.sqrt(np.clip(1 - (v / 0.21) ** 2, 0, 1)) - 50
    c.shadow(body, 30)
    c.part(body, color, shape)
    bands = c.count("bands", 3, 5)
    names = ("red", "brown", "black", "yellow", "orange", "white")
    gone = pick(c, "missing band", bands)
    for k in range(bands):
        paint = c.color(names, None)
        if k != gone:
            c.over(
                paint + shape[..., None] * 0.8,
                c.cover(np.maximum(np.abs(u - (-0.36 + 0.72 * k / (bands - 1))) - 0.04, body)),
            )
    c.inside = body < -0.015


def cable_section(c: Canvas) -> None:
    """Paint a cable cross-section."""
    s = c.style
    jacket = c.color(("gray", "white", "black"), "jacket")
    backdrop(c)
    u, v = c.placed(0.08, 0.5, 0.06)
    lay(c, np.hypot(u, v) - 0.8, jacket, 2 * noise(c.pose, c.size, 60), 0.05)
    c.over((215, 214, 208), c.cover(np.hypot(u, v) - 0.66))
    number = c.count("wires", 2, 4)
    names = ("brown", "blue", "green", "yellow", "black", "red")
    order = s.permutation(len(names))[:number]
    colors = [np.asarray(c.color((names[int(k)],), None)) for k in order]
    gone = pick(c, "missing wire", number)
    if c.fault == "wrong wire color":
        colors[int(c.fault_rng.integers(number))] = rgb(225, 120, 190)
    far = 0.34
    for k in range(number):
        angle = 2 * math.pi * k / number - math.pi / 2
        center = far * math.cos(angle), far * math.sin(angle)
        at = c.window(u, v, center, 0.27)
        du, dv = u[at] - center[0], v[at] - center[1]
        if k == gone:
            continue
        c.part(np.hypot(du, dv) - 0.27, colors[k], 0, 0.05, at)
        strands = 12 * np.sin(du * 75) * np.sin(dv * 75)
        c.part(np.hypot(du, dv) - 0.17, rgb(196, 128, 84), strands, 0.03, at)


def battery(c: Canvas) -> None:
    """A round battery cell seen from the side."""
    s = c.style
    left, right = (
        c.color(("black", "blue", "red", "green"), "sleeve"),
        c.color(("yellow", "orange", "white", "gray"), "band"),
    )
    backdrop(c)
    u, v = c.placed(0.08, 0.3, 0.06, tilt=math.pi / 2 * int(s.integers(2)))
    tip = np.where(c.fault == "missing terminal", np.float32(9), box(u - 0.8, v, 0.09, 0.09, 0.02))
    distance = np.minimum(box(u, v, 0.75, 0.27, 0.03), tip)
    shape = 80 * np.sqrt(np.clip(1 - (v / 0.29) ** 2, 0, 1)) - 60
    metal = rgb(190, 190, 192)
    color = np.where((u > 0.72)[..., None], metal, np.where((u > float(s.uniform(0.2, 0.45)))[..., None], right, left))
    lay(c, distance, color, shape, 0.03)
    text = "+" if c.fault != "missing print" else ""
    if text:
        c.over((240, 240, 240), c.cover(np.minimum(box(u + 0.3, v, 0.09, 0.025), box(u + 0.3, v, 0.025, 0.09))))
        c.over((240, 240, 240), c.cover(box(u + 0.55, v, 0.09, 0.022)))


def keypad(c: Canvas) -> None:
    """Paint a keypad."""
    s = c.style
    body = c.color(("black", "gray", "white", "blue"), "body")
    key = c.color(("gray", "white", "black", "beige"), "key color")
    c.fill(body, 2 * noise(c.pose, c.size, 120))
    u, v = c.placed(0.04, 0.03, 0.03)
    rows = int(s.integers(3, 5))
    total = rows * 3
    c.facts["keys"] = str(total)
    gone, blank = pick(c, "missing key", total), pick(c, "missing print", total)
    ink = (245, 245, 245) if float(key.mean()) < 130 else (20, 20, 20)
    row0, column0 = np.unravel_index(int(np.argmin(np.hypot(u, v))), u.shape)
    for k in range(total):
        cu, cv = -0.6 + 0.6 * (k % 3), -0.8 + 1.6 * (k // 3 + 0.5) / rows
        at = c.window(u, v, (cu, cv), 0.36)
        distance = box(u[at] - cu, v[at] - cv, 0.22, 0.58 / rows, 0.06)
        if k == gone:
            c.part(distance, rgb(22, 22, 22), 0, 0.02, at)
            continue
        c.shadow(distance, 20, 0.05, at)
        c.part(distance, key, 0, 0.06, at)
        if k != blank:
            center = (cu + float(c.x[0, column0]), cv + float(c.y[row0, 0]))
            c.over(ink, lettering(c.size, "123456789*0#"[k], center, 0.5 / rows))


PAINTERS: dict[str, Painter] = {
    f.__name__: f
    for f in (
        circuit_board, connector, resistor, cable_section, battery, keypad,
    )
}  # fmt: skip
