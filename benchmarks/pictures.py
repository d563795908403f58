"""Make the pictures of the documentation with Chromium: a report, a batch, the page, and the figure.

    python benchmarks/pictures.py --out docs/images

Inspects the demo's images with the bundled model, starts `reason-iad serve`, and works on its page as a person would.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, sync_playwright

DEMO = Path(__file__).parent.parent / "src" / "reason_iad" / "data" / "demo"
SHOWN = "tablet_crack.jpg"


def main() -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--demo", type=Path, help="where `reason-iad demo --out` wrote; run anew if not given")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("found no Chromium; on Debian: apt-get install chromium", file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        demo = args.demo or Path(folder) / "demo"
        if args.demo is None:
            subprocess.run([sys.executable, "-m", "reason_iad.cli.app", "demo", "--out", str(demo)], check=True)
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        stem = Path(SHOWN).stem
        shoot(browser, (demo / f"{stem}.html").resolve().as_uri(), args.out / "report.png")
        shoot(browser, (demo / "index.html").resolve().as_uri(), args.out / "batch.png", height=880)
        shutil.copy(demo / f"{stem}.png", args.out / "figure.png")
        on_the_page(browser, Path(folder), args.out / "page.png")
        browser.close()
    return 0


def shoot(browser: Browser, address: str, target: Path, height: int = 1000) -> None:
    """Keep what a window shows of a page."""
    page = browser.new_page(viewport={"width": 1240, "height": height})
    page.goto(address)
    page.screenshot(path=target)
    page.close()


def on_the_page(browser: Browser, data: Path, target: Path) -> None:
    """Inspect an image on the page of a server, ask about it, and keep what that looks like."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "reason_iad.cli.app", "serve", "--port", str(port), "--data", str(data / "record")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        entry = next(e for e in json.loads((DEMO / "demo.json").read_text())["images"] if e["image"] == SHOWN)
        page: Any = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#file", DEMO / SHOWN)
        page.select_option("#category", entry["category"])
        page.set_input_files("#references", [DEMO / name for name in entry["references"]])
        page.click("#go")
        page.wait_for_selector("#verdict-word", timeout=300_000)
        page.fill("[aria-label='Question about this image']", "Is there any damage on the tablet?")
        page.fill("[aria-label^='Answers to choose']", "Yes; No")
        page.keyboard.press("Enter")
        page.wait_for_selector(".talk .bars", timeout=300_000)
        page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
        page.wait_for_selector("#pairs canvas")
        page.screenshot(path=target)
    finally:
        server.terminate()
        server.wait(60)


def wait_until_ready(url: str, seconds: float = 300) -> None:
    """Wait for the model of a server.

    Raises:
        TimeoutError: it took too long.
    """
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"the server at {url} was not ready within {seconds:g} s")


if __name__ == "__main__":
    sys.exit(main())
