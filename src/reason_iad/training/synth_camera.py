"""The camera of a synthetic line: light, dust within tolerance, blur, noise, with or without color."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from reason_iad.images import Pixels
from reason_iad.training.synth_canvas import Field, rgb


@dataclass(frozen=True)
class Camera:
    """How a line looks at its objects; drawn once per line."""

    gray: bool
    gain: float
    blur: float  # pixels at 320 px, the most
    noise: float  # gray levels, the most
    gradient: float  # relative change of light over half the image
    dust: int  # specks within tolerance, the most
    reflection: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, gray_ok: bool) -> Camera:
        """Draw a camera for a line."""
        return cls(
            gray=bool(rng.random() < 0.3) and gray_ok, gain=rng.uniform(0.88, 1.12), blur=rng.uniform(0.2, 1.2),
            noise=rng.uniform(0.8, 6), gradient=rng.uniform(0, 0.22), dust=int(rng.integers(0, 9)),
            reflection=bool(rng.random() < 0.3),
        )  # fmt: skip

    def aim(self, size: int, rng: np.random.Generator) -> Exposure:
        """Draw the light, dust, blur and noise of one image of `size` pixels."""
        line = np.linspace(-1, 1, size, dtype=np.float32)
        angle = rng.uniform(0, 2 * math.pi)
        slope = self.gradient * rng.uniform(0.5, 1)
        tilt = 1 + slope * (line[None] * math.cos(angle) + line[:, None] * math.sin(angle))
        light = np.float32(self.gain * rng.uniform(0.94, 1.06)) * tilt
        if self.reflection:
            cx, cy, wide = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.3, 0.8)
            far = ((line[None] - cx) ** 2 + (line[:, None] - cy) ** 2) / wide**2
            light += np.float32(rng.uniform(0.03, 0.14)) * np.exp(-far)
        dust = []
        for _ in range(int(rng.integers(0, self.dust + 1))):
            row, column, high, wide_ = (int(k) for k in rng.integers((2, 2, 1, 1), (size - 3, size - 3, 3, 3)))
            dust.append((row, column, high, wide_, float(rng.choice((-1, 1)) * rng.uniform(10, 26))))
        blur = self.blur * rng.uniform(0.6, 1) * size / 320
        grain = rng.standard_normal((size, size), dtype=np.float32) * np.float32(self.noise * rng.uniform(0.5, 1))
        return Exposure(self.gray, light[..., None], tuple(dust), blur, grain[..., None] + np.float32(0.5))


@dataclass(frozen=True, eq=False)
class Exposure:
    """The camera at one instant; scenes taken with it differ only where the objects differ."""

    gray: bool
    light: Field  # (H, W, 1)
    dust: tuple[tuple[int, int, int, int, float], ...]  # row, column, height, width in pixels, gray step
    blur: float  # pixels
    grain: Field  # (H, W, 1)

    def take(self, scene: Field) -> Pixels:
        """Turn a painted scene (H, W, 3) into pixels."""
        image = scene * self.light
        if self.gray:
            image = (image @ rgb(0.299, 0.587, 0.114))[..., None]
        for row, column, high, wide, step in self.dust:
            image[row : row + high, column : column + wide] += step
        sharp = np.clip(image, 0, 255, out=image).astype(np.uint8)
        side = 1 if self.blur < 0.75 else 2
        weights = np.exp(-0.5 * (np.arange(-side, side + 1) / self.blur) ** 2)
        kernel = ImageFilter.Kernel((2 * side + 1,) * 2, np.outer(weights, weights).ravel().tolist())
        soft = np.asarray(Image.fromarray(sharp[..., 0] if self.gray else sharp).filter(kernel)).reshape(image.shape)
        pixels = np.clip(soft + self.grain, 0, 255).astype(np.uint8)
        return np.repeat(pixels, 3, axis=2) if self.gray else pixels
