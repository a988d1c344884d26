#!/usr/bin/env python3
"""Take the pictures of the control room for the documents, of a run: `picture_control_room.py RUN LINK PAGE...`.

LINK is what `tenth serve` prints. A PAGE is NAME=live, NAME=gate, NAME=log or NAME=runs, with +dark or +phone after it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PATHS = {"runs": "/", "live": "/r/{run}", "gate": "/r/{run}/gate", "log": "/r/{run}/log"}
DESK, PHONE = (1240, 780), (390, 760)


def main() -> None:
    run, link, *pages = sys.argv[1:]
    base = f"{urlsplit(link).scheme}://{urlsplit(link).netloc}"
    browser_path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(link)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{base}/")
        for words in pages:
            name, _, what = words.partition("=")
            kind, *ways = what.split("+")
            width, height = PHONE if "phone" in ways else DESK
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme="dark" if "dark" in ways else "light")
            page.goto(base + PATHS[kind].format(run=run))
            page.wait_for_timeout(4_000)
            page.screenshot(path=OUT / f"{name}.png")
            print(OUT / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
