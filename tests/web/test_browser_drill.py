"""A signatory with a passkey at a gate that is drilled: the drill first, the note of it, then the gate."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.planted import DRILL, SIZE
from core.live import Live
from tenth.drills import answers
from web.served import Person, Served
from web.test_browser_passkey import authenticator, give_passkey, make_passkey, speak


def test_a_passkey_answers_a_drill_and_puts_it_on_record(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person], tmp_path: Path
) -> None:
    waiting = live(signatories=("bob",)).begin()  # a run of somebody else: the server shows it meanwhile
    served = serve(waiting)
    ada = person(served, "ada")
    page = ada.page
    authenticator(ada, page)
    line = make_passkey(ada)

    run = live(evidence=[(name, [sys.executable, f"{name}.py"]) for name in ("drill", "size")], env={"STEPS": 20})
    run.root.mkdir(parents=True)
    (run.root / "drill.py").write_text(DRILL)
    (run.root / "size.py").write_text(SIZE)
    give_passkey(run, line)
    run.begin()
    run.start()
    run.until("GATE")
    moved = waiting.path.parent / run.name
    moved.symlink_to(run.path)
    page.goto(f"{served.origin}/")
    page.locator(f".run[data-run={run.name}]").click(timeout=20_000)
    page.wait_for_url("**/gate")
    assert speak(page, "consent").startswith("Signed.")
    run.consent("bob")
    run.until("GATE", gate=1)
    page.locator("#fresh a").click()

    ada.until(page, "the shadow speaks", "#evidence")
    assert "needs a note" in speak(page, "consent")
    assert spoken(page, "object") == ""
    ada.until(page, "You objected: found.", "#sign")
    page.get_by_role("button", name="Put it on record").click()
    ada.until(page, "the gate speaks", "#evidence")
    (answer,) = answers.on_record(entry["body"] for entry in run.entries() if entry["event"] == "noted")
    assert (answer.by, answer.found) == ("ada", True)
    assert answer.seconds is not None
    assert speak(page, "consent").startswith("Signed.")
    moved.unlink()
    expected = ("pubKeyCredParams", "409 (Conflict)")  # see test_browser_passkey, and the consent without a note
    ada.complaints = [words for words in ada.complaints if not any(one in words for one in expected)]


def spoken(page: Any, verb: str) -> str:
    """As ``speak``, where the page answers by something else than a line."""
    act = page.locator(f"[data-act={verb}]")
    act.locator("> summary").click()
    act.locator("button[type=submit]").click()
    return str(page.evaluate("document.querySelector('.said').textContent"))
