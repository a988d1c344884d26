"""Promise 6: the trainer dies with its supervisor; silence is never consent."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from core.live import PYTHON, Live, machines, wait_for
from tenth.state import TABLE, Stance

PROMISE = 6
STATUS = "kept"

AT_ONCE = 1.0
"""Seconds."""


def gone(run: Live) -> None:
    wait_for(lambda: not run.marked(), "every process of the trainer to be gone", AT_ONCE)


def at_work(run: Live) -> None:
    run.run_to("RUNNING")
    wait_for(lambda: len(list((run.path / "work").glob("beat.*"))) == 5 and len(run.marked()) >= 5, "its children")


@pytest.mark.parametrize("machine", machines())
def test_kill_9_of_the_supervisor_kills_the_whole_tree(live: Callable[..., Live], machine: str) -> None:
    run = live(trainer="stubborn.py", machine=machine).start()
    at_work(run)
    run.kill9()
    gone(run)
    before = len(run.entries())
    run.start()
    after = run.entries()[before:]
    assert (after[0]["event"], after[0]["body"]["reason"]) == ("tripped", "lost_supervisor"), "before anything else"
    assert run.status()["stance"] == "HALTED"
    run.run_to("RUNNING")


@pytest.mark.parametrize("machine", machines())
def test_kill_9_of_the_supervisor_kills_a_frozen_tree_too(live: Callable[..., Live], machine: str) -> None:
    run = live(trainer="stubborn.py", machine=machine).start()
    at_work(run)
    assert run.pull()["status"]["frozen"]
    run.kill9()
    gone(run)
    run.start()
    assert run.status()["stance"] == "HALTED"
    run.say("reopened", "ada")
    run.until("GATE")
    assert run.dossier()["frozen"] is False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_that_is_asked_to_leave_takes_the_trainer_along(live: Callable[..., Live], how: int) -> None:
    run = live(trainer="stubborn.py").start()
    at_work(run)
    assert run.process is not None
    run.process.send_signal(how)
    run.process.wait(10)
    assert run.marked() == []
    assert run.last("tripped")["reason"] == "lost_supervisor"
    run.start()
    assert run.events().count("tripped") == 1


def test_a_gate_that_promised_a_thaw_is_tripped_when_the_frozen_trainer_is_lost(live: Callable[..., Live]) -> None:
    run = live(trainer="stubborn.py").start()
    at_work(run)
    run.pull()
    run.say("reopened", "ada")
    run.until("GATE")
    run.consent("ada")
    run.kill9()
    gone(run)
    run.start()
    assert run.status()["stance"] == "HALTED"
    assert run.last("tripped")["reason"] == "lost_supervisor"


def test_evidence_dies_with_the_supervisor(live: Callable[..., Live]) -> None:
    run = live(evidence=[("slow", [PYTHON, "code/panel.py", "hang"])], env={"STEPS": 10}).start()
    run.run_to("GATHERING", gate=1)
    wait_for(run.evidence_runs, "the evidence command")
    run.kill9()
    wait_for(lambda: not run.evidence_runs(), "it to be gone", AT_ONCE)


def test_a_killed_trainer_halts_the_run(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 100, "PAUSE": 0.05}).start()
    run.consent()
    wait_for(lambda: run.status()["claims"], "its first word")
    run.kill_trainer()
    run.until("HALTED")
    assert run.last("tripped")["reason"] == "crash"


@pytest.mark.parametrize("how", ["mute", "sleep"])
def test_a_silent_trainer_is_stopped(live: Callable[..., Live], how: str) -> None:
    run = live(trainer="glutton.py", env={"HOW": how}, silence_seconds=1).start()
    run.consent()
    run.until("HALTED")
    assert run.last("tripped")["reason"] == "silence"
    assert run.marked() == []


def test_no_arrow_but_everyones_consent_leads_into_running() -> None:
    into = [name for name, rule in TABLE.items() if rule.target is Stance.RUNNING]
    assert into == ["leased"]
    assert {guard.__name__ for guard in TABLE["leased"].guards} >= {"everyone", "nobody_objects", "this_dossier"}


def test_silence_is_never_consent(live: Callable[..., Live]) -> None:
    """However long nobody speaks; the law knows no clock, and a run that is left and taken up again waits on."""
    run = live().start()
    run.until("GATE", gate=0)
    run.consent("ada")
    before = run.events()
    time.sleep(1.2)
    assert run.events() == before
    run.stop()
    run.start()
    assert run.status()["waiting_for"] == ["bob"], "what ada said is kept, and what bob did not say is not made up"
    time.sleep(0.3)
    assert run.status()["stance"] == "GATE"
    run.consent("bob")
    run.until("GATE", gate=1)


def test_while_nobody_watches_a_run_that_asks_for_watchers_stands_still(live: Callable[..., Live]) -> None:
    run = live(trainer="stubborn.py", unwatched="wait", env={"BUSY": "1"}).start()
    run.consent()
    run.until("RUNNING")
    wait_for(lambda: run.status()["unwatched"] and run.status()["frozen"], "it to be frozen")
    spent = run.status()["spent"]["device_seconds"]
    time.sleep(0.3)
    assert run.status()["spent"]["device_seconds"] <= spent + 0.05
    with run.connect() as watcher:
        watcher.sendall(b'{"do":"watch","name":"nobody"}\n')
        time.sleep(0.3)
        assert run.status()["unwatched"], "nobody is not somebody of the charter"
    with run.connect() as watcher:
        watcher.sendall(b'{"do":"watch","name":"lin"}\n')
        wait_for(lambda: not run.status()["frozen"], "it to go on")
        wait_for(lambda: run.status()["spent"]["device_seconds"] > spent + 0.1, "it to compute")
    wait_for(lambda: run.status()["frozen"], "it to be frozen again")
    assert run.pull()["status"]["stance"] == "HALTED"
