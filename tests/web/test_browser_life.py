"""The whole life of a run through the page: watch, pull, reopen, review, object, consent with a key file, close."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.live import Live
from web.served import Person, Served, poll


def hand_in(page: Any, envelope: Any, folder: Path) -> None:
    """What was signed with a key file elsewhere, through the page."""
    file = folder / "signed.json"
    file.write_text(json.dumps(envelope))
    page.locator("[data-act=elsewhere] > summary").click()
    page.evaluate("document.querySelector('.said').textContent = ''")
    page.locator("input[type=file]").set_input_files(file)
    poll(page, "document.querySelector('.said').textContent")
    said = page.locator(".said").inner_text()
    assert said.startswith("It stands in the log as entry"), said
    page.locator("[data-act=elsewhere] > summary").click()


def test_a_life(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person], tmp_path: Path
) -> None:
    run = live(env={"STEPS": 3000, "PAUSE": 0.02}, samples_per_minute=1200)
    run.start()
    run.until("GATE")
    served = serve(run)
    ada = person(served, "ada")

    # the list says whom the run waits for, and leads to its gate
    ada.until(ada.page, "waiting for ada and bob", ".run")
    (run.path / "alarms.jsonl").write_text("{}\n")  # a watcher beside the run keeps what it raises there
    ada.until(ada.page, "waiting for ada and bob; alarms: 1", ".run")
    ada.page.locator(".run").click()
    page = ada.page
    page.wait_for_url("**/gate")
    ada.until(page, "Gate 0 of 10", "h2")
    said = [" ".join(text.split()) for text in page.locator(".people li").all_inner_texts()]
    assert said == ["ada has not spoken", "bob has not spoken"]

    # an objection through the page, then a consent that takes it back: the people change without a reload
    status = run.status()
    hand_in(page, run.sign("objected", "bob", status, note="<b>not yet</b>"), tmp_path)
    ada.until(page, "bob objected")
    ada.until(page, "objects", "[data-said=objected]")
    hand_in(page, run.sign("consented", "bob", status), tmp_path)
    ada.until(page, "waiting for ada")
    hand_in(page, run.sign("consented", "ada", status), tmp_path)
    ada.until(page, "training")

    # watch: samples come by themselves, escapes spelled out
    page.get_by_role("link", name="Live").click()
    page.locator(".sample").first.wait_for()
    seen = int(page.locator("#samples-count").get_attribute("data-seen") or 0)
    poll(page, f"Number(document.querySelector('#samples-count').dataset.seen) > {seen + 3}")
    assert "\\x1b[31mpass" in page.locator(".sample pre").first.inner_text()

    # review: choose, flag with a note, by keys alone
    page.keyboard.press("j")
    page.locator(".sample[aria-current]").wait_for()
    page.keyboard.press("f")
    page.locator(".sample[data-verdict=flag]").wait_for()
    page.keyboard.press("n")
    page.keyboard.type("odd, pull?")  # its letters are no keys
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert run.status()["stance"] == "RUNNING"

    # pull with one key: nothing is asked, and the time is measured
    ada.until(page, "cord live", ".cord-state")
    page.keyboard.press("p")
    ada.until(page, "ms after you pressed", ".cord-state")
    ada.until(page, "halted")
    assert run.last("pulled")["by"]["name"] == "ada"
    assert float(page.locator("#cord").get_attribute("data-took") or 1e9) < 5_000

    # reopen with a key file, and see the new dossier say what happened and what was flagged
    run.say("reopened", "bob")
    page.get_by_role("link", name="Gate").click()
    ada.until(page, "waiting for ada and bob")
    page.reload()
    ada.until(page, "pulled the cord", ".alarm")
    ada.until(page, "stands frozen in the middle of its tenth", "#changes")
    ada.until(page, "odd, pull?", "#reviews")
    assert page.locator("#sign code").first.text_content() == f"tenth consent {run.name}"

    # the log, each entry proved in the browser; then everything verified
    page.get_by_role("link", name="Log").click()
    page.locator(".events .show").first.click()
    page.locator(".verdict[data-holds=true]").wait_for()
    page.get_by_role("button", name="Verify everything").click()
    ada.until(page, "It verifies", "#verified", 30)

    # abandon: the page says that it is over
    assert page.locator("#cord").get_attribute("data-over") == "false"
    run.say("closed", "ada")
    ada.until(page, "closed")
    page.locator("#cord[data-over=true]").wait_for()
