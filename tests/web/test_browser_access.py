"""For everybody: axe-core finds nothing on any page, light or dark, large or small; every step works by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.live import Live
from web.served import Person, Served, poll

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PHONE = {"width": 390, "height": 844}


def findings(page: Any) -> list[str]:
    """What axe-core calls serious or critical, and whatever else breaks WCAG A or AA."""
    page.evaluate(AXE.read_text())
    found = page.evaluate(f"axe.run({{runOnly: {{type: 'tag', values: {RULES!r}}}}})")["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical") or "best-practice" not in one["tags"]]
    return [f"{one['id']}: {node['html'][:160]} ({node['failureSummary']})" for one in grave for node in one["nodes"]]


@pytest.fixture
def halted(live: Callable[..., Live]) -> Live:
    """A run with samples, evidence, a halt, and a gate that waits."""
    panel = "import os, pathlib; (pathlib.Path(os.environ['TENTH_OUT']) / 'summary.json').write_text("
    panel += '\'{"headline": "h", "metrics": {"x": 1.5, "x_error": 0.2}, "tables": {"t": [{"a": 1, "b": "two"}]}}\')'
    run = live(env={"STEPS": 400}, samples_per_minute=60_000, evidence=[("panel", ["python3", "-c", panel])]).start()
    run.consent()
    run.until("GATE", gate=1)
    run.ask(do="pull", name="lin")
    run.say("reopened", "ada")
    run.until("GATE", gate=1)
    return run


def test_no_findings_by_axe(halted: Live, serve: Callable[..., Served], person: Callable[..., Person]) -> None:
    served = serve(halted)
    ada = person(served, "ada")
    page = ada.page
    for theme, size in (("light", None), ("dark", PHONE)):
        page.emulate_media(color_scheme=theme)
        if size:
            page.set_viewport_size(size)
        for path in ("/", f"/r/{halted.name}", f"/r/{halted.name}/gate", f"/r/{halted.name}/log", "/r/none"):
            if path in ("/", "/r/none") and size:
                continue
            page.goto(served.origin + path)
            page.wait_for_timeout(300)
            if path.endswith("gate"):
                page.evaluate("document.querySelectorAll('details:not([name])').forEach((one) => { one.open = true; })")
                page.locator("[data-act=consent] > summary").click()
            if path.endswith("log"):
                page.locator(".events .show").first.click()
                page.locator(".verdict[data-holds=true]").wait_for()
            assert findings(page) == [], f"{path}, {theme}"
            wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide[0] <= wide[1], f"{path} scrolls sideways at {wide[1]} pixels"
    missing = [words for words in ada.complaints if "404" in words]
    assert len(missing) == 1, "the page that is none answers so"
    ada.complaints = [words for words in ada.complaints if words not in missing]


def test_everything_by_keyboard(halted: Live, serve: Callable[..., Served], person: Callable[..., Person]) -> None:
    served = serve(halted)
    ada = person(served, "ada")
    page = ada.page

    def to(words: str, most: int = 60) -> None:
        """Tab until the focus is on what bears these words, and can be seen to be there."""
        for _ in range(most):
            page.keyboard.press("Tab")
            said = page.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent).trim()"
            )
            if words in said:
                ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert ring != "none", f"no focus is shown on {words}"
                return
        raise AssertionError(f"Tab does not lead to {words}")

    to(halted.name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/gate")
    to("Pull the cord")
    to("Consent")
    page.keyboard.press("Enter")
    assert page.locator("[data-act=consent]").get_attribute("open") is not None
    page.goto(f"{served.origin}/r/{halted.name}")
    poll(page, "document.querySelectorAll('.sample').length > 3")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press(" ")
    page.locator(".sample[data-verdict=fine]").wait_for()
    page.keyboard.press("d")
    page.get_by_text("nothing was written to this prompt").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".sample[aria-current]").count() == 0
    page.goto(f"{served.origin}/r/{halted.name}/log")
    to("prove entry")
    page.keyboard.press("Enter")
    page.locator(".verdict[data-holds=true]").wait_for()
