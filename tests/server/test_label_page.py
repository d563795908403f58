"""Naming defects in a real Chromium: a new name by hand, then one key a name, skipping, taking back; kept at once."""

from __future__ import annotations

import re

import pytest
from browsing import CHROMIUM, keep, serious_faults
from running import running
from test_labels import plant  # noqa: F401 - a fixture

from reason_iad.naming.store import load_examples

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")


@pytest.fixture
def page(browser, plant, tmp_path):  # noqa: F811
    with running(tmp_path / "home", data=plant) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 860})
        opened = context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.goto(f"{address}/label?category=bracket")
        opened.wait_for_selector("#work:not([hidden])", timeout=20000)
        yield opened
        context.close()
    assert faults == []


def shown(page) -> str:
    return page.inner_text("#image")


def said(page, words: str) -> None:
    expect(page.locator("#said")).to_contain_text(words, timeout=20000)


def test_names_are_given_by_one_key_each_and_taken_back(page):
    assert load_examples("bracket").counts == {}
    expect(page.locator("#picture")).to_have_attribute("src", re.compile("^blob:"), timeout=20000)
    first = shown(page)
    page.fill("#type", "scratch")  # nothing has a name yet: the first is written
    page.keyboard.press("Enter")
    said(page, "scratch: 1")
    assert load_examples("bracket").counts == {"scratch": 1}  # in the profile at once
    expect(page.locator("#image")).not_to_have_text(first, timeout=20000)
    second = shown(page)
    assert page.inner_text("#keys li") == "1: scratch (1)"
    keep(page, "label")

    page.locator("#main").focus()
    page.keyboard.press("1")
    said(page, "scratch: 2")
    assert load_examples("bracket").counts == {"scratch": 2}
    expect(page.locator("#image")).not_to_have_text(second, timeout=20000)

    page.keyboard.press("u")
    said(page, "Taken back")
    assert load_examples("bracket").counts == {"scratch": 1}
    expect(page.locator("#image")).to_have_text(second, timeout=20000)
    page.keyboard.press("s")  # another time
    expect(page.locator("#image")).not_to_have_text(second, timeout=20000)
    page.keyboard.press("1")
    expect(page.locator("#image")).to_have_text("Nothing waits for a name", timeout=20000)
    assert load_examples("bracket").counts == {"scratch": 2}


def test_a_letter_that_is_typed_into_a_field_names_nothing(page):
    page.fill("#type", "dent")
    page.keyboard.press("Enter")
    said(page, "dent: 1")
    page.focus("#type")
    page.keyboard.type("u1s")
    assert page.input_value("#type") == "u1s"
    assert load_examples("bracket").counts == {"dent": 1}


def test_axe_finds_no_serious_fault(page):
    assert serious_faults(page) == []
