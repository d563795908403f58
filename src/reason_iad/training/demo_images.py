"""Make the images that `reason-iad demo` inspects: crops of CC0 photographs, blended defects, rendered parts.

    python -m reason_iad.training.demo_images --photographs SITE_PACKAGES/skimage/data --out src/reason_iad/data/demo

Everything follows from the seeds below; the photographs come with scikit-image's wheel.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reason_iad.images import Pixels, encode_jpeg, read_image
from reason_iad.training.synth import Synthesizer, changed
from reason_iad.training.synth_canvas import Canvas, Mask
from reason_iad.training.synth_defects import PROCESSES

SIDE = 256  # of every image, in pixels
QUALITY = 88
# Corners (top, left) of the crop that is inspected and of the normal references beside it.
INSPECTED, REFERENCES = (256, 256), ((0, 0), (0, 256), (256, 0))


@dataclass(frozen=True)
class Photograph:
    """A photograph of which one crop is inspected, as it is or with a defect blended in."""

    name: str
    defect: str | None = None
    seed: int = 0
    strength: float = 1.0


@dataclass(frozen=True)
class Part:
    """A rendered part, flawless or with a defect."""

    category: str
    line: int
    image: int
    defect: str | None = None


PHOTOGRAPHS = (
    Photograph("brick"),
    Photograph("brick", "scratch", 4),
    Photograph("gravel", "foreign part", 4),
    Photograph("grass"),
)
PARTS = (Part("tablet", 0, 10), Part("tablet", 0, 10, "crack"))
PART_SEED = 902_602_098  # far from the seeds of training


def main() -> None:
    """Write the images and demo.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photographs", type=Path, required=True, help="folder with brick.png, gravel.png, grass.png")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    entries = [_photograph(p, args.photographs, args.out) for p in PHOTOGRAPHS] + [_part(p, args.out) for p in PARTS]
    text = json.dumps({"images": entries}, indent=2)
    (args.out / "demo.json").write_text(text + "\n", encoding="utf-8")


def blend(pixels: Pixels, kind: str, seed: int, strength: float) -> tuple[Pixels, Mask]:
    """Blend one defect into a square image (S, S, 3); returns the image and the mask of what changed."""
    for attempt in range(50):
        rng = np.random.default_rng((seed, attempt))
        canvas = Canvas.of(pixels, rng)
        PROCESSES[kind](canvas, rng, strength)
        mask = changed(pixels.astype(np.float32), canvas.pixels)
        if mask is not None:
            return np.clip(canvas.pixels + 0.5, 0, 255).astype(np.uint8), mask
    raise RuntimeError(f"no visible {kind} came out of seed {seed}")


def _photograph(photograph: Photograph, folder: Path, out: Path) -> dict[str, Any]:
    whole = read_image(folder / f"{photograph.name}.png").pixels
    references = []
    for number, (top, left) in enumerate(REFERENCES, 1):
        references.append(_save(out, f"{photograph.name}_reference_{number}", _crop(whole, top, left)))
    pixels, mask = _crop(whole, *INSPECTED), None
    if photograph.defect is not None:
        pixels, mask = blend(pixels, photograph.defect, photograph.seed, photograph.strength)
    truth = f"{photograph.defect} blended in" if photograph.defect else "normal crop"
    return _entry(out, photograph.name, None, photograph.defect, (pixels, mask), references, truth)


def _part(part: Part, out: Path) -> dict[str, Any]:
    line = Synthesizer(PART_SEED, SIDE).make_line(part.line, part.category)
    references = [_save(out, f"{part.category}_reference_{n + 1}", line.normal(n)) for n in range(3)]
    if part.defect is None:
        found: tuple[Pixels, Mask | None] = line.normal(part.image), None
    else:
        sample = line.defective(part.image, part.defect)
        found = sample.pixels, sample.mask
    truth = f"rendered with a defect: {part.defect}" if part.defect else "rendered, normal"
    return _entry(out, part.category, part.category, part.defect, found, references, truth)


def _entry(
    out: Path,
    stem: str,
    category: str | None,
    defect: str | None,
    found: tuple[Pixels, Mask | None],
    references: list[str],
    truth: str,
) -> dict[str, Any]:
    pixels, mask = found
    box = None
    if mask is not None:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
    return {
        "image": _save(out, f"{stem}_{(defect or 'normal').replace(' ', '_')}", pixels),
        "category": category,
        "references": references,
        "truth": truth,
        "verdict": "defective" if defect else "normal",
        "defect_type": defect,
        "box_xyxy": box,
    }


def _crop(pixels: Pixels, top: int, left: int) -> Pixels:
    return pixels[top : top + SIDE, left : left + SIDE]


def _save(out: Path, stem: str, pixels: Pixels) -> str:
    (out / f"{stem}.jpg").write_bytes(encode_jpeg(pixels, QUALITY))
    return f"{stem}.jpg"


if __name__ == "__main__":
    main()
