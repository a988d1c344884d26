"""Ten tabs and one stream: the cord acts, a lost connection loses nothing, a server that starts again is found."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from core.live import Live, wait_for
from web.served import Person, Served, poll

TABS = 10


def streaming(live: Callable[..., Live], **more: Any) -> Live:
    run = live(env={"STEPS": 60_000, "PAUSE": 0.01}, samples_per_minute=60_000, **more)
    run.start()
    run.consent()
    run.until("RUNNING")
    return run


def test_the_cord_acts_with_ten_tabs_open(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    run = streaming(live)
    served = serve(run)
    lin = person(served, "lin")
    tabs = [lin.tab(f"/r/{run.name}", wait="commit") for _ in range(TABS)]
    for tab in tabs:
        poll(tab, "Number(document.querySelector('#samples-count').dataset.seen) > 0", 60)
        lin.until(tab, "cord live", ".cord-state", 60)
    tabs[-1].locator("button.pull").click()
    lin.until(tabs[-1], "ms after you pressed", ".cord-state")
    for tab in tabs:
        lin.until(tab, "halted")
    took = float(tabs[-1].locator("#cord").get_attribute("data-took"))
    assert took < 2_000  # how fast it is, benchmarks/control_room.py measures; here it must act at all
    assert run.last("pulled")["by"]["name"] == "lin"


def test_nothing_is_missed_when_the_server_starts_again(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    run = streaming(live)
    served = serve(run)
    ada = person(served, "ada")
    page = ada.tab(f"/r/{run.name}")
    poll(page, "Number(document.querySelector('#samples-count').dataset.seen) > 3")
    page.evaluate(
        """window.seqs = new Set();
        const seen = (row) => window.seqs.add(Number(row.id.slice(1)));
        const look = () => document.querySelectorAll('.sample').forEach(seen);
        new MutationObserver(look).observe(document.querySelector('#samples'), {childList: true, subtree: true});"""
    )
    served.stop()
    poll(page, "document.body.hasAttribute('data-lost')")
    ada.until(page, "cord not live", ".cord-state")
    before = sum(1 for _ in run.path.glob("samples/*.jsonl"))
    wait_for(lambda: run.status()["claims"], "the trainer to go on without a control room")
    page.wait_for_timeout(1_500)
    served.start()
    poll(page, "!document.body.hasAttribute('data-lost')")
    last = page.evaluate("Math.max(...window.seqs)")
    poll(page, f"Math.max(...window.seqs) > {last + 20}")
    ada.until(page, "cord live", ".cord-state")
    seqs = page.evaluate("[...window.seqs].sort((a, b) => a - b)")
    assert seqs == list(range(seqs[0], seqs[-1] + 1)), "a sample was missed or came twice"
    assert before >= 1


def test_the_cord_works_while_the_pages_server_is_stuck(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    run = streaming(live)
    served = serve(run)
    lin = person(served, "lin")
    page = lin.tab(f"/r/{run.name}")
    lin.until(page, "cord live", ".cord-state")
    assert served.process is not None
    os.kill(served.process.pid, signal.SIGSTOP)
    try:
        page.keyboard.press("p")
        lin.until(page, "ms after you pressed", ".cord-state")
    finally:
        os.kill(served.process.pid, signal.SIGCONT)
    assert run.status()["stance"] == "HALTED"


def test_a_supervisor_that_does_not_answer_is_killed_from_any_of_many_tabs(
    live: Callable[..., Live], serve: Callable[..., Served], person: Callable[..., Person]
) -> None:
    """Questions about whether the cord is live hang then, in every tab; none may stand in the pull's way."""
    run = streaming(live)
    served = serve(run)
    lin = person(served, "lin")
    tabs = [lin.tab(f"/r/{run.name}", wait="commit") for _ in range(7)]
    for tab in tabs:
        lin.until(tab, "cord live", ".cord-state", 60)
    assert run.process is not None
    os.kill(run.process.pid, signal.SIGSTOP)
    lin.until(tabs[0], "cord not live", ".cord-state", 20)
    tabs[3].keyboard.press("p")
    lin.until(tabs[3], "did not answer and was killed", ".cord-state", 20)
    assert float(tabs[3].locator("#cord").get_attribute("data-took")) < 10_000
    assert run.process.wait(5) == -signal.SIGKILL
    wait_for(lambda: not run.marked(), "the trainer to die with its supervisor")
    lin.until(tabs[5], "no supervisor holds it", "#stand")
