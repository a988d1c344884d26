"""Promise 3: a pull costs nothing: after unanimous consent the run continues bit for bit."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable

import pytest

from core.live import Live, machines, wait_for

PROMISE = 3
STATUS = "kept"

STEPS = 120


def unpulled(steps: int = STEPS, upto: int | None = None) -> bytes:
    """The final checkpoint of the steady trainer, computed here."""
    state = "start"
    for step in range(steps if upto is None else upto):
        state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
    return state.encode()


def sampled_steps(run: Live) -> list[int]:
    """Steps of the samples on record, in order: the steady trainer samples every fifth step, once."""
    shards = [entry["body"]["path"] for entry in run.entries() if entry["event"] == "sampled"]
    lines = [line for path in shards for line in (run.path / path).read_text().splitlines()]
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize("machine", machines())
def test_pulled_in_every_other_tenth_the_run_ends_as_if_it_had_not_been(
    live: Callable[..., Live], machine: str
) -> None:
    dice = random.Random(machine)
    run = live(machine=machine, env={"STEPS": STEPS, "PAUSE": 0.006, "CHILDREN": 3}).start()
    pulls = 0
    for gate in range(0, 10, 2):
        run.run_to("RUNNING", gate=gate)
        time.sleep(dice.random() * 0.1)
        status = run.pull()["status"]
        pulls += status["gate"] == gate
        if status["frozen"] and gate < 5:
            run.say("reopened", "bob")
            assert run.until("GATE")["frozen"]
            run.pull()  # a gate at which a frozen trainer waits may be pulled, too
    run.finish()
    assert run.result() == unpulled()
    assert pulls == 5
    frozen = [entry for entry in run.entries() if entry["event"] == "pulled" and entry["body"]["frozen"]]
    thawed = [e for e in run.entries() if e["event"] == "leased" and e["body"]["lease"]["resume"] == "thaw"]
    assert len(frozen) >= len(thawed) >= 3, "it was thawed, not started again"
    assert sampled_steps(run) == list(range(0, STEPS, 5)), "no step was trained twice"


def test_a_frozen_trainer_waits_at_the_gate_without_computing(live: Callable[..., Live]) -> None:
    run = live(trainer="stubborn.py", env={"BUSY": "1"}).start()
    run.consent()
    wait_for(lambda: len(list((run.path / "work").glob("beat.*"))) == 5, "its children")
    spent = run.pull()["status"]["spent"]["device_seconds"]
    run.say("reopened", "ada")
    run.until("GATE")
    time.sleep(0.3)
    assert run.status()["spent"]["device_seconds"] <= spent + 0.05
    assert run.dossier()["frozen"] is True
    assert run.dossier()["proposal"]["lease"]["resume"] == "thaw"
    assert [halt["event"] for halt in run.dossier()["halts"]] == ["pulled"]


@pytest.mark.parametrize("when", ["halted", "at the gate", "supervisor, too"])
def test_if_the_frozen_tree_is_lost_the_run_goes_back_to_its_last_checkpoint(
    live: Callable[..., Live], when: str
) -> None:
    run = live(env={"STEPS": STEPS, "PAUSE": 0.01, "CHILDREN": 2}).start()
    run.run_to("RUNNING", gate=2)
    wait_for(lambda: len(run.marked()) >= 3, "its children")
    assert run.pull()["status"]["frozen"]
    if when == "at the gate":
        run.say("reopened", "ada")
        run.until("GATE")
    if when == "supervisor, too":
        run.kill9()
        wait_for(lambda: not run.marked(), "the tree to be gone")
        run.start()
    run.kill_trainer()
    wait_for(lambda: not run.marked(), "the tree to be gone")
    run.finish()
    assert run.result() == unpulled()
    last = [e["body"]["lease"] for e in run.entries() if e["event"] == "leased" and e["body"]["lease"]["gate"] == 3][-1]
    assert last["resume"] == "checkpoint"


def test_an_adjustment_lets_the_frozen_trainer_go(live: Callable[..., Live]) -> None:
    """It has read the recipe of before: it must not be thawed under the new one."""
    run = live(env={"STEPS": STEPS, "PAUSE": 0.01}).start()
    run.run_to("RUNNING", gate=1)
    assert run.pull()["status"]["frozen"]
    run.say("adjusted", "ada", patch={"recipe": {"optim.lr": 0.25}})
    status = run.until("GATE", gate=1)
    assert not status["frozen"]
    assert run.marked() == []
    assert run.dossier()["proposal"]["lease"]["resume"] == "checkpoint"
    run.consent()
    run.until("GATE", gate=2)


def test_pulled_while_its_checkpoint_is_sealed_loses_nothing(live: Callable[..., Live]) -> None:
    run = live(trainer="heavy.py", env={"MEGABYTES": 512}).start()
    run.consent()
    wait_for(lambda: "leased" in run.events(), "the lease")
    wait_for(lambda: (run.path / "work" / "count").exists() and not run.marked(), "the trainer to leave")
    status = run.pull()["status"]
    assert (status["stance"], status["gate"]) == ("HALTED", 0), "hashing half a gigabyte takes longer than this"
    run.say("reopened", "ada")
    run.until("GATE", gate=0)
    run.consent()
    run.until("GATE", gate=1)
    assert (run.path / "work" / "count").read_text() == "1", "it was not trained again"
    assert run.last("reached")["gate"] == 1
    run.say("closed", "ada")
    run.ended()


def test_pulled_when_it_had_just_said_that_it_was_done_loses_nothing(live: Callable[..., Live]) -> None:
    """Whatever the moment between the last frame and the end of the process, the tenth is not trained again."""
    dice = random.Random(3)
    run = live(env={"STEPS": 50, "PAUSE": 0.001}).start()
    for gate in range(10):
        run.run_to("RUNNING", gate=gate)
        time.sleep(0.06 + dice.random() * 0.03)
        run.pull()
        run.run_to("GATE")
    run.finish()
    assert run.result() == unpulled(50)
    assert sampled_steps(run) == list(range(0, 50, 5)), "no step was trained twice"
