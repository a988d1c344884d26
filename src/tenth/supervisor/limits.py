"""What trips a running trainer: too much compute, memory, output, too many processes, a false claim, silence.

The kernel holds some of it at once (quarantine/launch.py, and the group of a leash); all of it is looked at here, in
between. Does not protect against: what is written or taken between two looks.
"""

from __future__ import annotations

import os
import time

from tenth.charter import Compute, Quarantine
from tenth.quarantine import sandbox
from tenth.supervisor.gathering import MOST_FILES, Trip, size
from tenth.supervisor.rundir import RunDir
from tenth.supervisor.trainee import Trainee

TICK = 0.1
"""Metering interval, seconds: compute passes the ceiling by at most this much wall time (promise 4)."""
METERED_EVERY = 2.0
RESERVE_SECONDS = 10.0
"""Per core: what is written ahead of the meter, and charged if the supervisor is lost."""
CLAIM_MARGIN = 1.3
"""How far the trainer's own count may lie above what the meter says was possible: the 30 % of C(2025) 7719, annex."""
EXIT_SECONDS = 30.0
"""How long a trainer may take to end after it said that it is done."""


def compute(spent: Compute, limit: Compute, ceiling: Compute) -> None:
    """The lease's end, whatever the trainer says (promise 4)."""
    for name, value in spent.record().items():
        if value > limit.record()[name]:
            reason = "ceiling" if limit.record()[name] >= ceiling.record()[name] else "lease"
            raise Trip(reason, f"{name} {value:g} of {limit.record()[name]:g}")


def reserve(spent: Compute, limit: Compute) -> float:
    """Device-seconds that a crash from here on is charged."""
    return min(limit.device_seconds, round(spent.device_seconds + RESERVE_SECONDS * (os.cpu_count() or 1), 3))


def conduct(trainee: Trainee, agreed: Quarantine, peak: float) -> None:
    """What is looked at in every metering interval, beside the compute."""
    claim(trainee, peak)
    silence(trainee, agreed)
    crowd(trainee, agreed)
    if any(jail.poll() for jail in trainee.child.trees[1:]):  # it ends well once the trainer has closed its ends
        raise Trip("crash", "the jail beside the trainer ended; its last words are in trainer.log")


def claim(trainee: Trainee, peak: float) -> None:
    """The trainer's own count of FLOP, against device-seconds times the measured peak of a device (FLOP/s)."""
    possible = (trainee.child.device_seconds() + 1) * peak  # a second, for what the meter has not seen yet
    if trainee.flop > CLAIM_MARGIN * possible:
        raise Trip("claim", f"{trainee.flop:g} FLOP are claimed, and at most {possible:g} were possible")


def silence(trainee: Trainee, agreed: Quarantine) -> None:
    now = time.monotonic()
    if now - trainee.heard > agreed.silence_seconds:
        raise Trip("silence", f"the trainer said nothing for {now - trainee.heard:.0f} s")
    if trainee.done_at and now - trainee.done_at > EXIT_SECONDS:
        raise Trip("silence", f"the trainer said it was done, and was still there {EXIT_SECONDS:g} s later")


def crowd(trainee: Trainee, agreed: Quarantine) -> None:
    """Looked at often: a tree that is let grow cannot be stopped in time."""
    if len(trainee.child.leash.processes()) > agreed.processes:
        raise Trip("limit", f"more than {agreed.processes:,} processes")


def room(trainee: Trainee, agreed: Quarantine, run: RunDir) -> None:
    """How many it is, how much memory it holds, how much it wrote; and does it use what it was granted?"""
    nodes = [sandbox.DEVICES / f"nvidia{number}" for number in agreed.gpus]
    if nodes and trainee.progress and not trainee.child.leash.opens(nodes):
        raise Trip("claim", "accelerators were granted, and the trainer makes steps without any")
    threads, memory = trainee.child.leash.room()
    written = size(run.work, MOST_FILES) + (run.path / "trainer.log").stat().st_size
    for what, found, most in (
        ("processes and threads", threads, agreed.processes),
        ("bytes of memory", memory, agreed.memory_bytes),
        (f"bytes or {MOST_FILES:,} files in its work folder and trainer.log", written, agreed.output_bytes),
    ):
        if found > most:
            raise Trip("limit", f"more than {most:,.0f} {what}")
