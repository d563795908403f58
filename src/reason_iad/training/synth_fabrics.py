"""Painters of soft and woven sheets: leather, fabrics, carpet, foam, rubber, mesh, cardboard."""

from __future__ import annotations

import math

import numpy as np

from reason_iad.training.synth_canvas import Canvas, noise
from reason_iad.training.synth_surfaces import Painter, maybe_framed


def leather(c: Canvas) -> None:
    """Paint a leather."""
    s, p = c.style, c.pose
    color = c.color(("brown", "black", "beige", "red", "gray"))
    cells = float(s.uniform(22, 48))
    creases = np.abs(noise(p, c.size, cells)) * (0.6 + np.abs(noise(p, c.size, cells * 1.3)))
    height = np.minimum(creases, 0.4)
    c.fill(color, c.relief(height, float(s.uniform(0.5, 1.0))) + 50 * (height - 0.25) + 4 * noise(p, c.size, 3, 2))


def twill(c: Canvas) -> None:
    """Paint a twill fabric."""
    s = c.style
    color = c.color(("blue", "gray", "brown", "beige", "green", "black"))
    count = float(s.uniform(26, 44))
    u, v = c.placed(0.1, 0.05, 0.04)
    drift = 0.006 * noise(c.pose, c.size, 6)
    diagonal = np.sin((u + v + drift) * math.pi * count / 2)
    threads = np.sin((u + drift) * math.pi * count) * 0.5
    c.fill(color, 17 * diagonal + 10 * threads + 4 * noise(c.pose, c.size, 90) + 3 * noise(c.pose, c.size, 4))


def plain_weave(c: Canvas) -> None:
    """Paint a plain woven fabric."""
    s = c.style
    color = c.color(("white", "beige", "blue", "red", "gray"))
    count = float(s.uniform(22, 40))
    u, v = c.placed(0.1, 0.06, 0.04)
    drift = 0.007 * noise(c.pose, c.size, 6)
    a, b = np.sin((u + drift) * math.pi * count), np.sin((v + drift) * math.pi * count)
    over = a * b
    c.fill(
        color,
        16 * np.abs(a) * (over > 0)
        + 10 * np.abs(b) * (over <= 0)
        - 22 * (np.abs(over) < 0.12)
        + 4 * noise(c.pose, c.size, 80),
    )


def knit(c: Canvas) -> None:
    """Paint a knitted fabric."""
    s = c.style
    color = c.color(("red", "white", "gray", "green", "blue", "pink"))
    count = float(s.uniform(9, 15))
    u, v = c.placed(0.1, 0.04, 0.04)
    drift = 0.012 * noise(c.pose, c.size, 5)
    column = np.abs(((u + drift) * count / 2) % 1 - 0.5) * 2
    row = (v + drift) * count * 0.75 - column * 0.8
    loop = np.abs(row % 1 - 0.5) * 2
    c.fill(
        color,
        -46 * (1 - np.clip(loop * 2.2, 0, 1))
        - 40 * np.clip(0.22 - column, 0, 1) * 4
        + 16 * (column - 0.5)
        + 5 * noise(c.pose, c.size, 100),
    )


def carpet(c: Canvas) -> None:
    """Paint a carpet."""
    s, p = c.style, c.pose
    color = c.color(("gray", "blue", "green", "red", "beige", "brown"))
    tufts = noise(p, c.size, float(s.uniform(60, 110)), 2)
    c.fill(color, 16 * tufts + c.relief(tufts, 0.1) + 4 * noise(p, c.size, 4))


def foam(c: Canvas) -> None:
    """Paint a foam pad."""
    s, p = c.style, c.pose
    color = c.color(("yellow", "pink", "gray", "blue", "white"))
    pores = noise(p, c.size, float(s.uniform(35, 60)))
    c.fill(color, -34 * np.clip(pores - 0.5, 0, 1) + 5 * noise(p, c.size, 90) + c.relief(pores, 0.1))


def rubber_mat(c: Canvas) -> None:
    """Paint a rubber mat."""
    s, p = c.style, c.pose
    color = c.color(("black", "gray", "red", "green"))
    u, v = c.placed(0.08, 0.03, 0.03)
    count = float(s.uniform(9, 16))
    if s.random() < 0.5:
        height = np.clip(np.sin(u * math.pi * count) * 2, -1, 1)
        c.facts["relief"] = "ribs"
    else:
        d = np.hypot((u * count / 2) % 1 - 0.5, (v * count / 2) % 1 - 0.5)
        height = np.clip((0.3 - d) * 6, -1, 1)
        c.facts["relief"] = "studs"
    c.fill(
        color,
        c.relief(height.astype(np.float32), 1.6) + 7 * height + 3 * noise(p, c.size, 120) + 3 * noise(p, c.size, 4),
    )


def wire_mesh(c: Canvas) -> None:
    """Paint a wire mesh."""
    s, p = c.style, c.pose
    dark = s.random() < 0.5
    c.fill((28, 28, 30) if dark else (205, 206, 203), 3 * noise(p, c.size, 4))
    count = float(s.uniform(9, 16))
    u, v = c.placed(0.08, 0.05, 0.03)
    width = float(s.uniform(0.1, 0.17))
    level = float(s.uniform(130, 190)) if dark else float(s.uniform(50, 95))
    gap = None
    if c.fault == "broken wire":
        gu, gv = c.fault_rng.uniform(-0.6, 0.6, 2)
        k = round(gu * count / 2 - 0.5) + 0.5
        gap = (np.abs(u - k * 2 / count) < 1.0 / count) & (np.abs(v - gv) < c.fault_rng.uniform(0.5, 1.6) / count)
    for k, (a, b) in enumerate(((v, u), (u, v))):
        cell = np.abs((a * count / 2) % 1 - 0.5)
        wave = np.sin(b * math.pi * count / 2 + math.pi * np.floor(a * count / 2)) * 16
        alpha = np.clip((width - cell) * 14, 0, 1)
        if gap is not None and k == 1:
            alpha = alpha * ~gap
        image = (level + wave + 40 * (width - cell) / width)[..., None] * np.ones(3, np.float32)
        c.over(image.astype(np.float32), alpha)


def cardboard(c: Canvas) -> None:
    """Paint a corrugated cardboard."""
    s, p = c.style, c.pose
    base = np.array([186, 150, 106]) + s.uniform(-16, 16, 3)
    u, _v = c.placed(0.1, 0.03, 0.05, tilt=math.pi / 2 * int(s.integers(2)))
    c.fill(
        base,
        6 * np.sin(u * math.pi * float(s.uniform(16, 30)))
        + 5 * noise(p, c.size, (90, 30))
        + 4 * noise(p, c.size, 4, 2),
    )
    maybe_framed(c, 0.01)


PAINTERS: dict[str, Painter] = {
    f.__name__: f for f in (leather, twill, plain_weave, knit, carpet, foam, rubber_mat, wire_mesh, cardboard)
}
