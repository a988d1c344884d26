"""Promise 12: oversight costs less than 1 % of training time between gates.

The figure is a benchmark's. What holds it is tested here: the trainer waits for nobody, and nobody polls the trainer.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from core.live import Live, wait_for
from tenth.client import Run
from tenth.client.channel import Channel
from tenth.client.lease import from_frame

PROMISE = 12
STATUS = "kept"

LEASE = {
    "frame": "lease",
    "run": "deaf-1",
    "gate": 1,
    "phase": "pretrain",
    "epoch": 1,
    "tenth": 1,
    "of": 10,
    "resume": None,
    "position": None,
    "work": "/nowhere",
    "recipe": "/nowhere/recipe.toml",
    "data": "/nowhere/data.jsonl",
    "root": "/nowhere",
    "samples_per_minute": 0,
    "prompts": [],
    "device_seconds": 1.0,
    "flop": 1.0,
    "seed": 1,
}


def test_a_trainer_reports_to_a_supervisor_that_does_not_listen() -> None:
    """A hundred thousand reports, nobody reads one: none of them waits, and few of them are sent."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run = Run(from_frame(LEASE), Channel(theirs))
        began = time.monotonic()
        for _ in range(100_000):
            run.report(loss=1.0, tokens=128, flop=1e6, lr=0.1)
            run.advance()
        took = time.monotonic() - began
        assert took < 20, "it did not wait for an answer"
        ours.setblocking(False)
        frames = [json.loads(line) for line in ours.recv(1 << 20).splitlines()]
        assert 1 <= len(frames) <= 20 * took + 2
        assert all(frame["frame"] == "progress" for frame in frames)


def test_nothing_goes_down_to_the_trainer_but_its_lease(live: Callable[..., Live]) -> None:
    run = live(trainer="listener.py", env={"SECONDS": 0.7}).start()
    run.consent()
    run.until("GATE", gate=1)
    assert run.result() == b"0", "bytes that came down after the lease"


def test_the_supervisor_of_a_running_trainer_sleeps(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 1000, "PAUSE": 0.02}).start()
    run.consent()
    wait_for(lambda: run.status()["claims"], "the trainer's first word")
    assert run.process is not None
    before, began = _cpu(run.process.pid), time.monotonic()
    time.sleep(1.5)
    share = (_cpu(run.process.pid) - before) / (time.monotonic() - began)
    assert share < 0.15, "of one core, at 50 reports a second; the client sends at most 20"
    assert run.status()["stance"] == "RUNNING"


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
