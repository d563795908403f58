"""A real Chromium for the tests of the pages, pictures of what it shows, and what axe-core says of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
SHOTS = os.environ.get("REASON_IAD_SCREENSHOTS")  # a folder: keep pictures of every view, to look at


def keep(page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def serious_faults(page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found if v["impact"] in ("serious", "critical")]
