"""Painters of parts lying on a background: fasteners, castings, pharmacy, electronics, food, toys."""

from __future__ import annotations

import math

import numpy as np

from reason_iad.training.synth_canvas import Canvas, Field, blob, box, lettering, noise, polygon, segment, sketch
from reason_iad.training.synth_surfaces import WORDS, Painter, backdrop, wood_board

FULL = math.pi


def steel(c: Canvas, low: float = 120, high: float = 180) -> Field:
    """A metal color of the line."""
    return (float(c.style.uniform(low, high)) + c.style.uniform(-8, 8, 3)).astype(np.float32)


def lay(c: Canvas, distance: Field, color: Field, tone: Field | float = 0.0, bevel: float = 0.06) -> None:
    """Put the object with its shadow on the backdrop; its surface is where defects go."""
    c.shadow(distance)
    c.keep_under()
    c.part(distance, color, tone, bevel)
    c.inside = distance < -0.015


def sheen(c: Canvas, u: Field, v: Field, lobes: int = 2, strength: float = 22) -> Field:
    """Anisotropic gloss of turned metal."""
    return strength * np.cos(lobes * np.arctan2(v, u) + c.pose.uniform(0, 6.3)) + 3 * noise(c.pose, c.size, 70)


def pick(c: Canvas, name: str, number: int) -> int:
    """Which of `number` parts the fault `name` hits, or -1."""
    return int(c.fault_rng.integers(number)) if c.fault == name else -1


def screw(c: Canvas) -> None:
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
    s = c.style
    color = steel(c, 120, 200)
    backdrop(c)
    u, v = c.placed(0.12, FULL, 0.1)
    hole, outer = float(s.uniform(0.2, 0.42)), float(s.uniform(0.58, 0.72))
    shift = c.fault_rng.uniform(0.06, 0.14) if c.fault == "off-center hole" else 0.0
    distance = np.maximum(np.hypot(u, v) - outer, hole - np.hypot(u - shift, v))
    lay(c, distance, color, sheen(c, u, v, 2, 30), 0.04)


def bearing(c: Canvas) -> None:
    s = c.style
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
        du, dv = u - 0.52 * math.cos(angle), v - 0.52 * math.sin(angle)
        if k != gone:
            c.part(np.hypot(du, dv) - 0.1, color, 50 - 500 * (du * c.light[0] + dv * c.light[1]) ** 2, 0.1)
    c.over((60, 60, 62), c.cover(np.abs(radius - 0.76) - 0.01))


def gear(c: Canvas) -> None:
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


def tablet(c: Canvas) -> None:
    s = c.style
    color = c.color(("white", "pink", "yellow", "blue", "orange", "green"))
    backdrop(c)
    u, v = c.placed(0.12, 0.6, 0.1)
    wide, high = (0.62, 0.62) if s.random() < 0.6 else (0.74, 0.4)
    distance = np.hypot(u / wide, v / high) * high - high
    c.facts["outline"] = "round" if wide == high else "oval"
    lay(c, distance, color, 2.5 * noise(c.pose, c.size, 110), 0.3)
    dent = np.zeros_like(u)
    if s.random() < 0.6:
        dent = np.maximum(dent, np.exp(-((u / 0.025) ** 2)) * (np.abs(v) < high - 0.08))
    text = str(s.choice(("A7", "P5", "30", "XR", "K2")))
    if c.fault != "missing imprint":
        mark = lettering(c.size, text, (0.0, 0.0), 0.26)
        spot = c.pixels.shape[0] // 2
        shift = int(np.argmin(np.hypot(u, v).ravel()))
        row, column = divmod(shift, c.size)
        dent = np.maximum(dent, np.roll(mark, (row - spot, column - spot + int(0.16 * c.size / 2)), (0, 1)))
    c.pixels += ((c.relief(-dent, 1.2) - 26 * dent) * (distance < -0.05))[..., None]


def capsule(c: Canvas) -> None:
    names = ("red", "white", "yellow", "green", "blue", "orange")
    left, right = c.color(names, "left"), c.color(names, "right")
    backdrop(c)
    u, v = c.placed(0.12, 0.5, 0.08)
    if c.fault == "wrong color half":
        right = 255 - right
    length = 0.52 + (0.12 if c.fault == "open capsule" else 0.0)
    distance = np.hypot(np.maximum(np.abs(u) - length, 0), v) - 0.26
    shape = 90 * np.sqrt(np.clip(1 - (v / 0.27) ** 2, 0, 1)) - 62
    lay(c, distance, np.where((u < 0.02)[..., None], left, right), shape, 0.05)
    c.pixels -= (38 * np.exp(-(((u - 0.02) / 0.02) ** 2)) * c.inside)[..., None]
    if c.fault == "open capsule":
        c.over((238, 232, 220), c.cover(box(u - 0.02, v, 0.06, 0.24)))
    glare = np.exp(-((v + 0.12) ** 2) * 600) * (np.abs(u) < 0.5)
    c.pixels += (60 * glare)[..., None]


def bottle_cap(c: Canvas) -> None:
    s = c.style
    color = c.color(("red", "blue", "green", "yellow", "white", "black", "orange"))
    backdrop(c)
    u, v = c.placed(0.1, 0.25, 0.08)
    ribs = int(s.integers(30, 60))
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    distance = radius - 0.7 - 0.012 * np.sin(angle * ribs)
    lay(c, distance, color, np.where(radius > 0.58, 22 * np.sin(angle * ribs), 0), 0.14)
    ring = np.clip((0.56 - radius) * 30, -1, 1)
    c.pixels += (c.relief(ring, 1.5) * (radius < 0.64))[..., None]
    text = str(s.choice(("ALPA", "FRESH", "H2O", "SODA", "OLEA")))
    ink = (235, 235, 235) if float(color.mean()) < 130 else (30, 30, 60)
    mark = lettering(c.size, text, (0.0, 0.0), 0.26)
    row, column = divmod(int(np.argmin(radius)), c.size)
    if c.fault != "missing print":
        c.over(ink, np.roll(mark, (row - c.size // 2, column - c.size // 2), (0, 1)) * (radius < 0.52))


def circuit_board(c: Canvas) -> None:
    s, p = c.style, c.pose
    look = int(s.integers(3))
    ground, copper = (((24, 84, 52), (98, 150, 88)), ((246, 246, 246), (12, 12, 12)), ((12, 12, 12), (246, 246, 246)))[look]
    c.facts["look"] = ("green with light traces", "white with black traces", "black with white traces")[look]
    step = float(s.uniform(0.22, 0.34))
    dx, dy = p.uniform(-0.04, 0.04, 2)
    wide = float(s.uniform(6, 11)) * c.size / 320
    strokes: list[tuple[list[tuple[float, float]], float]] = []
    pads: list[tuple[float, float]] = []
    lanes = int(2 / step) + 1
    for k in range(lanes):
        y, x, points = -1.05 + k * step, -1.1, []
        bend = s.uniform(-0.8, 0.8)
        up = float(s.choice((-1, 0, 1))) * step if k % 3 == 0 else 0.0
        points = [(x + dx, y + dy), (bend + dx, y + dy), (bend + abs(up) + dx, y + up + dy)]
        stop = s.uniform(-0.2, 0.9) if s.random() < 0.6 else 1.2
        points.append((max(stop, bend + abs(up) + 0.05) + dx, y + up + dy))
        strokes.append((points, wide))
        pads.append(points[-1])
        if s.random() < 0.5:
            pads.append((float(s.uniform(-0.9, bend)) + dx, y + dy))
    k, where = int(c.fault_rng.integers(1, lanes - 1)), c.fault_rng.uniform(-0.8, 0.3)
    base = strokes[k][0]
    start = min(where, base[1][0] - 0.1)
    if c.fault == "bridged traces":
        strokes.append(([(start, base[0][1]), (start + c.fault_rng.uniform(-0.04, 0.04), base[0][1] + step)], wide * c.fault_rng.uniform(0.4, 1)))
    if c.fault == "spurious copper":
        strokes.append(([(start, base[0][1] + step * 0.4), (start + 0.05, base[0][1] + step * 0.55)], wide * c.fault_rng.uniform(0.8, 1.4)))
    if c.fault == "spur":
        strokes.append(([(start, base[0][1]), (start + 0.02, base[0][1] + step * 0.5)], wide * 0.5))
    alpha = sketch(c.size, strokes)
    radius = wide * 1.15 * 2 / c.size
    ring = np.full_like(alpha, 9)
    pads = [q for q in pads if abs(q[0]) < 1 and abs(q[1]) < 1]
    gone = pick(c, "missing hole", len(pads))
    for n, q in enumerate(pads):
        distance = np.hypot(c.x - np.float32(q[0]), c.y - np.float32(q[1]))
        alpha = np.maximum(alpha, c.cover(distance - radius))
        if n != gone:
            ring = np.minimum(ring, distance - radius * 0.45)
    if c.fault in ("open trace", "mouse bite"):
        across = wide * (1.0 if c.fault == "open trace" else 0.45) / c.size
        side = 0.0 if c.fault == "open trace" else wide / c.size
        cut = box(c.x - np.float32(start), c.y - np.float32(base[0][1] + side), c.fault_rng.uniform(0.02, 0.05), across * 1.3, 0.01)
        alpha = alpha * (1 - c.cover(cut))
    c.fill(ground, (3.0 if look == 0 else 1.0) * noise(p, c.size, 90))
    c.over(copper, alpha)
    c.over(ground if look else (20, 20, 18), c.cover(ring))


def connector(c: Canvas) -> None:
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


def screw_block(c: Canvas) -> None:
    s = c.style
    number = (2, 4, 6)[int(s.integers(3))]
    c.facts["screws"] = str(number)
    style = int(s.integers(3))
    if style == 0:
        wood_board(c)
        c.under, c.inside = None, np.ones_like(c.inside)
    else:
        c.fill(c.color(("gray", "white", "blue", "black"), None), 3 * noise(c.pose, c.size, 100) + 3 * noise(c.pose, c.size, 3))
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
            c.part(np.hypot(du, dv) - radius * 0.5, np.float32([30, 24, 20]), 0, 0.03)
            continue
        if k == loose:
            du, dv = du - c.fault_rng.choice((-1, 1)) * c.fault_rng.uniform(0.1, 0.2), dv + c.fault_rng.uniform(-0.12, 0.12)
        head = np.hypot(du, dv) - radius
        c.shadow(head, 45, 0.06)
        c.part(head, metal, gloss, 0.05)
        a, b = math.cos(slot[k]), math.sin(slot[k])
        w, t = du * a + dv * b, dv * a - du * b
        cross = np.minimum(box(w, t, radius * 0.6, radius * 0.13), box(w, t, radius * 0.13, radius * 0.6))
        c.part(cross, metal * 0.35)


def label(c: Canvas) -> None:
    s = c.style
    shell = c.color(("green", "brown", "blue", "white", "red", "black"), "container")
    c.fill(shell, 40 * np.cos(c.x * 1.5) - 25 + 2 * noise(c.pose, c.size, 50))
    c.keep_under()
    turn = c.fault_rng.choice((-1, 1)) * c.fault_rng.uniform(0.12, 0.3) if c.fault == "tilted label" else 0.0
    u, v = c.placed(0.05, 0.02, 0.03, tilt=0.0)
    u, v = u * math.cos(turn) + v * math.sin(turn), v * math.cos(turn) - u * math.sin(turn)
    paper = c.color(("white", "beige", "yellow"), "label")
    ink = c.color(("black", "blue", "red", "green"), "ink")
    flat = Canvas(c.size, np.random.default_rng(0), np.random.default_rng(0))
    flat.fill(paper)
    words = [str(WORDS[int(k)]) for k in s.integers(0, len(WORDS), 3)]
    gone = pick(c, "missing print", 3)
    for k, word in enumerate(words):
        if k != gone:
            flat.over(ink, lettering(c.size, word, (0.0, -0.42 + 0.27 * k), 0.2 - 0.03 * k))
    widths = s.uniform(0.3, 1, 24)
    edges = np.cumsum(widths) / widths.sum() - 0.5
    bars = np.searchsorted(edges, c.x).astype(np.float32) % 2 * (np.abs(c.x) < 0.45) * (np.abs(c.y - 0.45) < 0.14)
    if c.fault != "missing barcode":
        flat.over((20, 20, 20), bars)
    column = np.clip(((u + 1) * c.size / 2).astype(np.int32), 0, c.size - 1)
    row = np.clip(((v + 1) * c.size / 2).astype(np.int32), 0, c.size - 1)
    distance = box(u, v, 0.74, 0.72, 0.04)
    c.part(distance, flat.pixels[row, column], 16 * np.cos(c.x * 1.5) - 12, 0.02)
    c.inside = distance < -0.02


def nut_kernel(c: Canvas) -> None:
    s, p = c.style, c.pose
    base = c.color(("brown", "beige"))
    backdrop(c)
    u, v = c.placed(0.1, FULL, 0.12)
    squeeze = 1 + 0.25 * u
    distance = np.hypot(u * 0.95, v * squeeze * float(s.uniform(1.05, 1.3))) - 0.62 + 0.02 * noise(p, c.size, 4)
    angle = np.arctan2(v, u + 0.7)
    fibers = np.sin(angle * float(s.uniform(28, 50)) + noise(p, c.size, 4)) * 6
    lay(c, distance, base, fibers + 6 * noise(p, c.size, (12, 12), 2), 0.5)
    cap = np.hypot(u - 0.56, v) - 0.24
    if s.random() < 0.6:
        c.pixels += (22 * c.cover(cap) * c.inside)[..., None]


def biscuit(c: Canvas) -> None:
    s, p = c.style, c.pose
    base = np.array([(206, 158, 94), (188, 136, 76), (120, 76, 44)][int(s.integers(3))], np.float32)
    backdrop(c)
    u, v = c.placed(0.1, FULL, 0.08)
    distance = blob(u, v, 0.66, p, 0.09)
    if c.fault == "broken":
        r = c.fault_rng
        turn, far = r.uniform(0, 2 * math.pi), r.uniform(0.0, 0.4)
        across, along = u * math.cos(turn) + v * math.sin(turn), v * math.cos(turn) - u * math.sin(turn)
        edge = across - far + 0.05 * noise(r, c.size, (5, 5), 3) + 0.04 * np.sin(along * r.uniform(2, 6))
        gone = edge if r.random() < 0.5 else r.uniform(0.03, 0.08) - np.abs(edge)  # a piece, or a gap between two
        distance = np.maximum(distance, gone)
    crumbs = noise(p, c.size, 40, 3)
    lay(c, distance, base, c.relief(crumbs, 0.25) + 7 * noise(p, c.size, 6, 2) - 26 * np.clip(distance + 0.2, 0, 1) * 3, 0.16)
    dark = np.array([52, 32, 24], np.float32)
    for _ in range(int(s.integers(7, 13))):
        angle, far = p.uniform(0, 2 * math.pi), 0.52 * math.sqrt(p.random())
        chip = blob(u - far * math.cos(angle), v - far * math.sin(angle), p.uniform(0.04, 0.085), p, 0.3)
        c.over(dark + np.float32(0), c.cover(np.maximum(chip, distance + 0.03)))


def toy_figure(c: Canvas) -> None:
    s = c.style
    color = c.color(("green", "blue", "red", "yellow", "pink", "orange"))
    eye = c.color(("black", "white", "red"), "eyes")
    backdrop(c)
    u, v = c.placed(0.08, 0.35, 0.08, tilt=math.pi / 2 * int(s.integers(4)))
    limbs = [((-0.15, -0.1), (-0.58, -0.3)), ((0.15, -0.1), (0.58, -0.3)), ((-0.12, 0.3), (-0.25, 0.82)), ((0.12, 0.3), (0.25, 0.82))]
    gone, bent = pick(c, "missing limb", 4), pick(c, "misplaced limb", 4)
    lift = s.uniform(-0.3, 0.3, 4)
    thick = float(s.uniform(0.08, 0.12))
    distance = np.hypot(u / 0.8, v - 0.1) * 0.9 - 0.3
    for k, (a, b) in enumerate(limbs):
        end = (b[0], b[1] + float(lift[k]) * (k < 2))
        if k == bent:
            end = (a[0] + (end[1] - a[1]) * 0.9, a[1] - (end[0] - a[0]) * 0.9)
        if k != gone:
            distance = np.minimum(distance, segment(u, v, a, end) - thick)
            distance = np.minimum(distance, np.hypot(u - end[0], v - end[1]) - thick * 1.25)
    distance = np.minimum(distance, np.hypot(u, (v + 0.5) * 1.15) - 0.3)
    lay(c, distance, color, 1.5 * noise(c.pose, c.size, 60), 0.14)
    gone_eye = pick(c, "missing eye", 2)
    for k, side in enumerate((-0.11, 0.11)):
        if k != gone_eye:
            c.part(np.hypot(u - side, v + 0.52) - 0.06, eye, 0, 0.03)


def o_ring(c: Canvas) -> None:
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


def cable_section(c: Canvas) -> None:
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
        colors[int(c.fault_rng.integers(number))] = np.float32([225, 120, 190])
    far = 0.34
    for k in range(number):
        angle = 2 * math.pi * k / number - math.pi / 2
        du, dv = u - far * math.cos(angle), v - far * math.sin(angle)
        if k == gone:
            continue
        c.part(np.hypot(du, dv) - 0.27, colors[k], 0, 0.05)
        strands = 12 * np.sin(du * 75) * np.sin(dv * 75)
        c.part(np.hypot(du, dv) - 0.17, np.float32([196, 128, 84]), strands, 0.03)


def button(c: Canvas) -> None:
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
    c.pixels += (c.relief(np.clip((radius - outer + 0.14) * 20, -1, 1), 1.6) * (radius < outer - 0.06) * (holes > 0.02))[..., None]


def impeller(c: Canvas) -> None:
    s = c.style
    level = float(s.uniform(130, 195))
    backdrop(c)
    u, v = c.placed(0.06, FULL, 0.05)
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    tone = sheen(c, u, v, 2, 16) + 4 * np.sin(radius * 190)
    lay(c, radius - 0.86, np.float32([level] * 3), tone, 0.05)
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
    c.part(np.abs(radius - 0.25) - 0.07, np.float32([level] * 3), tone, 0.05)
    c.over((150, 150, 152), c.cover(radius - 0.17) * np.float32(0.6))
    c.inside = (radius < 0.83) & (radius > bore + 0.03)


def resistor(c: Canvas) -> None:
    s = c.style
    color = c.color(("beige", "blue", "green"))
    backdrop(c)
    u, v = c.placed(0.1, 0.5, 0.08)
    c.keep_under()
    bend = c.fault_rng.choice((-1, 1)) * c.fault_rng.uniform(0.4, 0.8) if c.fault == "bent lead" else 0.0
    lead = box(u, v - bend * np.maximum(u - 0.5, 0), 0.95, 0.025)
    c.shadow(lead, 25, 0.04)
    c.part(lead, np.float32([188, 188, 186]), 25 * (1 - (v / 0.03) ** 2) * (np.abs(v) < 0.03))
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
            c.over(paint + shape[..., None] * 0.8, c.cover(np.maximum(np.abs(u - (-0.36 + 0.72 * k / (bands - 1))) - 0.04, body)))
    c.inside = body < -0.015


def blister(c: Canvas) -> None:
    s = c.style
    pill = c.color(("white", "pink", "yellow", "blue", "orange"))
    backdrop(c)
    u, v = c.placed(0.05, 0.05, 0.04)
    sheet = box(u, v, 0.88, 0.72, 0.08)
    lay(c, sheet, np.float32([176, 180, 184]), 5 * np.sin((u + v) * 130) + 4 * noise(c.pose, c.size, 40), 0.03)
    columns, rows = int(s.integers(2, 5)), int(s.integers(2, 4))
    c.facts["tablets"] = str(columns * rows)
    gone, broken = pick(c, "missing tablet", columns * rows), pick(c, "broken tablet", columns * rows)
    radius = min(0.62 / columns, 0.5 / rows) * 0.8
    for k in range(columns * rows):
        du = u - (-0.78 + 1.56 * (k % columns + 0.5) / columns)
        dv = v - (-0.62 + 1.24 * (k // columns + 0.5) / rows)
        far = np.hypot(du, dv)
        c.part(far - radius * 1.12, np.float32([196, 199, 202]), -14, 0.05)
        if k == gone:
            continue
        distance = far - radius
        if k == broken:
            distance = np.maximum(distance, du * 0.8 + dv * 0.6 + 0.02 * np.sin(du * 90) - radius * c.fault_rng.uniform(-0.2, 0.3))
        c.part(distance, pill, 0, radius * 0.5)


def keypad(c: Canvas) -> None:
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
        distance = box(u - cu, v - cv, 0.22, 0.58 / rows, 0.06)
        if k == gone:
            c.part(distance, np.float32([22, 22, 22]), 0, 0.02)
            continue
        c.shadow(distance, 20, 0.05)
        c.part(distance, key, 0, 0.06)
        if k != blank:
            center = (cu + float(c.x[0, column0]), cv + float(c.y[row0, 0]))
            c.over(ink, lettering(c.size, "123456789*0#"[k], center, 0.5 / rows))


def battery(c: Canvas) -> None:
    """A round battery cell seen from the side."""
    s = c.style
    left, right = c.color(("black", "blue", "red", "green"), "sleeve"), c.color(("yellow", "orange", "white", "gray"), "band")
    backdrop(c)
    u, v = c.placed(0.08, 0.3, 0.06, tilt=math.pi / 2 * int(s.integers(2)))
    tip = np.where(c.fault == "missing terminal", np.float32(9), box(u - 0.8, v, 0.09, 0.09, 0.02))
    distance = np.minimum(box(u, v, 0.75, 0.27, 0.03), tip)
    shape = 80 * np.sqrt(np.clip(1 - (v / 0.29) ** 2, 0, 1)) - 60
    metal = np.float32([190, 190, 192])
    color = np.where((u > 0.72)[..., None], metal, np.where((u > float(s.uniform(0.2, 0.45)))[..., None], right, left))
    lay(c, distance, color, shape, 0.03)
    text = "+" if c.fault != "missing print" else ""
    if text:
        c.over((240, 240, 240), c.cover(np.minimum(box(u + 0.3, v, 0.09, 0.025), box(u + 0.3, v, 0.025, 0.09))))
        c.over((240, 240, 240), c.cover(box(u + 0.55, v, 0.09, 0.022)))


PAINTERS: dict[str, Painter] = {
    f.__name__: f
    for f in (
        screw, hex_nut, washer, bearing, gear, tablet, capsule, bottle_cap, circuit_board, connector, screw_block,
        label, nut_kernel, biscuit, toy_figure, o_ring, cable_section, button, impeller, resistor, blister, keypad,
        battery,
    )
}  # fmt: skip
