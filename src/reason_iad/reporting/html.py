"""Self-contained pages: one for an inspection, one for a batch. No network, no other file, images inside.

Whatever comes from outside (file names, knowledge, questions, the model's words) passes through Jinja's escaping, and
a content security policy forbids the page to load or run anything but its own style and its own script.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
import markupsafe
import numpy as np

from reason_iad import __version__
from reason_iad.images import Pixels, encode_jpeg, encode_png, resize
from reason_iad.knowledge.translations import told
from reason_iad.languages import _, language, moment, number, several
from reason_iad.reporting import text
from reason_iad.reporting.curve import HEIGHT, WIDTH, reward_curve
from reason_iad.reporting.figures import COLORMAP, MAX_ALPHA, FloatMap, map_overlay
from reason_iad.reporting.table import report_row
from reason_iad.types import InspectionReport

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class PageOptions:
    """Sizes of the images inside a page, in pixels of their longer side."""

    image_side: int = 1280
    map_side: int = 512
    reference_side: int = 200
    thumbnail_side: int = 144


@dataclass(frozen=True)
class IndexRow:
    """One image of a batch: what the index shows of its report, or the reason why there is none."""

    name: str
    verdict: str | None = None
    probability: float = 0.0
    defect_type: str | None = None
    milliseconds: float = 0.0
    href: str | None = None  # relative to the index
    thumbnail: str = ""  # data URI
    truth: str | None = None
    agrees: bool | None = None  # the verdict is the truth; None where the truth is unknown or the verdict open
    error: str | None = None
    cells: tuple[str, ...] = ()  # of the table beside the index
    types: Mapping[str, int] = field(default_factory=dict)  # number of defects by type

    @classmethod
    def of(
        cls,
        report: InspectionReport,
        href: str | None = None,
        thumbnail: str = "",
        truth: str | None = None,
        agrees: bool | None = None,
    ) -> IndexRow:
        """The row of a report."""
        return cls(
            report.image,
            report.verdict,
            report.probability,
            report.defect_type,
            text.total_milliseconds(report),
            href,
            thumbnail,
            truth,
            agrees,
            cells=tuple(report_row(report)),
            types=report.defect_counts,
        )


def render_report(
    report: InspectionReport,
    pixels: Pixels,
    anomaly_map: FloatMap | None = None,
    reference_pixels: Sequence[Pixels] = (),
    *,
    truth: str | None = None,
    index_href: str | None = None,
    options: PageOptions | None = None,
) -> str:
    """Write the page of one inspection.

    Args:
        report: what was found.
        pixels: the upright image (H, W, 3) the report speaks of.
        anomaly_map: calibrated map (h, w) in [0, 1] over the whole image, or None without references.
        reference_pixels: the normal references it was compared with.
        truth: what the image really shows, where that is known (the demo).
        index_href: where the page of the batch lies, to link back.
        options: sizes of the images inside.
    """
    options = options or PageOptions()
    overlay = None
    if anomaly_map is not None:
        overlay = _data_uri(encode_png(map_overlay(anomaly_map, fitted(report.image_hw, options.map_side))), "png")
    return _render(
        "report.html",
        report=report,
        image=image_uri(pixels, options.image_side),
        overlay=overlay,
        pairs=region_pairs(report, pixels, reference_pixels),
        examples={one.id: one for one in report.examples},
        references=[image_uri(p, options.reference_side) for p in reference_pixels],
        reasons=text.uncertain_reasons(report),
        check_next=text.check_next(report),
        patches=patch_cuts(report, pixels),
        details=detail_pairs(report, pixels, reference_pixels),
        agreements={} if report.trace is None else {step.detail: step.agreement for step in report.trace.steps},
        curve=reward_curve(report.trace) if report.trace else None,
        stages=_stages(report),
        notes=text.other_notes(report),
        truth=truth,
        index_href=index_href,
    )


def render_index(rows: Sequence[IndexRow], title: str | None = None, introduction: str = "") -> str:
    """Write the page of a batch: counts, and a row per image with a link to its page."""
    counts = Counter(row.verdict or "failed" for row in rows)
    types = sum((Counter(row.types) for row in rows), Counter())
    has_truth = any(row.truth for row in rows)
    return "".join(index_parts(rows, len(rows), counts, has_truth, title, introduction, types=types))


def index_parts(
    rows: Iterable[IndexRow],
    count: int,
    counts: Mapping[str, int],
    has_truth: bool = False,
    title: str | None = None,
    introduction: str = "",
    left_out: str = "",
    types: Mapping[str, int] | None = None,
) -> Iterator[str]:
    """Write the same page piece by piece, for lots of any size.

    Args:
        rows: one for each image.
        count: how many.
        counts: of each verdict, and of `failed`.
        has_truth: whether a row says what its image really is.
        title: of the page.
        introduction: below the title.
        left_out: which files of the lot are no images, in words.
        types: number of defects of each type.
    """
    ordered = sorted((types or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    return _parts(
        "index.html",
        rows=rows,
        count=count,
        counts={word: counts.get(word, 0) for word in text.VERDICT_WORDS},
        failed=counts.get("failed", 0),
        has_truth=has_truth,
        title=title or _("Inspection"),
        introduction=introduction,
        left_out=left_out,
        types=ordered,
    )


def region_pairs(
    report: InspectionReport, pixels: Pixels, references: Sequence[Pixels]
) -> list[tuple[str, str] | None]:
    """For each region, itself and its nearest normal patch as data URIs; None where there is no such patch."""
    found: list[tuple[str, str] | None] = []
    for region in report.regions:
        near = region.nearest
        if near is None or near.reference >= len(references):
            found.append(None)
        else:
            good = references[near.reference]
            found.append((image_uri(cut(pixels, region.box_xyxy), 220), image_uri(cut(good, near.box_xyxy), 220)))
    return found


def patch_cuts(report: InspectionReport, pixels: Pixels) -> list[str]:
    """Each injected patch, cut out of the image (H, W, 3), as a data URI."""
    if report.trace is None:
        return []
    return [image_uri(_held(pixels, patch.box_xyxy), 120) for patch in report.trace.patches]


def detail_pairs(
    report: InspectionReport, pixels: Pixels, references: Sequence[Pixels]
) -> list[tuple[str, str | None]]:
    """Each detail that was read again, and the same place of a good part, as data URIs; None where there is none."""
    found: list[tuple[str, str | None]] = []
    for detail in () if report.trace is None else report.trace.details:
        near, good = detail.good, None
        if near is not None and near.reference < len(references):
            good = image_uri(_held(references[near.reference], near.box_xyxy), 220)
        found.append((image_uri(_held(pixels, detail.box_xyxy), 220), good))
    return found


def _held(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """What a box of an image (H, W, 3) holds; at least one pixel, also of an image that is smaller than was said."""
    x0, y0 = (min(at, side - 1) for at, side in zip(box[:2], pixels.shape[1::-1], strict=True))
    return pixels[y0 : max(box[3], y0 + 1), x0 : max(box[2], x0 + 1)]


def cut(pixels: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """A square of an image (H, W, 3) around a box, with some of what lies around it."""
    height, width = pixels.shape[:2]
    side = int(min(max(box[2] - box[0], box[3] - box[1], 0.12 * max(height, width)) * 1.4, height, width))
    left = min(max((box[0] + box[2] - side) // 2, 0), width - side)
    top = min(max((box[1] + box[3] - side) // 2, 0), height - side)
    return pixels[top : top + side, left : left + side]


def image_uri(pixels: Pixels, side: int) -> str:
    """Encode an image, shrunk to `side` pixels where it is longer, as a data URI."""
    pixels = shrunk(pixels, side)
    if max(pixels.shape[:2]) <= 256:  # small crops are upscaled on the page: spare them the blocks of JPEG
        return _data_uri(encode_png(pixels), "png")
    return _data_uri(encode_jpeg(pixels), "jpeg")


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """The image (H, W, 3) with its longer side at most `side` pixels."""
    height, width = pixels.shape[:2]
    return resize(pixels, fitted((height, width), side)) if max(height, width) > side else pixels


def fitted(image_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of the same shape whose longer side is `side` pixels."""
    scale = side / max(image_hw)
    return max(round(image_hw[0] * scale), 1), max(round(image_hw[1] * scale), 1)


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _stages(report: InspectionReport) -> list[tuple[str, float, float]]:
    """Name, milliseconds and share of the longest, of each stage but the total."""
    stages = {name: ms for name, ms in report.milliseconds.items() if name != "total"}
    longest = max(stages.values(), default=0.0) or 1.0
    return [(name.replace("_", " "), ms, ms / longest) for name, ms in stages.items()]


def _web_link(source: str) -> str | None:
    """Give the address in a knowledge source if it is one for the web; anything else stays text."""
    parts = urlsplit(source.strip())
    return source.strip() if parts.scheme in ("http", "https") and parts.netloc else None


def _file_href(name: str) -> str:
    """Quote a file name as a relative link; the leading ./ keeps a colon from being read as a scheme."""
    return "./" + quote(name, errors="surrogateescape")


def legend_gradient() -> str:
    """The fixed scale as a CSS gradient."""
    stops = []
    for s in np.linspace(0, 1, 9):
        red, green, blue = (
            round(float(np.interp(s, [at for at, _ in COLORMAP], [c[i] for _, c in COLORMAP]))) for i in range(3)
        )
        stops.append(f"rgba({red},{green},{blue},{MAX_ALPHA * (1 - (1 - s) ** 2):.3f}) {s * 100:.1f}%")
    return f"linear-gradient(90deg,{','.join(stops)})"


def _render(template: str, **values: Any) -> str:
    return "".join(_parts(template, **values))


def _parts(template: str, **values: Any) -> Iterator[str]:
    script = (_TEMPLATES / "page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    now = datetime.now().astimezone().replace(microsecond=0)
    # The script is our own file, marked safe; its hash in the policy is the only one that may run.
    return (
        _environment()
        .get_template(template)
        .generate(
            script=markupsafe.Markup(script),  # noqa: S704
            style=markupsafe.Markup((_TEMPLATES / "page.css").read_text("utf-8")),  # noqa: S704
            script_hash=digest,
            written=moment(now, "long"),  # with its zone, and no day that reads as a month
            version=__version__,
            language=language(),
            legend=legend_gradient(),
            curve_size=(WIDTH, HEIGHT),
            **values,
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=text.percent,
        small_percent=text.small_percent,
        words=text.probability_words,
        entropy_words=text.entropy_words,
        grounds_phrase=text.grounds_phrase,
        duration=text.duration,
        web_link=_web_link,
        file_href=_file_href,
        told=told,
        sentence=lambda words: words[:1].upper() + words[1:],  # the other letters as the language writes them
    )
    environment.globals.update(
        verdict_word=text.verdict_word,
        _=_,
        several=several,
        number=number,
        stop_reason=text.stop_reason,
        knowledge_text=text.knowledge_text,
        category_phrase=text.category_phrase,
        stop_phrase=text.stop_phrase,
        types_phrase=text.types_phrase,
        day_phrase=text.day_phrase,
        total=text.total_milliseconds,
        as_far=text.as_far,
    )
    return environment


def thumbnail(pixels: Pixels, side: int = PageOptions().thumbnail_side) -> str:
    """Cut the middle square of an image and encode it as a data URI."""
    return _data_uri(encode_jpeg(square(pixels, side), quality=82), "jpeg")


def square(pixels: Pixels, side: int) -> Pixels:
    """The middle square of an image (H, W, 3), as (side, side, 3)."""
    height, width = pixels.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    return resize(pixels[top : top + edge, left : left + edge], (side, side))
