"""Promise 8: what was acknowledged is durable: kill -9 or a full disk at any write loses no decision."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.live import Gone, Live
from tenth.errors import BrokenPromise

PROMISE = 8
STATUS = "kept"

STEPS = 60
SEEDS = range(12)
AT_ONCE = 4
"""Runs that are held at the same time: most of what they do is wait."""


def uninterrupted(tenths: int) -> bytes:
    """The checkpoint of the steady trainer after so many tenths, if nothing ever happened to it."""
    state = "start"
    for step in range(STEPS * tenths // 10):
        state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
    return state.encode()


def ends_as_if_nothing_had_happened(run: Live, *, whole: bool) -> None:
    """To the end of the run, or (which takes less time) to the end of the tenth that comes next."""
    gate = None
    with contextlib.suppress(Gone):  # everyone had consented at the last gate: it closes as soon as it is back
        gate = run.status()["gate"]
    if whole or gate is None:
        run.finish()
    else:
        run.run_to("GATE", gate=min(gate + 1, 10))
        run.stop()
    all_is_well(run)
    assert run.result() == uninterrupted(run.last("reached")["gate"])


def all_is_well(run: Live) -> None:
    """After a crash, before anybody mends anything: both verifiers say that the run holds, and nothing is lost."""
    said = run.audit()
    assert not isinstance(said, BrokenPromise), said
    run.check_acknowledged()


def go_on_until_it_dies(run: Live, seconds: float) -> None:
    """Say yes to everything, for so long or until the supervisor is gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and run.alive:
        try:
            run.act(run.status())
        except Gone:
            break
        except AssertionError:
            if run.alive:
                raise


def at_random_moments(run: Live, seed: int) -> None:
    dice = random.Random(seed)
    run.start()
    for _ in range(3):
        go_on_until_it_dies(run, dice.random() * 0.8)
        victims = {"trainer": run.marked(), "supervisor": [run.process.pid] if run.process else []}
        who = dice.choice(["trainer", "supervisor", "both"])
        for kind in ("trainer", "supervisor") if who == "both" else (who,):
            for pid in victims[kind]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        if who != "trainer":
            assert run.process is not None
            run.process.wait(10)
            all_is_well(run)
            run.start()
    ends_as_if_nothing_had_happened(run, whole=seed % 6 == 0)


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(live: Callable[..., Live]) -> None:
    runs = [live(env={"STEPS": STEPS, "PAUSE": 0.003}) for _ in SEEDS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(at_random_moments, runs, SEEDS))


def at_each_call(run: Live, how: str, first: int, last: int, step: int) -> None:
    """Start the supervisor again and again; each time it dies at a later one of the calls that change files."""
    run.begin()
    for at in range(first, last, step):
        run.start(fault={"at": at, "how": how}, answer=False)
        go_on_until_it_dies_or_comes_up(run)
        all_is_well(run)
    run.start()
    ends_as_if_nothing_had_happened(run, whole=first == 1)


def go_on_until_it_dies_or_comes_up(run: Live) -> None:
    until = time.monotonic() + 20
    while run.alive and time.monotonic() < until:
        try:
            status = run.status()
            run.act(status)
            if status["stance"] == "CLOSED":
                break
        except Gone:
            time.sleep(0.004)
    assert run.process is not None
    run.process.wait(10)


@pytest.mark.parametrize("how", ["kill", "torn", "after"])
def test_killed_at_each_write_it_ends_as_if_it_had_not_been(live: Callable[..., Live], how: str) -> None:
    runs = [live(env={"STEPS": STEPS, "PAUSE": 0.001}) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda run, first: at_each_call(run, how, first, 34, 3), runs, (1, 2, 3)))


def disk_full(run: Live, first: int) -> None:
    run.begin()
    for at in range(first, 30, 4):
        run.start(fault={"at": at, "how": "full"}, answer=False)
        go_on_until_it_dies_or_comes_up(run)
        assert run.process is not None
        assert run.process.returncode == 1
        assert "free some space" in run.said()
        assert "Traceback" not in run.said()
        assert run.marked() == []
        all_is_well(run)
    run.start()
    ends_as_if_nothing_had_happened(run, whole=first == 1)


def test_a_full_disk_ends_the_run_cleanly_and_it_goes_on_when_there_is_space(live: Callable[..., Live]) -> None:
    runs = [live(env={"STEPS": STEPS, "PAUSE": 0.001}) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(disk_full, runs, range(1, 5)))


def test_a_torn_end_is_cut_off_and_said_so(live: Callable[..., Live]) -> None:
    run = live().start()
    run.until("GATE", gate=0)
    run.consent("ada")
    run.stop()
    before = run.entries()
    for name, rubbish in (("entries.jsonl", b'{"body":{"torn'), ("heads", f"tenth/{run.name}\n9\nab".encode())):
        with (run.path / "log" / name).open("ab") as file:
            file.write(rubbish)
    said = run.audit()
    assert not isinstance(said, BrokenPromise)
    assert len(said.notes) == 2
    run.start()
    assert "mended" in run.said()
    assert run.status()["consents"] == ["ada"]
    assert run.entries() == before


def test_a_damaged_log_is_refused_and_left_alone(live: Callable[..., Live]) -> None:
    run = live().start()
    run.until("GATE", gate=0)
    run.stop()
    path = run.path / "log" / "entries.jsonl"
    data = path.read_bytes()
    damaged = data.replace(b'"event":"sealed"', b'"event":"sealeD"')
    path.write_bytes(damaged)
    run.start(answer=False)
    assert run.ended() == 5
    assert path.read_bytes() == damaged
    assert "not what was signed" in run.said()
    path.write_bytes(data)


def test_two_supervisors_on_one_run_are_refused(live: Callable[..., Live]) -> None:
    run = live().start()
    run.until("GATE", gate=0)
    first, before = run.process, run.events()
    assert first is not None
    run.start(answer=False)
    assert run.ended() == 1
    assert "has a supervisor already" in run.said()
    assert str(first.pid) in run.said()
    run.process = first
    assert run.status()["stance"] == "GATE", "the first one did not notice"
    assert run.events() == before
    run.consent()
    run.until("GATE", gate=1)
