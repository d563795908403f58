"""The pages in a real Chromium: they sort, filter, fade the map, fit a phone and A4 paper, and pass axe-core."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from made_report import make_map, make_pixels, make_report, make_trace

from reason_iad.reporting import html
from reason_iad.types import Faithfulness, FaithfulnessRow, NearestNormal, TriedDetail

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A batch of four, and the page of one report with everything that a report can hold."""
    path = tmp_path_factory.mktemp("pages")
    report = make_report()
    near = dataclasses.replace(report.regions[0], nearest=NearestNormal(0, (20, 30, 66, 56), 0.4))
    rows = (FaithfulnessRow("the regions painted over", 0.31, -0.66, (0.02, -0.05)),)
    full = dataclasses.replace(
        report, verdict="uncertain", probability=0.5, regions=(near, report.regions[1]), check_next="Feel the edge.",
        faithfulness=Faithfulness(rows, 0, 900.0), trace=trace_with_details(),
    )  # fmt: skip
    page = html.render_report(full, make_pixels(), make_map(), (make_pixels(), make_pixels()), index_href="index.html")
    (path / "report.html").write_text(page, "utf-8")
    batch = [
        html.IndexRow.of(
            make_report(image=name, verdict=verdict, probability=p), "report.html", html.thumbnail(make_pixels())
        )
        for name, verdict, p in (("b.png", "normal", 0.09), ("a.png", "defective", 0.97), ("c.png", "normal", 0.1))
    ]
    batch.append(html.IndexRow("broken.png", error="broken.png is damaged"))
    (path / "index.html").write_text(html.render_index(batch, "Lot 7"), "utf-8")
    return path


def trace_with_details():
    """A thought that read two details, the first beside a good part and kept, the second alone and dropped."""
    trace = make_trace()
    first = TriedDetail((60, 20, 100, 60), "top center", 0, 3.0, True, NearestNormal(1, (50, 20, 90, 60), 0.2))
    second = TriedDetail((0, 0, 40, 30), "top left", 1, 1.5, False, None)
    steps = tuple(
        dataclasses.replace(step, detail=number if number < 2 else None, agreement=-0.25 * (number + 1))
        for number, step in enumerate(trace.steps)
    )
    return dataclasses.replace(trace, details=(first, second), steps=steps)


def opened(browser, folder: Path, name: str, width: int = 1280, scheme: str = "light"):
    page = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()
    page.goto((folder / name).as_uri())
    return page


def shown(page) -> list[str]:
    return [
        row.split("\t")[0].split("\n")[0].strip() for row in page.locator("tbody tr:visible .name").all_inner_texts()
    ]


def test_a_heading_sorts_by_value_and_turns_around(browser, folder: Path) -> None:
    page = opened(browser, folder, "index.html")
    page.click("button.sort >> text=Probability")
    assert shown(page)[:3] == ["b.png", "c.png", "a.png"]
    page.click("button.sort >> text=Probability")
    assert shown(page)[:3] == ["a.png", "c.png", "b.png"]
    assert page.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize("width", [1280, 390])
def test_a_count_shows_its_rows_only_and_all_again(browser, folder: Path, width: int) -> None:
    page = opened(browser, folder, "index.html", width)
    page.click("button.count >> text=normal")
    assert shown(page) == ["b.png", "c.png"]
    page.click("button.count >> text=not inspected")
    assert shown(page) == ["broken.png"]
    page.click("button.count >> text=not inspected")
    assert len(shown(page)) == 4


def test_the_map_fades_and_boxes_go_by_keyboard(browser, folder: Path) -> None:
    page = opened(browser, folder, "report.html")
    page.focus("#opacity")
    page.keyboard.press("Home")
    assert page.locator("#map").evaluate("node => getComputedStyle(node).opacity") == "0"
    page.focus("#show-regions")
    page.keyboard.press("Space")
    assert not page.locator("#regions").is_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_detail_stands_beside_the_good_part_with_what_the_thought_knew(browser, folder: Path, width: int) -> None:
    page = opened(browser, folder, "report.html", width)
    page.evaluate("() => document.querySelectorAll('details').forEach(node => node.open = true)")
    heading = page.get_by_role("heading", name="Details read again at the image's own resolution")
    pairs = heading.locator("xpath=following::ul[contains(@class,'pairs')][1]/li")
    assert pairs.count() == 2
    both, alone = (pairs.nth(at).locator("img") for at in range(2))
    assert (both.count(), alone.count()) == (2, 1)
    crop, good = (both.nth(at).bounding_box() for at in range(2))
    assert crop["x"] + crop["width"] <= good["x"], "the good part stands to the right, also on a phone"
    assert abs(crop["y"] - good["y"]) < 2
    assert good["x"] + good["width"] <= width
    sizes = [both.nth(at).evaluate("node => [node.naturalWidth, node.naturalHeight]") for at in range(2)]
    assert sizes == [[40, 40], [40, 40]], "each is cut at the image's own resolution"
    assert "-0.25" in pairs.nth(0).inner_text()
    assert "-0.50" in pairs.nth(1).inner_text()


@pytest.mark.parametrize("name", ["report.html", "index.html"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_and_nothing_is_cut_off(browser, folder: Path, name, width, scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened(browser, folder, name, width, scheme)
    found = Axe().run(page).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    cut_off = "() => [...document.querySelectorAll('.scroll')].filter(n => n.scrollWidth > n.clientWidth).length"
    assert width < 1280 or page.evaluate(cut_off) == 0


def test_paper_is_a4_and_holds_what_the_screen_folds(browser, folder: Path) -> None:
    page = opened(browser, folder, "report.html")
    paper = page.pdf(prefer_css_page_size=True)
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert {(round(float(w)), round(float(h))) for w, h in sizes} == {(595, 842)}  # points
    page.emulate_media(media="print")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("#opacity").is_visible()
