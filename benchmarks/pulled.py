"""One pull of a live run, seen from outside: when did each process of the trainer take its last step?"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from live import Live

COMMAND = ["python3", "code/spinning.py"]
PROCESSES = 5
STILL_SECONDS = 0.02
"""So long after the answer it is looked once more whether anything moved."""

Json = Any


class Clock:
    """The file in which every process of the trainer writes the time while it runs."""

    def __init__(self, run: Live) -> None:
        self._path = run.path / "work" / "clock"
        run.wait(lambda: self._path.exists() and self._path.stat().st_size == 8 * PROCESSES, "the trainer's clock")
        with self._path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self._run = run

    def read(self) -> list[int]:
        """Nanoseconds, one number for each process."""
        return list(self._words)

    def all_run(self) -> None:
        """Wait until every process has taken a step since now."""
        now = time.monotonic_ns()
        self._run.wait(lambda: min(self.read()) > now, "every process to run")


def begin(run: Live) -> Clock:
    """Start the run with its trainer."""
    Path(run.path / "work").mkdir(exist_ok=True)
    run.start().consent()
    clock = Clock(run)
    clock.all_run()
    return clock


def pull(clock: Clock, ask: Callable[[], Json]) -> Json:
    """``ask`` sends the request and returns the answer, and before that, the moment it was sent at.

    Times in milliseconds after that moment: ``answered``, and ``outside``, the last step of any process (0 if none
    took a step any more).
    """
    sent, answer = ask()
    answered = time.monotonic_ns()
    last = clock.read()
    time.sleep(STILL_SECONDS)
    if clock.read() != last:
        raise SystemExit("a process of the trainer ran on after the answer")
    outside = max(0, max(last) - sent) / 1e6
    return {"outside": outside, "answered": (answered - sent) / 1e6, "answer": answer, "last": last}


def go_on(run: Live, clock: Clock, last: list[int]) -> None:
    """Reopen, consent by all, thaw; nothing may have moved until then."""
    run.reopen()
    run.until("GATE")
    if clock.read() != last:
        raise SystemExit("a process of the trainer ran while the run was halted")
    run.consent()
    clock.all_run()
