"""Promise 2: anyone stops the run at any time, without a reason; every process of the trainer stops, willing or not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.live import PYTHON, Live, machines, wait_for
from tenth.cli import pull

PROMISE = 2
STATUS = "kept"

BEATS = {"beat.leader", "beat.0", "beat.1", "beat.2", "beat.3"}


def beats(run: Live) -> dict[str, str]:
    return {path.name: path.read_text() for path in (run.path / "work").glob("beat.*")}


def started(run: Live) -> dict[str, str]:
    """Wait until the leader and its four children are all at work."""

    def all_moving() -> bool:
        before = beats(run)
        time.sleep(0.02)
        now = beats(run)
        return set(now) == BEATS and all(now[name] != before.get(name) for name in BEATS)

    wait_for(all_moving, "five processes at work")
    return beats(run)


def stands_still(run: Live) -> None:
    """Nothing of the tree computes: what the supervisor says is not asked."""
    before = beats(run)
    time.sleep(0.15)
    assert beats(run) == before


@pytest.mark.parametrize("busy", ["0", "1"], ids=["sleeping", "spinning"])
@pytest.mark.parametrize("machine", machines())
def test_a_pull_stops_a_tree_that_ignores_every_signal(live: Callable[..., Live], machine: str, busy: str) -> None:
    run = live(trainer="stubborn.py", machine=machine, env={"BUSY": busy}).start()
    run.consent()
    started(run)
    answer = run.pull()
    stands_still(run)
    assert answer["status"]["stance"] == "HALTED"
    assert answer["processes"] >= 5
    assert run.last("pulled")["frozen"] is True
    assert answer["stopped_ms"] < 1000, "the figure is for the benchmark; this says that it was not by patience"
    again = run.pull()
    assert again["status"]["stance"] == "HALTED"
    stands_still(run)
    # And it goes on from there, all five, after everyone's consent.
    run.say("reopened", "ada")
    run.consent("ada")
    stands_still(run)
    run.consent("bob")
    run.until("RUNNING")
    started(run)
    run.pull()
    stands_still(run)


@pytest.mark.parametrize("machine", machines())
def test_a_pull_in_the_moment_of_the_start_holds_too(live: Callable[..., Live], machine: str) -> None:
    """The launcher is there and its trainer not yet: it must not begin after the stop."""
    run = live(trainer="stubborn.py", machine=machine, env={"EAGER": "1"}).start()
    for delay in (0, 0.01, 0.02, 0.03, 0.05):
        status = run.until("GATE", gate=0)
        last = [run.sign("consented", name, status) for name in status["waiting_for"]]
        for envelope in last:
            run.submit(envelope)
        wait_for(lambda: run.status()["stance"] == "RUNNING", "the lease")
        time.sleep(delay)
        asked = time.monotonic()
        run.pull()
        assert time.monotonic() - asked < 1
        stands_still(run)
        run.kill_trainer()  # so that it starts again, and is not thawed
        wait_for(lambda: not run.marked(), "it to be gone")
        run.say("reopened", "ada")


def hung(live: Callable[..., Live], machine: str) -> tuple[Live, Path]:
    """A run that trains while its supervisor waits for a disk: until the file is removed."""
    run = live(trainer="stubborn.py", machine=machine)
    run.begin().start(fault={"at": 0, "how": "stuck"})
    run.consent()
    started(run)
    stuck = run.path.with_name("stuck")
    stuck.touch()
    # Two seconds after the last time the meter is written again.
    wait_for(lambda: not answers(run), "the supervisor to wait for its disk")
    return run, stuck


def answers(run: Live) -> bool:
    with run.connect() as sock:
        sock.settimeout(0.5)
        sock.sendall(b'{"do":"status"}\n')
        try:
            return bool(sock.recv(1))
        except TimeoutError:
            return False


@pytest.mark.parametrize("machine", machines())
def test_a_disk_that_hangs_does_not_hold_up_the_cord(live: Callable[..., Live], machine: str) -> None:
    """The supervisor waits for the log to be durable; its thread that listens waits for nothing."""
    run, stuck = hung(live, machine)
    with run.connect() as sock, sock.makefile("rb") as lines:
        asked = time.monotonic()
        sock.sendall(b'{"do":"pull","name":"lin"}\n')
        assert json.loads(lines.readline()) == {"on": "stopped"}
        assert time.monotonic() - asked < 1
        stands_still(run)
        stuck.unlink()
        answer = json.loads(lines.readline())
    assert answer["status"]["stance"] == "HALTED"
    assert answer["stopped_ms"] < 1000, "when it stood still, not when that was on record"
    assert run.last("pulled")["frozen"] is True
    run.say("reopened", "ada")
    run.consent()
    started(run)


def test_a_supervisor_that_has_stopped_the_trainer_may_take_its_time_to_write_that_down(
    live: Callable[..., Live],
) -> None:
    run, stuck = hung(live, machines()[0])
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(pull.stop, str(run.path), "lin")
        time.sleep(pull.ANSWER_SECONDS + 0.5)
        stands_still(run)
        assert not stopping.done()
        stuck.unlink()
        text, facts = stopping.result(20)
    assert facts["killed"] is False
    assert "nothing is lost" in text


NAMES: list[Any] = ["lin", "ada", None, "somebody", "", "\ud800", "x" * 10_000, 7, ["ada"], "\x1b[31mred", "é"]


def test_anyone_may_pull_and_say_any_name(live: Callable[..., Live]) -> None:
    run = live(trainer="stubborn.py").start()
    for number, name in enumerate(NAMES):
        run.run_to("RUNNING")
        wait_for(lambda: len(beats(run)) == 5, "the trainer")
        answer = run.pull(name)
        assert answer["status"]["stance"] == "HALTED", name
        stands_still(run)
        assert run.events().count("pulled") == number + 1, "and it is on record"


def test_a_pull_is_never_refused_while_the_run_is_open(live: Callable[..., Live]) -> None:
    run = live(evidence=[("panel", [PYTHON, "code/panel.py", "hang"])]).start()
    run.until("GATE", gate=0)
    run.pull()
    run.until("HALTED")
    run.pull()
    run.run_to("RUNNING")
    run.pull()
    run.run_to("GATHERING", gate=1)
    wait_for(run.evidence_runs, "the evidence command")
    answer = run.pull()
    assert answer["status"]["stance"] == "HALTED"
    assert not run.evidence_runs(), "evidence is stopped too"
    assert run.events().count("pulled") == 4
    run.say("closed", "ada")
    assert run.ended() == 0


def test_a_closed_run_has_nothing_to_stop(live: Callable[..., Live]) -> None:
    run = live().start()
    run.until("GATE")
    run.say("closed", "bob")
    assert run.ended() == 0
    assert run.marked() == []
    assert run.entries()[-1]["body"]["outcome"] == "abandoned"
    run.start(answer=False)
    assert run.ended() == 0, "a closed run stays closed"
    assert run.events()[-1] == "closed"


def test_pulls_from_many_at_once_are_all_answered(live: Callable[..., Live]) -> None:
    run = live(trainer="stubborn.py").start()
    run.consent()
    started(run)
    socks = [run.connect() for _ in range(20)]
    for sock in socks:
        sock.sendall(b'{"do":"pull","name":"lin"}\n')
    for sock in socks:
        with sock, sock.makefile("rb") as lines:
            assert next(line for line in lines if b'"on"' not in line[:5]).startswith(b'{"ok": true')
    stands_still(run)
    assert run.events().count("pulled") == 20


@pytest.mark.parametrize("what", ["progress", "sample"])
@pytest.mark.parametrize("machine", [machines()[0], machines()[-1]])
def test_a_trainer_that_floods_its_channel_does_not_hold_up_the_cord(
    live: Callable[..., Live], machine: str, what: str
) -> None:
    """It is stopped at once: by the pull, or by the supervisor, who takes a flood for what it is."""
    run = live(trainer="flood.py", machine=machine, env={"WHAT": what}).start()
    run.consent()
    wait_for(lambda: run.status()["stance"] != "GATE", "the lease")
    for _ in range(5):
        asked = time.monotonic()
        run.pull()
        assert time.monotonic() - asked < 1
        run.run_to("RUNNING")
        time.sleep(0.1)
    run.pull()
