"""The page in a real Chromium: the main flows, by mouse and by keyboard, and axe-core over every view."""

from __future__ import annotations

import pytest
from browsing import CHROMIUM, keep, serious_faults

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(address)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    context.close()
    assert faults == []


def inspect(page, data: bytes, name: str = "plate.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})
    page.click("#go")
    page.wait_for_selector("#verdict-word", timeout=15000)


def test_an_image_is_inspected_watched_and_explained(page, picture):
    inspect(page, picture(240, 320), "<img src=x onerror=alert(1)>.png")
    assert page.inner_text("#verdict-word") == "Defective"
    assert "97 %" in page.inner_text("#result")
    assert page.locator("#boxes .edge").count() == 2
    assert page.locator("#stage img[onerror]").count() == 0
    assert "#/inspection/" in page.url
    keep(page, "result")
    page.reload()
    page.wait_for_selector("#verdict-word")
    assert page.inner_text("#verdict-word") == "Defective"


def test_an_inspection_whose_answer_was_lost_on_the_way_is_sent_again_and_done_once(page, picture):
    keys = []

    def lose(route):
        """The server gets the request, the page no answer."""
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/v1/inspections?wait=0", lose)
    inspect(page, picture(), "lost on the way.png")
    assert len(keys) == 2
    assert keys[0] == keys[1]
    inspect_again = page.evaluate("fetch('/v1/inspections?text=lost on the way').then((answer) => answer.json())")
    assert len(inspect_again["inspections"]) == 1


def test_map_and_boxes_follow_their_switches(page, picture):
    inspect(page, picture())
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert page.locator("#map").evaluate("node => node.style.opacity") == "0"
    page.uncheck("#show-regions")
    assert page.locator("#boxes .edge").count() == 0
    page.check("#show-patches")
    assert page.locator("#boxes .patch-edge").count() == 2


def test_a_question_and_feedback_are_answered_on_the_page(page, picture):
    inspect(page, picture())
    page.fill("[aria-label='Question about this image']", "How does it look?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".talk .a")
    assert page.inner_text(".talk .a") == "It looks scratched."
    page.fill("[aria-label='Comment (optional)']", "<b>wipes off</b>")
    page.click("text=False alarm")
    page.wait_for_selector(".said li")
    assert "<b>wipes off</b>" in page.inner_text(".said")
    assert page.locator(".said b >> text=wipes off").count() == 0


def test_the_main_flow_works_by_keyboard_alone(page, picture):
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.set_input_files("#file", {"name": "plate.png", "mimeType": "image/png", "buffer": picture()})
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.id") == "go":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict-word")
    page.wait_for_selector("#verdict-word:focus")


def test_history_filters_and_opens(page, picture):
    inspect(page, picture(), "normal_history.png")
    inspect(page, picture(), "uncertain_history.png")
    page.click("nav >> text=History")
    page.wait_for_selector("#rows a")
    page.select_option("#f-verdict", "uncertain")
    page.wait_for_selector("#rows:not(:has-text('normal_history'))")
    assert page.locator("#rows tr").count() == 1
    keep(page, "history")
    page.click("#rows a")
    page.wait_for_selector("#verdict-word")
    assert page.inner_text("#verdict-word") == "Uncertain"
    assert "neither normal nor defective is likely enough" in page.inner_text(".why")


def test_knowledge_is_found(page):
    page.click("nav >> text=Knowledge")
    page.fill("#q", "hole made by a weevil")
    page.keyboard.press("Enter")
    page.wait_for_selector("#hits .tag")
    keep(page, "knowledge")


def test_a_refused_file_is_explained(page):
    page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"<svg></svg>"})
    page.click("#go")
    page.wait_for_selector("#fault:not([hidden])")
    assert "SVG" in page.inner_text("#fault")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_no_serious_fault_in_any_view(page, picture, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 844})
    assert serious_faults(page) == []
    keep(page, f"start-{scheme}-{width}")
    inspect(page, picture(240, 320), "uncertain_.png")
    page.click("text=Missed a defect")
    page.wait_for_selector(".said li")
    assert serious_faults(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    keep(page, f"result-{scheme}-{width}")
    for view in ("History", "Knowledge"):
        page.click(f"nav >> text={view}")
        page.wait_for_selector("#rows tr, #profiles *", state="attached")
        page.wait_for_timeout(300)
        assert serious_faults(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    link = page.url.split("#")[0]
    newest = page.request.get(f"{link}v1/inspections?limit=1").json()["inspections"][0]["id"]
    page.goto(f"{link}v1/inspections/{newest}/report.html")
    assert serious_faults(page) == []
    page.goto(link)
    page.wait_for_selector("body[data-ready]")


@pytest.mark.parametrize("code", ["de", "zh", "ja"])
def test_every_view_is_in_the_language_of_the_browser_and_fits_a_phone(browser, address, picture, code):
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale=code)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    assert page.get_attribute("html", "lang") == code
    inspect(page, picture(240, 320), "uncertain_.png")
    verdict = {"de": "Unsicher", "zh": "不确定", "ja": "判定保留"}[code]
    assert page.inner_text("#verdict-word") == verdict
    for view in ("inspect", "history", "knowledge", "threshold"):
        if view != "inspect":
            page.click(f"nav [data-view={view}]")
            page.wait_for_timeout(400)
        assert serious_faults(page) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        keep(page, f"{code}-{view}")
    page.select_option("#language", "en")
    page.wait_for_selector("html[lang=en] body[data-ready]")
    assert page.inner_text("nav [data-view=history]") == "History"
    refused = page.request.post(f"{address}/v1/inspections", headers={"Accept-Language": code, "Cookie": ""}, data="x")
    assert refused.status == 415
    context.close()
    report = page_report(address, code)
    assert f'<html lang="{code}">' in report
    assert verdict in report


def page_report(address: str, code: str) -> str:
    import httpx

    newest = httpx.get(f"{address}/v1/inspections?limit=1").json()["inspections"][0]["id"]
    return httpx.get(f"{address}/v1/inspections/{newest}/report.html", headers={"Accept-Language": code}).text
