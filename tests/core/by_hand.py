"""The real supervisor, turned by hand: a test decides what happens between two turns of its loop.

``python by_hand.py RUN_DIR STORY`` runs one of the stories below in a process of its own (a supervisor adopts orphans,
so it must not live in the test's), and prints what it came to as one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenth.supervisor import people
from tenth.supervisor.loop import Supervisor
from tenth.supervisor.rundir import RunDir


class ByHand:
    """A supervisor, and a person at its socket who says the one consent that is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.supervisor = Supervisor(RunDir.find(path))
        self.person = self.connect()
        self.say(do="submit", envelope=json.loads((path.parent / "consent.json").read_text()))

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        os.chdir(self.path)  # a socket's own path may have 107 bytes only
        sock.connect("control.sock")
        return sock

    def turn_until(self, there: Callable[[], Any], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, f"never came about; {self.state()}"
            self.supervisor.turn()

    def say(self, **request: Any) -> None:
        self.person.sendall(json.dumps(request).encode() + b"\n")

    def state(self) -> dict[str, Any]:
        status = people.status(self.supervisor)
        return {name: status[name] for name in ("stance", "gate", "frozen", "trainer")}

    def events(self) -> list[str]:
        lines = (self.path / "log" / "entries.jsonl").read_bytes().splitlines()
        return [json.loads(line)["event"] for line in lines]

    def trainer_leaves(self) -> None:
        """Wait, without a turn of the loop, until the trainer has ended by itself."""
        trainee = self.supervisor.trainee
        assert trainee is not None
        wait_for_end(trainee.leash.pid)


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.005)
    raise AssertionError("the trainer does not leave")


def pulled_as_it_left(hand: ByHand) -> None:
    """The trainer said that it was done and has ended; the supervisor hears of both, and of a pull, in one turn."""
    hand.turn_until(lambda: people.status(hand.supervisor)["claims"])
    hand.trainer_leaves()
    hand.say(do="pull", name="lin")
    hand.turn_until(lambda: hand.state()["stance"] == "HALTED")


def pulled_when_it_was_heard_to_be_done(hand: ByHand) -> None:
    """The last frame was heard, the process has ended, and the pull comes before that was seen."""
    trainee = lambda: hand.supervisor.trainee  # noqa: E731
    hand.turn_until(lambda: trainee() and trainee().position is not None)  # type: ignore[union-attr]
    hand.trainer_leaves()
    hand.supervisor.pull("lin", 0, time.perf_counter())


def killed_while_unwatched(hand: ByHand) -> None:
    """Frozen because nobody watches, then killed from outside: seen at the latest when somebody watches again."""
    hand.turn_until(lambda: hand.state()["frozen"])
    trainee = hand.supervisor.trainee
    assert trainee is not None
    for pid in (*trainee.leash.processes(), trainee.leash.pid):
        os.kill(pid, signal.SIGKILL)
    wait_for_end(trainee.leash.pid)
    for _ in range(5):
        hand.supervisor.turn()
    hand.say(do="watch", name="lin")
    hand.turn_until(lambda: hand.state()["stance"] == "HALTED")


def spun_while_unwatched(hand: ByHand) -> None:
    """Frozen with words in its channel that nobody reads: the loop must wait, not spin."""
    hand.turn_until(lambda: hand.state()["frozen"])
    before, until = time.process_time(), time.monotonic() + 1
    while time.monotonic() < until:
        hand.supervisor.turn()
    assert time.process_time() - before < 0.3, "the loop spins while the trainer is frozen"


STORIES = {
    one.__name__: one
    for one in (pulled_as_it_left, pulled_when_it_was_heard_to_be_done, killed_while_unwatched, spun_while_unwatched)
}


def main(path: Path, story: str) -> None:
    hand = ByHand(path)
    signal.alarm(30)
    try:
        STORIES[story](hand)
        print(json.dumps({**hand.state(), "events": hand.events()}), flush=True)
    finally:
        signal.alarm(0)
        hand.supervisor.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
