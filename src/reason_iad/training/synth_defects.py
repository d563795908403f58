"""Defect processes: each changes a canvas where its object is. The mask is what changed, found by the caller.

A process takes the canvas, a generator and a strength in (0, 1], faint to strong, and returns nothing. It places
itself inside `Canvas.inside`, or at its edge. Coordinates and colors as in `synth_canvas`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from reason_iad.training.synth_canvas import Canvas, noise, rgb, segment, sketch
from reason_iad.training.synth_marks import edge_spot, ink, lay, mean_color, shape, spot, wander

Process = Callable[[Canvas, np.random.Generator, float], None]


def scratch(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a thin, nearly straight line that differs in brightness."""
    at = spot(c, rng)
    color = ink(c, rng, at, strength, 0.6)
    heading = rng.uniform(0, 2 * math.pi)
    strokes = []
    for _ in range(1 if rng.random() < 0.7 else int(rng.integers(2, 4))):
        start = at[0] + rng.normal(0, 0.03), at[1] + rng.normal(0, 0.03)
        strokes.append(
            (wander(rng, start, rng.uniform(0.2, 0.9), 0.06, 8, heading + rng.normal(0, 0.05)), rng.uniform(1, 2.6))
        )
    alpha = sketch(c.size, strokes)
    lay(c, color, alpha * np.float32(0.5 + 0.5 * strength))
    c.pixels[1:] -= (12 * strength * alpha[:-1] * c.inside[1:] * (1 - alpha[1:]))[..., None]


def crack(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a dark, jagged, often branching line."""
    at = spot(c, rng)
    heading = rng.uniform(0, 2 * math.pi)
    length = rng.uniform(0.3, 1.1)
    main = wander(rng, at, length, 0.5, 14, heading)
    strokes = [(main[:8], rng.uniform(1.6, 3.2)), (main[7:], rng.uniform(1, 1.8))]
    for _ in range(int(rng.integers(0, 4))):
        k = int(rng.integers(2, 12))
        strokes.append(
            (wander(rng, main[k], length * rng.uniform(0.15, 0.4), 0.5, 6, heading + rng.choice((-0.9, 0.9))), 1.2)
        )
    alpha = sketch(c.size, strokes)
    around = mean_color(c, at)
    dark = around * (0.15 if strength > 0.6 else 0.4) if float(around.mean()) > 55 else around + 70
    lay(c, dark, alpha * np.float32(0.55 + 0.45 * strength))


def dent(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a smooth hollow with a bright and a dark side."""
    radius = rng.uniform(0.06, 0.2)
    at = spot(c, rng, radius)
    d = shape(c, rng, at, radius, 0.15, 1.6)
    bowl = np.clip(-d / radius, -0.6, 1)
    bump = -np.exp(-((1 - bowl) ** 2) * 1.6)
    lit = c.relief(bump.astype(np.float32), radius * (50 + 70 * strength))
    c.pixels += (np.where(d < radius * 0.4, lit, 0) * c.inside)[..., None]
    c.pixels -= (np.float32(10 + 14 * strength) * np.clip(bowl, 0, 1) * c.inside)[..., None]


def pit(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a small dark round pore."""
    for _ in range(1 if rng.random() < 0.6 else int(rng.integers(2, 5))):
        radius = rng.uniform(0.02, 0.055)
        d = shape(c, rng, spot(c, rng, radius + 0.02), radius, 0.4, 1.8)
        c.pixels += (c.relief(-np.clip(-d * 20, -0.8, 1), 0.9 + strength) * (np.abs(d) < 0.03) * c.inside)[..., None]
        around = c.pixels * np.float32(0.5 - 0.35 * strength)
        lay(c, np.where(c.pixels.mean(2, keepdims=True) < 50, c.pixels + 60, around), c.cover(d + 0.006))


def stain(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw an irregular tinted patch."""
    radius = rng.uniform(0.07, 0.26)
    d = shape(c, rng, spot(c, rng, 0.08), radius, 0.6, 2.2)
    soft = np.clip(0.5 - d / rng.uniform(0.02, 0.12), 0, 1)
    rim = 0.35 * np.exp(-((d / 0.02) ** 2)) if rng.random() < 0.5 else 0.0
    tint = np.array(
        [(0.75, 0.62, 0.4), (0.55, 0.55, 0.58), (0.6, 0.5, 0.42), (0.7, 0.75, 0.55)][int(rng.integers(4))], np.float32
    )
    alpha = np.clip((soft + rim) * np.float32(0.4 + 0.6 * strength), 0, 1)
    dark = c.pixels.mean() < 60
    lay(c, c.pixels + rgb(70, 62, 40) if dark else c.pixels * tint, alpha)


def discoloration(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a wide area of changed color with soft borders."""
    radius = rng.uniform(0.2, 0.5)
    d = shape(c, rng, spot(c, rng, 0.05), radius, 0.35, 2.0)
    soft = np.clip(0.5 - d / radius, 0, 1)
    shift = rng.normal(0, 1, 3)
    shift = shift / max(float(np.abs(shift).max()), 1e-3) * (28 + 42 * strength)
    if abs(float(shift.mean())) < 12:
        shift = shift + rng.choice((-16.0, 16.0))
    lay(c, np.clip(c.pixels + shift.astype(np.float32), 0, 255), soft)


def hole(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw an opening through which the dark inside or the background shows."""
    radius = rng.uniform(0.04, 0.12) * (0.6 + 0.4 * strength)
    d = shape(c, rng, spot(c, rng, radius + 0.03), radius, 0.5, 1.7)
    behind = c.under if c.under is not None and rng.random() < 0.4 else np.full_like(c.pixels, rng.uniform(8, 40))
    if c.pixels[d < 0].size and c.pixels[d < 0].mean() < 55:
        behind = np.full_like(c.pixels, rng.uniform(150, 220))
    lay(c, np.clip(c.pixels + 35, 0, 255), c.cover(d - 0.02) * np.float32(0.5))
    lay(c, behind, c.cover(d))


def contamination(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a patch or drop of foreign color."""
    at = spot(c, rng, 0.06)
    color = np.array(
        [(180, 30, 36), (40, 60, 150), (30, 30, 30), (235, 235, 235), (60, 120, 50), (196, 160, 60)][
            int(rng.integers(6))
        ],
        np.float32,
    )
    if abs(float((color - mean_color(c, at)).mean())) < 30:
        color = ink(c, rng, at, 1.0)
    for _ in range(int(rng.integers(1, 4))):
        radius = rng.uniform(0.03, 0.11)
        d = shape(c, rng, at, radius, 0.7, 2.5)
        glossy = c.relief(np.clip(-d / radius, 0, 1).astype(np.float32), 50 * radius)
        lay(c, color + glossy[..., None], c.cover(d) * np.float32(0.55 + 0.45 * strength))
        at = at[0] + rng.normal(0, 0.1), at[1] + rng.normal(0, 0.1)


def fiber(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """A hair or loose thread lying on the object."""
    at = spot(c, rng)
    path = wander(rng, at, rng.uniform(0.4, 1.1), 0.35, 22, rng.uniform(0, 6.3))
    alpha = sketch(c.size, [(path, rng.uniform(1.3, 3.0))])
    color = ink(c, rng, at, 0.3 + 0.7 * strength, 0.6)
    c.pixels -= (18 * np.roll(alpha, (2, 2), (0, 1)) * c.inside)[..., None]
    lay(c, color, alpha)


def chip(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a piece missing at the edge."""
    at, inward = edge_spot(c, rng)
    radius = rng.uniform(0.06, 0.16) * (0.6 + 0.5 * strength)
    d = shape(c, rng, (at[0] + inward[0] * radius * 0.2, at[1] + inward[1] * radius * 0.2), radius, 0.5, 1.6)
    behind = c.under if c.under is not None else np.full_like(c.pixels, 20)
    reach = ndimage.binary_dilation(c.inside[::2, ::2], iterations=6)
    near = np.kron(reach, np.ones((2, 2), bool))[: c.size, : c.size]
    rim = np.clip(mean_color(c, (at[0] + inward[0] * 0.15, at[1] + inward[1] * 0.15)) * rng.choice((0.7, 1.2)), 0, 255)
    lay(c, rim, c.cover(d - 0.03) * np.float32(0.8))
    lay(c, behind * np.float32(0.9), c.cover(d) * near, everywhere=True)


def burr(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw ragged extra material beyond the edge."""
    at, inward = edge_spot(c, rng)
    out = math.atan2(-inward[1], -inward[0])
    size = rng.uniform(0.08, 0.2) * (0.6 + 0.4 * strength)
    color = mean_color(c, (at[0] + inward[0] * 0.08, at[1] + inward[1] * 0.08))
    strokes = []
    for k in range(int(rng.integers(2, 6))):
        start = at[0] + inward[0] * 0.05 - inward[1] * 0.03 * k, at[1] + inward[1] * 0.05 + inward[0] * 0.03 * k
        strokes.append(
            (wander(rng, start, size * rng.uniform(0.5, 1) + 0.07, 0.5, 5, out + rng.normal(0, 0.3)), rng.uniform(2, 6))
        )
    alpha = sketch(c.size, strokes)
    behind = mean_color(c, (at[0] - inward[0] * 0.12, at[1] - inward[1] * 0.12))
    if abs(float((behind - color).mean())) < 25:
        color = color + (50 if color.mean() < 130 else -50)
    lay(c, np.clip(color + c.relief(alpha, 0.3)[..., None], 0, 255), alpha, everywhere=True)


def wear(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a rubbed area full of fine parallel marks."""
    radius = rng.uniform(0.14, 0.38)
    d = shape(c, rng, spot(c, rng, 0.1), radius, 0.4, 2.5)
    soft = np.clip(0.5 - d / radius * 1.5, 0, 1)
    turn = rng.random() < 0.5
    rub = noise(rng, c.size, (110, 9) if turn else (9, 110))
    rough = np.clip(rub * 0.5 + 0.7, 0, 1.3)
    sign = 1 if float(c.pixels.mean()) < 150 else -1
    lay(c, np.clip(c.pixels + sign * (30 + 60 * strength) * rough[..., None], 0, 255), soft)


def cut(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a straight slit, wider in the middle."""
    at, heading = spot(c, rng, 0.1), rng.uniform(0, math.pi)
    half = rng.uniform(0.1, 0.3)
    a = at[0] - math.cos(heading) * half, at[1] - math.sin(heading) * half
    b = at[0] + math.cos(heading) * half, at[1] + math.sin(heading) * half
    along = ((c.x - at[0]) * math.cos(heading) + (c.y - at[1]) * math.sin(heading)) / half
    width = rng.uniform(0.008, 0.028) * (0.5 + strength) * np.clip(1 - along * along, 0, 1)
    d = segment(c.x, c.y, a, b)
    lay(c, np.clip(c.pixels * 1.25 + 15, 0, 255), c.cover(d - width - 0.014) * np.float32(0.7))
    dark = float(mean_color(c, at).mean()) < 50
    lay(c, (200, 198, 192) if dark else (18, 16, 15), c.cover(d - width))


def crease(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a long fold with a bright and a dark side."""
    at, heading = spot(c, rng, 0.1), rng.uniform(0, math.pi)
    half = rng.uniform(0.3, 0.9)
    u = (c.x - at[0]) * math.cos(heading) + (c.y - at[1]) * math.sin(heading)
    v = (c.y - at[1]) * math.cos(heading) - (c.x - at[0]) * math.sin(heading)
    v = v + 0.02 * np.sin(u * 9)
    width = rng.uniform(0.02, 0.05)
    fold = (v / width) * np.exp(-((v / width) ** 2)) * np.clip(1.2 - np.abs(u) / half, 0, 1)
    c.pixels += (fold * (60 + 80 * strength) * c.inside)[..., None]


def bubble(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw round blisters with a rim and a highlight."""
    for _ in range(int(rng.integers(1, 5))):
        radius = rng.uniform(0.025, 0.08)
        at = spot(c, rng, radius + 0.02)
        du, dv = c.x - at[0], c.y - at[1]
        far = np.hypot(du, dv)
        ball = np.sqrt(np.clip(1 - (far / radius) ** 2, 0, 1))
        lit = (du * c.light[0] + dv * c.light[1]) / radius * -(40 + 60 * strength) * (far < radius)
        ring = -(25 + 50 * strength) * np.exp(-(((far - radius) / 0.012) ** 2))
        c.pixels += ((lit + ring + 10 * ball) * c.inside)[..., None]


def corrosion(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw grainy brown-orange rust."""
    radius = rng.uniform(0.1, 0.32)
    d = shape(c, rng, spot(c, rng, 0.06), radius, 1.0, 2.2)
    grain = noise(rng, c.size, 60, 2)
    alpha = np.clip(0.5 - d / 0.06, 0, 1) * np.clip(0.75 + 0.4 * grain, 0, 1) * (0.5 + 0.5 * strength)
    rust = rgb(142, 74, 34) + grain[..., None] * rgb(22, 16, 10)
    lay(c, rust, alpha.astype(np.float32))


def burn_mark(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a dark brown area that fades outward."""
    radius = rng.uniform(0.1, 0.3)
    d = shape(c, rng, spot(c, rng, 0.06), radius, 0.4, 1.6)
    alpha = np.clip(0.6 - d / radius, 0, 1) ** 1.5 * (0.5 + 0.5 * strength)
    lay(c, rgb(38, 24, 16), alpha.astype(np.float32))


def mold(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a fuzzy pale growth."""
    radius = rng.uniform(0.1, 0.28)
    d = shape(c, rng, spot(c, rng, 0.06), radius, 0.9, 1.8)
    fuzz = noise(rng, c.size, 45, 2)
    alpha = np.clip(0.5 - d / 0.08, 0, 1) * np.clip(0.55 + 0.5 * fuzz, 0, 1) * (0.5 + 0.5 * strength)
    lay(c, rgb(196, 206, 192) + fuzz[..., None] * rgb(20, 14, 20) - 30, alpha.astype(np.float32))


def smear(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Ink dragged over the print."""
    radius = rng.uniform(0.14, 0.34)
    d = shape(c, rng, spot(c, rng, 0.12), radius, 0.4, 2.2)
    soft = np.clip(0.5 - d / 0.1, 0, 1)
    length = int(14 + 30 * strength)
    dragged = ndimage.uniform_filter1d(c.pixels, length, axis=int(rng.integers(2)))
    around = c.pixels[c.inside].mean(0)
    lay(c, np.minimum(dragged, dragged * 0.5 + around * 0.5) - np.float32(10 + 20 * strength), soft)


def uneven_surface(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw an area with waves and bumps."""
    radius = rng.uniform(0.25, 0.5)
    d = shape(c, rng, spot(c, rng, 0.1), radius, 0.3, 1.8)
    soft = np.clip(0.5 - d / radius, 0, 1)
    waves = noise(rng, c.size, rng.uniform(7, 14))
    c.pixels += ((c.relief(waves, 1.0 + 1.6 * strength) + 8 * waves) * soft * c.inside)[..., None]


def broken_thread(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """Draw a dark line with loose thread ends."""
    at, half = spot(c, rng, 0.1), rng.uniform(0.12, 0.4)
    upright = rng.random() < 0.5
    u, v = (c.y - at[1], c.x - at[0]) if upright else (c.x - at[0], c.y - at[1])
    width = rng.uniform(0.015, 0.03)
    gap = c.cover(np.maximum(np.abs(v + 0.006 * np.sin(u * 40)) - width, np.abs(u) - half))
    dark = float(mean_color(c, at).mean()) < 60
    lay(c, np.clip(c.pixels + 80, 0, 255) if dark else c.pixels * np.float32(0.5 - 0.25 * strength), gap)
    for side in (-half, half):
        end = (at[0], at[1] + side) if upright else (at[0] + side, at[1])
        alpha = sketch(c.size, [(wander(rng, end, 0.14, 0.5, 6, rng.uniform(0, 6.3)), 2.0)])
        lay(c, ink(c, rng, end, strength, 0.8), alpha)


def foreign_part(c: Canvas, rng: np.random.Generator, strength: float) -> None:
    """A small piece that does not belong there: chip of wood, pellet, metal shaving."""
    at, radius = spot(c, rng, 0.08), rng.uniform(0.06, 0.14)
    kind = int(rng.integers(3))
    dx, dy = c.x - at[0], c.y - at[1]
    turn = rng.uniform(0, math.pi)
    u, v = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
    if kind == 0:
        d = np.hypot(u, v) - radius * 0.7
    elif kind == 1:
        d = np.maximum(np.abs(u) - radius, np.abs(v) - radius * rng.uniform(0.25, 0.6))
    else:
        d = np.abs(np.hypot(u, v - radius) - radius) - radius * 0.16
    color = np.array(
        [(186, 188, 190), (200, 150, 90), (40, 120, 190), (200, 60, 50), (50, 50, 50)][int(rng.integers(5))], np.float32
    )
    if abs(float((color - mean_color(c, at)).mean())) < 35:
        color = ink(c, rng, at, 1.0)
    c.shadow(d, 40, 0.06)
    c.part(d, color, 0, radius * 0.4)


PROCESSES: dict[str, Process] = {
    "scratch": scratch, "crack": crack, "dent": dent, "pit": pit, "stain": stain, "discoloration": discoloration,
    "hole": hole, "contamination": contamination, "loose fiber": fiber, "chip": chip, "burr": burr, "wear": wear,
    "cut": cut, "crease": crease, "bubble": bubble, "corrosion": corrosion, "burn mark": burn_mark, "mold": mold,
    "smeared print": smear, "uneven surface": uneven_surface, "broken thread": broken_thread,
    "foreign part": foreign_part,
}  # fmt: skip
