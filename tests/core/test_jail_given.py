"""The jail that a supervisor gives to its trainer: stopped with it, metered with it, gone with it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.live import PYTHON, Live, machines, wait_for


def jail_of(run: Live) -> list[int]:
    """Process ids of everything that runs in the jail, found by its environment and by kinship."""
    mark, found = f"HOME={run.path}/.jail".encode(), set()
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.add(pid)
        except OSError:
            continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def seconds_of(pids: list[int]) -> float:
    """Processor seconds of those that are still there."""
    total = 0.0
    for pid in pids:
        try:
            total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:
            continue
    return total / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("machine", machines())
def test_programs_run_beside_the_trainer_and_end_with_it(live: Callable[..., Live], machine: str) -> None:
    run = live(trainer="jailed.py", jail=2, machine=machine, env={"STEPS": 60}).start()
    run.run_to("GATE", gate=1)
    assert json.loads(run.result()) == [["returned", [str(step * step)]] for step in range(6)]
    assert jail_of(run) == []
    run.consent()
    run.until("GATE", gate=2)


def test_a_trainer_that_does_not_use_it_leaves_no_error_in_its_log(live: Callable[..., Live]) -> None:
    """Of several phases maybe one plays; the others end without a look at the jail, before it is ready or after."""
    run = live(jail=2, env={"STEPS": 20, "PAUSE": 1.0}).start()
    run.run_to("GATE", gate=1)
    assert jail_of(run) == []
    assert "Traceback" not in (run.path / "trainer.log").read_text()


@pytest.mark.parametrize("machine", machines())
def test_a_pull_stops_the_jail_too_and_a_thaw_lets_it_go_on(live: Callable[..., Live], machine: str) -> None:
    run = live(trainer="jailed.py", jail=1, machine=machine, env={"STEPS": 100, "SPIN": 0.05}).start()
    run.consent()
    wait_for(lambda: run.status()["claims"].get("step"), "the first program to end")
    run.pull()
    inside = jail_of(run)
    assert inside
    before = seconds_of(inside)
    time.sleep(0.5)
    assert seconds_of(inside) == before
    status = run.until("HALTED")
    assert status["spent"]["device_seconds"] >= before  # it is metered
    run.say("reopened", "ada")
    run.consent()
    run.until("GATE", gate=1)
    assert json.loads(run.result()) == [["returned", [str(step * step)]] for step in range(10)]


def test_evidence_has_a_jail_of_its_own(live: Callable[..., Live]) -> None:
    run = live(evidence=[("jailed", [PYTHON, "code/panel.py", "jailed"])], jail=1, env={"STEPS": 10}).start()
    run.run_to("GATE", gate=1)
    assert json.loads((run.path / "gates/01/evidence/jailed/summary.json").read_text()) == {"answer": 42}
    assert jail_of(run) == []


def test_a_trainer_that_needs_its_jail_no_more_goes_on(live: Callable[..., Live]) -> None:
    run = live(trainer="jailed.py", jail=1, env={"STEPS": 10, "LINGER": 4}).start()
    run.run_to("GATE", gate=1)
    assert "tripped" not in run.events()


def test_a_jail_that_ends_trips_the_run(live: Callable[..., Live]) -> None:
    run = live(trainer="jailed.py", jail=1, env={"STEPS": 20, "SPIN": 2}).start()
    run.consent()
    wait_for(lambda: "zygote.py" in " ".join(map(_line, jail_of(run))), "the zygote to begin")
    for pid in jail_of(run):
        if "zygote.py" in _line(pid):
            os.kill(pid, signal.SIGKILL)
    run.until("HALTED")
    assert run.last("tripped")["reason"] == "crash"
    assert jail_of(run) == []


def test_a_jail_dies_with_its_supervisor(live: Callable[..., Live]) -> None:
    run = live(trainer="jailed.py", jail=1, env={"STEPS": 20, "SPIN": 5}).start()
    run.consent()
    wait_for(lambda: jail_of(run), "the jail to begin")
    run.kill9()
    wait_for(lambda: not jail_of(run), "the jail to end")


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
