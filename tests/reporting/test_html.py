"""The pages: they hold everything, load nothing, escape everything, and say what the report says."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_report import make_map, make_pixels, make_report, make_trace
from PIL import Image

from reason_iad import types
from reason_iad.reporting import html
from reason_iad.reporting.curve import HEIGHT, reward_curve

VOID = {"meta", "img", "input", "br", "link", "hr"}
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}"


class Page(HTMLParser):
    """An independent reading of a page: elements with attributes, text, and whether tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in attributes.items())]


def report_page(report: types.InspectionReport | None = None, with_map: bool = True, **options: object) -> Page:
    anomaly_map = make_map() if with_map else None
    return Page(html.render_report(report or make_report(), make_pixels(), anomaly_map, (make_pixels(),), **options))


def index_page() -> Page:
    rows = [
        html.IndexRow.of(make_report(image="a.png"), "a.html", html.thumbnail(make_pixels()), "scratch", True),
        html.IndexRow.of(
            make_report(image="b c#?.png", verdict="normal", probability=0.02), "b c#?.html", "", "normal", True
        ),
        html.IndexRow("broken.png", error="broken.png is damaged"),
    ]
    return Page(html.render_index(rows, "Lot 7"))


@pytest.mark.parametrize("page", [report_page, index_page])
def test_a_page_loads_nothing(page: object) -> None:
    found = page()  # type: ignore[operator]
    for tag, attributes in found.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            if attributes.get(name):
                assert attributes[name].startswith("data:image/"), (tag, name)
        assert "url(" not in attributes.get("style", "")
        assert not any(name.startswith("on") for name in attributes)


def test_the_style_loads_nothing() -> None:
    style = (Path(html.__file__).parent / "templates" / "page.css").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_our_script_alone() -> None:
    page = report_page()
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    assert len(page.all("script")) == 1
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_markup_in_any_text_stays_text() -> None:
    citation = types.Citation(EVIL, EVIL, "defect", EVIL, EVIL, 0.1, EVIL)
    answer = types.Answer(EVIL, EVIL, (types.OptionProbability(EVIL, 0.5), types.OptionProbability("b", 0.5)), 1.0)
    evidence = types.EvidenceSummary(1, 0.9, None, True, EVIL, (EVIL,))
    evil = make_report(
        image=EVIL, category=EVIL, defect_type=EVIL, description=EVIL, consequence=EVIL, probability_note=EVIL,
        citations=(citation,), answers=(answer,), notes=(EVIL,), versions={EVIL: EVIL}, milliseconds={EVIL: 1.0},
        evidence=evidence, verdict="uncertain", regions=(types.Region((1, 1, 9, 9), EVIL, 0.5, 0.1),),
        trace=dataclasses.replace(make_trace(), stopped=EVIL),
    )  # fmt: skip
    page = report_page(evil, truth=EVIL, index_href=f"{EVIL}.html")
    clean = report_page(make_report(verdict="uncertain"), truth="x", index_href="index.html")
    assert len(page.all("script")) == 1
    assert not page.all("img", src="x")
    assert {t for t, _ in page.elements} <= {t for t, _ in clean.elements}
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert page.text.count(EVIL) >= 14
    rows = [html.IndexRow.of(evil, f"{EVIL}.html", "", EVIL), html.IndexRow(EVIL, error=EVIL)]
    index = Page(html.render_index(rows, EVIL, EVIL))
    assert len(index.all("script")) == 1
    assert {t for t, _ in index.elements} <= {t for t, _ in index_page().elements} | {"p"}


def test_a_source_becomes_a_link_only_if_it_is_one_for_the_web() -> None:
    assert report_page().all("a", href="https://example.org/plates?a=1&b=2")
    for source in ("javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", " JAVASCRIPT:x", "//example.org"):
        citation = dataclasses.replace(make_report().citations[0], source=source)
        page = report_page(make_report(citations=(citation,)))
        assert not page.all("a")
        assert source.strip() in page.text


def test_a_file_name_cannot_become_a_scheme_or_leave_its_path() -> None:
    assert html._file_href("javascript:alert(1).html") == "./javascript%3Aalert%281%29.html"
    hrefs = [a["href"] for a in index_page().all("a")]
    assert hrefs == ["./a.html", "./b%20c%23%3F.html"]


def test_the_page_says_what_the_report_says() -> None:
    report = make_report()
    page = report_page(report)
    for part in (
        "Defective", "97 % probability of a defect: almost certainly defective", report.probability_note, "0.968",
        report.description, report.consequence, "metal plate (recognized, 83 %)", "58, 30, 104, 56", "middle left",
        "A good plate is evenly gray.", "general knowledge", "0.0325", "Entropy 0.62 of 1",
        "the reward had stopped growing",
        report.image_sha256, report.notes[0], "412 ms", "nano", "160 × 120 pixels",
    ):  # fmt: skip
        assert str(part).casefold() in page.text.casefold()


def test_boxes_on_the_image_are_those_of_the_report() -> None:
    report = make_report()
    page = report_page(report)

    def boxes(name: str) -> list[tuple[int, ...]]:
        found = [r for r in page.all("rect") if r.get("class") == f"box {name}"]
        return [tuple(int(r[k]) for k in ("x", "y", "width", "height")) for r in found]

    def expected(items: tuple[object, ...]) -> list[tuple[int, ...]]:
        corners = [item.box_xyxy for item in items]  # type: ignore[attr-defined]
        return [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in corners]

    assert boxes("edge") == boxes("rim") == expected(report.regions)
    assert report.trace is not None
    assert boxes("patch") == boxes("patch-rim") == expected(report.trace.patches)
    assert page.all("svg", viewbox="0 0 160 120")


def test_bars_are_as_long_as_their_probabilities() -> None:
    report = make_report()
    widths = [a["style"] for t, a in report_page(report).elements if t == "i"]
    for option in report.answers[1].options:
        assert f"width:{option.probability * 100:.1f}%" in widths


def test_the_slider_and_the_map_come_and_go_together() -> None:
    with_map, without = report_page(), report_page(with_map=False)
    assert with_map.all("input", id="opacity")
    assert with_map.all("img", id="map")
    assert not without.all("input", id="opacity")
    assert not without.all("img", id="map")
    assert "No map" in without.text


def test_the_embedded_image_is_the_image() -> None:
    first = report_page().all("img")[0]["src"]
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(first.split(",")[1]))))
    np.testing.assert_array_equal(decoded, make_pixels())


def test_a_large_image_is_embedded_smaller_in_its_own_shape() -> None:
    page = Page(html.render_report(make_report(image_hw=(1500, 2400)), make_pixels(1500, 2400)))
    embedded = base64.b64decode(page.all("img")[0]["src"].split(",")[1])
    with Image.open(io.BytesIO(embedded)) as image:
        assert image.size == (1280, 800)


def test_an_uncertain_page_explains_itself_and_others_do_not() -> None:
    assert "Why uncertain" in report_page(make_report(verdict="uncertain", probability=0.5)).text
    assert "Why uncertain" not in report_page().text


def test_a_region_that_is_no_odder_than_good_parts_is_marked_as_weak() -> None:
    report = make_report()
    weak = dataclasses.replace(report, regions=(dataclasses.replace(report.regions[0], weak=True),))
    assert "no larger than chance places on good parts" in report_page(weak).text
    assert "weak, strength" in report_page(weak).text
    assert "no larger than chance" not in report_page(report).text
    assert "weak, strength" not in report_page(report).text


def test_each_injected_patch_is_cut_out_of_the_image() -> None:
    report = make_report()
    assert report.trace is not None
    for patch in report.trace.patches:
        x0, y0, x1, y1 = patch.box_xyxy
        (shown,) = (a for a in report_page(report).all("img") if a["alt"].startswith(f"Patch {patch.index},"))
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["src"].split(",")[1]))))
        np.testing.assert_array_equal(decoded, make_pixels()[y0:y1, x0:x1])


def test_a_bare_report_makes_a_page() -> None:
    bare = types.InspectionReport(
        image="x.png", image_hw=(120, 160), image_sha256="0", verdict="normal", probability=0.0, probability_note="",
        anomaly_score=0.0, category="unknown", category_source="unknown", category_probability=None, defect_type=None,
        description="", consequence=None,
    )  # fmt: skip
    page = Page(html.render_report(bare, make_pixels()))
    assert "under 1 %" in page.text
    assert "Latent reasoning" not in page.text


def test_a_trace_without_steps_says_why() -> None:
    trace = dataclasses.replace(make_trace(), steps=(), stopped="sure", patches=())
    assert "the plain answer was already sure" in report_page(make_report(trace=trace)).text


def test_controls_have_labels_and_ids_are_unique() -> None:
    page = report_page()
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    labels = {a["for"] for a in page.all("label") if "for" in a}
    for control in page.all("input", type="range"):
        assert control["id"] in labels
    assert all("alt" in image for image in page.all("img"))
    for _, attributes in page.elements:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def test_the_index_counts_and_names_what_failed() -> None:
    page = index_page()
    assert "broken.png is damaged" in page.text
    for part in ("1 defective", "0 uncertain", "1 normal", "1 not inspected", "Lot 7", "What it really is"):
        assert part in page.text


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_the_contrast_of_wcag_aa_in_light_and_dark(scheme: int) -> None:
    style = (Path(html.__file__).parent / "templates" / "page.css").read_text("utf-8")
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", re.findall(r":root \{([^}]*)\}", style)[scheme]))
    pairs = [(ink, ground) for ink in ("ink", "soft", "accent") for ground in ("card", "ground")]
    pairs += [(v, g) for v in ("normal", "defective", "uncertain") for g in ("card", f"{v}-ground")]
    pairs += [("ink", "uncertain-ground")]
    for ink, ground in pairs:
        light, dark = sorted((luminance(colors[ink]), luminance(colors[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


def test_the_curve_rises_where_the_reward_does() -> None:
    trace = make_trace()
    curve = reward_curve(trace)
    assert curve is not None
    points = [tuple(map(float, p.split(","))) for p in curve.best.split()]
    assert len(curve.candidates) == sum(len(s.rewards) for s in trace.steps)
    assert all(y1 <= y0 for (_, y0), (_, y1) in itertools.pairwise(points))  # up is a smaller y
    assert all(0 <= y <= HEIGHT for _, y in points)
    # Linear in the reward: equal ratios of differences on the page and in the trace.
    rewards = [trace.steps[0].mean_reward, trace.steps[2].mean_reward, trace.steps[5].mean_reward]
    heights = [curve.means[i][1] for i in (0, 2, 5)]
    assert (heights[1] - heights[0]) / (heights[2] - heights[0]) == pytest.approx(
        (rewards[1] - rewards[0]) / (rewards[2] - rewards[0])
    )


def test_a_flat_curve_is_drawn() -> None:
    step = dataclasses.replace(make_trace().steps[0], rewards=(), mean_reward=0.5, best_reward=0.5)
    curve = reward_curve(dataclasses.replace(make_trace(), steps=(step,), start_reward=0.5))
    assert curve is not None
    assert "nan" not in curve.best


def test_a_page_shows_each_detail_beside_the_good_part_and_what_it_agreed_with():
    trace = make_trace()
    near = types.NearestNormal(0, (8, 8, 40, 40), 0.2)
    details = (
        types.TriedDetail((60, 20, 100, 60), "top center", 0, 3.0, True, near),
        types.TriedDetail((0, 80, 40, 120), "bottom left", 1, 2.0, False),
    )
    steps = tuple(
        dataclasses.replace(step, detail=i if i < 2 else None, agreement=-0.25 * (i + 1))
        for i, step in enumerate(trace.steps)
    )
    report = make_report(trace=dataclasses.replace(trace, details=details, steps=steps))
    source = html.render_report(report, make_pixels(), make_map(), [make_pixels(60, 80)])
    page = Page(source)
    assert "Details read again" in page.text
    assert re.search(r"1\. top center kept, agreement with what was measured -0\.25", page.text)
    assert re.search(r"2\. bottom left not kept, agreement with what was measured -0\.50", page.text)
    alts = [attributes.get("alt", "") for name, attributes in page.elements if name == "img"]
    assert alts.count("Detail 1 of this part") == alts.count("Detail 2 of this part") == 1
    assert alts.count("The same place of a good part") == 1  # the other had none
    uris = html.detail_pairs(report, make_pixels(), [make_pixels(60, 80)])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uris[0][0].split(",")[1]))).convert("RGB"))
    np.testing.assert_array_equal(shown, make_pixels()[20:60, 60:100])
    assert html.detail_pairs(report, make_pixels(), [])[0][1] is None
    assert types.InspectionReport.from_json(report.to_json()) == report


def test_details_without_a_step_are_shown_and_thought_that_was_off_is_not():
    near = types.NearestNormal(0, (8, 8, 40, 40), 0.2)
    off = dataclasses.replace(
        make_trace(), mode="off", stopped="off", steps=(), start_reward=None, best_reward=None, patches=()
    )
    sent = dataclasses.replace(off, details=(types.TriedDetail((60, 20, 100, 60), "top center", 0, 3.0, True, near),))
    served = Page(html.render_report(make_report(trace=sent), make_pixels(), make_map(), [make_pixels(60, 80)]))
    assert "1. top center kept" in served.text
    assert "No step was taken" not in served.text
    assert "Latent reasoning" not in Page(html.render_report(make_report(trace=off), make_pixels())).text
