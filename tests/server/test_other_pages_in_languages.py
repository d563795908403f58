"""Threshold, watchboard and the page to name defects on, in each language: spoken, without faults, all in sight."""

from __future__ import annotations

import re

import pytest
from browsing import CHROMIUM, keep, serious_faults
from running import running
from test_labels import plant as labeled
from test_threshold import plant as judged

from reason_iad.languages import LANGUAGES, _, speaking

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")
__all__ = ["judged", "labeled"]  # fixtures
ENGLISH = re.compile(r"\b(the|and|with|parts|stopped|uncertain|known|week|good|skip|of|is)\b", re.IGNORECASE)


def looked_at(page, code: str, name: str, width: int) -> None:
    """What holds for every page: its language, no serious fault, nothing beside the screen, no English left over."""
    assert page.get_attribute("html", "lang") == code
    assert serious_faults(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    keep(page, f"{code}-{name}-{width}")
    if code != "en":
        assert ENGLISH.findall(page.inner_text("body")) == []


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_threshold_and_watchboard_speak_the_language(browser, judged, code):
    with running(judged[0], data=judged[1]) as address:
        for width, height in ((1280, 900), (390, 844)):
            context = browser.new_context(viewport={"width": width, "height": height}, locale=code)
            page = context.new_page()
            page.goto(f"{address}/#/threshold")
            page.wait_for_selector("#t-work:not([hidden])")
            page.locator("#t-slider").focus()
            page.keyboard.press("End")
            page.wait_for_selector("#t-list a")
            looked_at(page, code, "threshold", width)
            context.close()
        context = browser.new_context(viewport={"width": 1920, "height": 1080}, locale=code)
        page = context.new_page()
        page.goto(f"{address}/board?hours=2000")
        page.wait_for_selector("body[data-ready]")
        with speaking(code):
            words = {_("Normal"), _("Defective"), _("Uncertain")}
        page.wait_for_selector("#word:not(:empty)")
        assert page.inner_text("#word") in words
        looked_at(page, code, "board", 1920)
        context.close()


@pytest.mark.parametrize("code", list(LANGUAGES))
def test_the_page_to_name_defects_on_speaks_the_language(browser, labeled, code):
    with running(labeled.parent / "home", data=labeled) as address:
        for width in (1280, 390):
            context = browser.new_context(viewport={"width": width, "height": 844}, locale=code)
            page = context.new_page()
            page.goto(f"{address}/label")
            page.fill("#category", "bracket")
            page.click("#choose button")
            page.wait_for_selector("#work:not([hidden])")
            looked_at(page, code, "label", width)
            context.close()
