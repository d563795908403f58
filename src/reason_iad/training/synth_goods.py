"""Painters of packed goods, food and toys."""

from __future__ import annotations

import math

import numpy as np

from reason_iad.training.synth_canvas import Canvas, blob, box, lettering, noise, rgb, segment
from reason_iad.training.synth_parts import FULL, lay, pick
from reason_iad.training.synth_surfaces import WORDS, Painter, backdrop


def tablet(c: Canvas) -> None:
    """Paint a tablet."""
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
    """Paint a medicine capsule."""
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


def blister(c: Canvas) -> None:
    """Paint a blister pack."""
    s = c.style
    pill = c.color(("white", "pink", "yellow", "blue", "orange"))
    backdrop(c)
    u, v = c.placed(0.05, 0.05, 0.04)
    sheet = box(u, v, 0.88, 0.72, 0.08)
    lay(c, sheet, rgb(176, 180, 184), 5 * np.sin((u + v) * 130) + 4 * noise(c.pose, c.size, 40), 0.03)
    columns, rows = int(s.integers(2, 5)), int(s.integers(2, 4))
    c.facts["tablets"] = str(columns * rows)
    gone, broken = pick(c, "missing tablet", columns * rows), pick(c, "broken tablet", columns * rows)
    radius = min(0.62 / columns, 0.5 / rows) * 0.8
    for k in range(columns * rows):
        center = -0.78 + 1.56 * (k % columns + 0.5) / columns, -0.62 + 1.24 * (k // columns + 0.5) / rows
        at = c.window(u, v, center, radius * 1.12)
        du, dv = u[at] - center[0], v[at] - center[1]
        far = np.hypot(du, dv)
        c.part(far - radius * 1.12, rgb(196, 199, 202), -14, 0.05, at)
        if k == gone:
            continue
        distance = far - radius
        if k == broken:
            edge = du * 0.8 + dv * 0.6 + 0.02 * np.sin(du * 90) - radius * c.fault_rng.uniform(-0.2, 0.3)
            distance = np.maximum(distance, edge)
        c.part(distance, pill, 0, radius * 0.5, at)


def bottle_cap(c: Canvas) -> None:
    """Paint a bottle cap."""
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


def label(c: Canvas) -> None:
    """Paint a labeled container."""
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
    """Paint a nut in its shell."""
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
    """Paint a biscuit with chocolate chips."""
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
    lay(
        c,
        distance,
        base,
        c.relief(crumbs, 0.25) + 7 * noise(p, c.size, 6, 2) - 26 * np.clip(distance + 0.2, 0, 1) * 3,
        0.16,
    )
    dark = np.array([52, 32, 24], np.float32)
    for _ in range(int(s.integers(7, 13))):
        angle, far = p.uniform(0, 2 * math.pi), 0.52 * math.sqrt(p.random())
        radius = p.uniform(0.04, 0.085)
        at = c.window(u, v, (far * math.cos(angle), far * math.sin(angle)), radius * 1.6)
        chip = blob(u[at] - far * math.cos(angle), v[at] - far * math.sin(angle), radius, p, 0.3)
        c.part(np.maximum(chip, distance[at] + 0.03), dark, at=at)


def toy_figure(c: Canvas) -> None:
    """Paint a toy figure."""
    s = c.style
    color = c.color(("green", "blue", "red", "yellow", "pink", "orange"))
    eye = c.color(("black", "white", "red"), "eyes")
    backdrop(c)
    u, v = c.placed(0.08, 0.35, 0.08, tilt=math.pi / 2 * int(s.integers(4)))
    limbs = [
        ((-0.15, -0.1), (-0.58, -0.3)),
        ((0.15, -0.1), (0.58, -0.3)),
        ((-0.12, 0.3), (-0.25, 0.82)),
        ((0.12, 0.3), (0.25, 0.82)),
    ]
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


PAINTERS: dict[str, Painter] = {
    f.__name__: f
    for f in (
        tablet, capsule, blister, bottle_cap, label, nut_kernel, biscuit, toy_figure,
    )
}  # fmt: skip
