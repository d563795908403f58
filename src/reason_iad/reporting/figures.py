"""The annotated picture of an inspection: image, regions, map on its fixed scale, verdict and main facts.

Drawn with Pillow and its bundled font alone, so that it looks the same on every machine. The bundled font knows ASCII
only; other letters are written without their accents, and as '?' where that leaves nothing (the page has them in full).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from reason_iad.images import Pixels
from reason_iad.knowledge.translations import told
from reason_iad.languages import _, language, number, several, speaking, translatable
from reason_iad.reporting.fonts import drawable, drawn, letters
from reason_iad.reporting.text import (
    category_phrase,
    check_next,
    percent,
    probability_words,
    small_percent,
    uncertain_reasons,
    verdict_word,
)
from reason_iad.types import InspectionReport, Region, Verdict

FloatMap = npt.NDArray[np.float32]
Color = tuple[int, int, int]

# Light yellow to dark red: lightness falls all the way, so the order survives gray printing and color blindness.
COLORMAP: tuple[tuple[float, Color], ...] = (
    (0.00, (255, 241, 170)),
    (0.25, (254, 200, 96)),
    (0.50, (249, 132, 54)),
    (0.75, (217, 46, 42)),
    (1.00, (140, 0, 58)),
)
MAX_ALPHA = 0.85
VERDICT_COLORS: dict[Verdict, Color] = {"normal": (22, 110, 62), "defective": (179, 24, 36), "uncertain": (138, 90, 0)}

_INK, _SOFT, _PAPER, _LINE = (24, 28, 33), (92, 100, 110), (255, 255, 255), (222, 226, 230)
_BACK = (238, 240, 242)
_MARGIN, _PANEL = 28, 440
_LEGEND_LOW, _LEGEND_HIGH = translatable("0  as normal"), translatable("1  far beyond normal")


@dataclass(frozen=True)
class FigureOptions:
    """Size of the annotated picture, in pixels, and strength of the map on it."""

    image_side: int = 820  # longer side of the image on the picture
    max_upscale: float = 4.0
    map_opacity: float = 0.8  # in [0, 1], on top of the map's own transparency


def colorize(anomaly_map: FloatMap) -> npt.NDArray[np.uint8]:
    """Color a calibrated map (h, w) in [0, 1] as (h, w, 4) RGBA on its fixed scale; 0 is fully transparent."""
    s = np.clip(np.asarray(anomaly_map, dtype=np.float64), 0.0, 1.0)
    stops = np.array([stop for stop, _ in COLORMAP])
    table = np.array([color for _, color in COLORMAP], dtype=np.float64)
    rgba = np.empty((*s.shape, 4))
    for channel in range(3):
        rgba[..., channel] = np.interp(s, stops, table[:, channel])
    rgba[..., 3] = 255.0 * MAX_ALPHA * (1.0 - (1.0 - s) ** 2)
    return rgba.round().astype(np.uint8)


def map_overlay(anomaly_map: FloatMap, image_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Stretch the map over `image_hw` and color it as (H, W, 4) RGBA.

    The values are interpolated, not the colors: colors between two stops would lie about the strength.
    """
    height, width = image_hw
    source = Image.fromarray(np.asarray(anomaly_map, dtype=np.float32), mode=None)
    return colorize(np.asarray(source.resize((width, height), Image.Resampling.BILINEAR)))


def draw_figure(
    report: InspectionReport,
    pixels: Pixels,
    anomaly_map: FloatMap | None = None,
    options: FigureOptions | None = None,
    truth: str | None = None,
) -> Pixels:
    """Draw the annotated picture (H, W, 3) of one report.

    Args:
        report: what was found.
        pixels: the upright image (H, W, 3) the report speaks of.
        anomaly_map: calibrated map (h, w) in [0, 1] over the whole image, or None without references.
        options: sizes and opacity.
        truth: what the image really shows, where that is known (the demo).
    """
    with speaking(language() if drawable() else "en"):  # better English than letters that nobody can read
        return _draw_figure(report, pixels, anomaly_map, options or FigureOptions(), truth)


def marked_picture(
    report: InspectionReport, pixels: Pixels, anomaly_map: FloatMap | None = None, options: FigureOptions | None = None
) -> Pixels:
    """The image (H, W, 3) with its map and numbered regions, without words."""
    return np.asarray(_marked(report, pixels, anomaly_map, options or FigureOptions()).convert("RGB"))


def _marked(
    report: InspectionReport, pixels: Pixels, anomaly_map: FloatMap | None, options: FigureOptions
) -> Image.Image:
    picture = _fit(pixels, options)
    if anomaly_map is not None:
        overlay = map_overlay(anomaly_map, (picture.height, picture.width)).astype(np.float64)
        overlay[..., 3] *= options.map_opacity
        picture.alpha_composite(Image.fromarray(overlay.round().astype(np.uint8)))
    _draw_regions(picture, report.regions, picture.width / report.image_hw[1], picture.height / report.image_hw[0])
    return picture


def _draw_figure(
    report: InspectionReport, pixels: Pixels, anomaly_map: FloatMap | None, options: FigureOptions, truth: str | None
) -> Pixels:
    picture = _marked(report, pixels, anomaly_map, options)
    panel = _panel_lines(report, truth)
    legend = 54 if anomaly_map is not None else 0
    height = max(picture.height + legend, sum(line.height for line in panel)) + 2 * _MARGIN
    width = picture.width + _PANEL + 4 * _MARGIN
    canvas = Image.new("RGB", (width, height), _PAPER)
    canvas.paste(_BACK, (0, 0, picture.width + 2 * _MARGIN, height))
    top = (height - picture.height - legend) // 2
    canvas.paste(picture.convert("RGB"), (_MARGIN, top))
    draw = ImageDraw.Draw(canvas)
    if legend:
        _draw_legend(canvas, draw, _MARGIN, top + picture.height + 20, min(picture.width, 460))
    _draw_panel(draw, panel, picture.width + 3 * _MARGIN, _MARGIN)
    return np.asarray(canvas)


@dataclass(frozen=True)
class _Line:
    """One line of the panel: text, or a bar where `bar` holds a probability."""

    text: str
    size: int
    color: Color
    height: int
    bar: float | None = None


def _fit(pixels: Pixels, options: FigureOptions) -> Image.Image:
    height, width = pixels.shape[:2]
    scale = min(options.image_side / max(height, width), options.max_upscale)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert("RGBA")


def _draw_regions(picture: Image.Image, regions: Sequence[Region], scale_x: float, scale_y: float) -> None:
    """Box and number each region; a dark rim under a light line is visible on every ground."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(20)
    for position, region in enumerate(regions, 1):
        x0, y0, x1, y1 = region.box_xyxy
        # A box drawn around the area, not over it: a scratch may be thinner than the line.
        box = (x0 * scale_x - 4, y0 * scale_y - 4, x1 * scale_x + 3, y1 * scale_y + 3)
        left, top = max(box[0], 2), max(box[1], 2)
        right, bottom = min(box[2], picture.width - 3), min(box[3], picture.height - 3)
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=(0, 0, 0, 255), width=6)
        draw.rectangle((left, top, right, bottom), outline=(255, 255, 255, 255), width=2)
        label = str(position)
        chip_w = int(font.getlength(label)) + 16
        chip_y = top - 30 if top >= 30 else min(bottom + 4, picture.height - 28)
        chip_x = min(max(left - 2, 0), picture.width - chip_w)
        draw.rectangle((chip_x, chip_y, chip_x + chip_w, chip_y + 27), fill=(0, 0, 0, 255))
        draw.text((chip_x + 8, chip_y + 13), label, font=font, fill=(255, 255, 255, 255), anchor="lm")


def _draw_legend(canvas: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int, width: int) -> None:
    """Draw the fixed scale as it looks on a mid-gray ground."""
    font = letters(15)
    ramp = np.repeat(np.linspace(0, 1, width, dtype=np.float32)[None], 14, axis=0)
    ground = Image.new("RGBA", (width, 14), (205, 208, 212, 255))
    ground.alpha_composite(Image.fromarray(colorize(ramp)))
    canvas.paste(ground.convert("RGB"), (x, y))
    draw.rectangle((x, y, x + width - 1, y + 13), outline=_SOFT)
    draw.text((x, y + 19), _(_LEGEND_LOW), font=font, fill=_SOFT)
    draw.text((x + width, y + 19), _(_LEGEND_HIGH), font=font, fill=_SOFT, anchor="ra")


def _panel_lines(report: InspectionReport, truth: str | None) -> list[_Line]:
    lines: list[_Line] = []

    def add(text: str, size: int, color: Color = _INK, gap: int = 0, limit: int = 4) -> None:
        wrapped = _wrap(text, size, _PANEL)
        if len(wrapped) > limit:
            wrapped = [*wrapped[: limit - 1], wrapped[limit - 1].rstrip(" .,") + " ..."]
        for i, line in enumerate(wrapped):
            last = gap if i == len(wrapped) - 1 else 0
            lines.append(_Line(line, size, color, round(size * 1.32) + last))

    def fact(label: str, value: str, limit: int = 4) -> None:
        add(label, 15, _SOFT)
        add(value, 19, gap=13, limit=limit)

    color = VERDICT_COLORS[report.verdict]
    add(report.image, 17, _SOFT, gap=2, limit=1)
    add(verdict_word(report.verdict), 46, color, gap=2)
    lines.append(_Line("", 0, color, 24, bar=report.probability))
    share, words = percent(report.probability), probability_words(report.probability)
    add(_("{share} probability of a defect: {words}", share=share, words=words), 19, gap=16)
    if truth:
        fact(_("What it really is"), told(truth))
    for reason in uncertain_reasons(report)[:2]:
        fact(_("Why uncertain"), reason)
    fact(_("Category"), category_phrase(report))
    if report.defect_type:
        fact(_("Defect"), told(report.defect_type))
    if report.regions:
        places = [f"{i}  {told(r.place)}, {_where(r)}" for i, r in enumerate(report.regions[:3], 1)]
        add(_("Regions"), 15, _SOFT)
        for i, place in enumerate(places):
            add(place, 19, gap=13 if i == len(places) - 1 else 0, limit=2)
    if report.description:
        fact(_("Description"), told(report.description), limit=6)
    if report.consequence:
        fact(_("Possible consequence"), told(report.consequence))
    if (following := check_next(report)) is not None:
        fact(_("Check next"), told(following))
    if report.evidence is not None:
        count = report.evidence.num_references
        fact(_("Compared with"), several("{count} normal reference", "{count} normal references", count))
    return lines


def _where(region: Region) -> str:
    strength, area = number(region.strength, 2), small_percent(region.area)
    weak = _("weak, ") if region.weak else ""
    return weak + _("strength {strength}, {area} of the image", strength=strength, area=area)


def _draw_panel(draw: ImageDraw.ImageDraw, lines: Sequence[_Line], x: int, y: int) -> None:
    for line in lines:
        if line.bar is not None:
            draw.rounded_rectangle((x, y + 6, x + _PANEL - 1, y + 15), radius=5, fill=_LINE)
            end = x + max(round((_PANEL - 1) * line.bar), 10)
            draw.rounded_rectangle((x, y + 6, end, y + 15), radius=5, fill=line.color)
        else:
            draw.text((x, y), line.text, font=letters(line.size), fill=line.color)
        y += line.height


def _wrap(text: str, size: int, width: int) -> list[str]:
    """Break text into lines that fit `width` pixels; a word that is too long is cut."""
    font = letters(size)
    lines = [""]
    for word in drawn(text).split(" "):
        candidate = f"{lines[-1]} {word}".strip()
        if font.getlength(candidate) <= width:
            lines[-1] = candidate
            continue
        if lines[-1]:
            lines.append("")
        while font.getlength(word) > width:
            cut = next(n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
            lines[-1] = word[:cut]
            lines.append("")
            word = word[cut:]
        lines[-1] = word
    return lines
