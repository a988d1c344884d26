"""The real supervisor, turned by hand: a test decides what happens between two turns of its loop.

``python by_hand.py RUN_DIR STORY MACHINE`` tells one of the stories below in a process of its own (a supervisor adopts
orphans, so it must not live in the test's), and prints what it came to as one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from odd_supervisor import make_odd

from tenth.encoding import decode
from tenth.gate import statement
from tenth.keys import SigningKey
from tenth.log.entry import timestamp
from tenth.quarantine import sandbox
from tenth.supervisor import people
from tenth.supervisor.control import Stop
from tenth.supervisor.loop import Supervisor
from tenth.supervisor.rundir import RunDir


class ByHand:
    """A supervisor, and a person at its socket who says the one consent that is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.supervisor = Supervisor(RunDir.find(path))
        self.person = self.connect()
        self.sign("consented")

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

    def sign(self, event: str) -> None:
        """Sign and submit, as the one signatory."""
        anchor = self.supervisor.history.state.anchor
        facts: dict[str, Any] = {"run": self.path.name, "signatory": "ada", "anchor": anchor}
        facts["time"] = timestamp(time.time())
        if event == "consented":
            path = [entry["body"]["path"] for entry in self.entries() if entry["event"] == "sealed"][-1]
            dossier = decode((self.path / path / "dossier.json").read_bytes())
            facts["subjects"] = statement.subjects_of(anchor, dossier)
        key = SigningKey.load(self.path.parent / "ada")
        self.say(do="submit", envelope=statement.sign(event, key=key, **facts))

    def state(self) -> dict[str, Any]:
        state, trainee = self.supervisor.history.state, self.supervisor.trainee
        return {
            "stance": state.stance.value,
            "gate": state.gate,
            "frozen": trainee is not None and trainee.frozen,
            "claims": trainee.claims() if trainee else {},
        }

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / "log" / "entries.jsonl").read_bytes().splitlines()]

    def trainer_leaves(self) -> None:
        """Wait, without a turn of the loop, until the trainer has ended by itself."""
        trainee = self.supervisor.trainee
        assert trainee is not None
        wait_for_end(trainee.child.leash.pid)


def state_of(pid: int) -> str:
    """As proc(5) has it; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if state_of(pid) in ("Z", ""):
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
    now = time.perf_counter()
    hand.supervisor.pull("lin", 0, Stop(now, None, now))


def pulled_between_two_ends(hand: ByHand) -> None:
    """The trainer has ended, whoever holds it for the supervisor not yet; the pull comes in between."""
    hand.turn_until(lambda: hand.state()["claims"])
    trainee = hand.supervisor.trainee
    assert trainee is not None
    holder = trainee.child.leash.pid
    os.kill(holder, signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while [pid for pid in trainee.child.leash.processes() if state_of(pid) not in ("Z", "")]:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    threading.Timer(0.05, os.kill, (holder, signal.SIGCONT)).start()  # no process: it would be taken for an orphan
    hand.say(do="pull", name="lin")
    hand.turn_until(lambda: hand.state()["stance"] == "HALTED")
    wait_for_end(holder)
    hand.sign("reopened")
    hand.turn_until(lambda: hand.state()["stance"] == "GATE")
    hand.sign("consented")
    hand.turn_until(lambda: hand.state()["gate"] == 1)


def killed_while_unwatched(hand: ByHand) -> None:
    """Frozen because nobody watches, then killed from outside: seen at the latest when somebody watches again."""
    hand.turn_until(lambda: hand.state()["frozen"])
    trainee = hand.supervisor.trainee
    assert trainee is not None
    for pid in (*trainee.child.leash.processes(), trainee.child.leash.pid):
        with contextlib.suppress(ProcessLookupError):  # the first one takes its namespace with it
            os.kill(pid, signal.SIGKILL)
    wait_for_end(trainee.child.leash.pid)
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


def begun(hand: ByHand) -> tuple[int, int]:
    """The trainer's launcher and the child that it has forked, which takes its time to enter its group."""
    late = sandbox.LAUNCHER.read_text().replace(
        "    try:\n        if door", "    __import__('time').sleep(1)\n    try:\n        if door"
    )
    assert "sleep(1)" in late
    sandbox.LAUNCHER = hand.path.with_name("late.py")
    sandbox.LAUNCHER.write_text(late)
    hand.turn_until(lambda: hand.supervisor.trainee)
    trainee = hand.supervisor.trainee
    assert trainee is not None
    launcher, deadline = trainee.child.leash.pid, time.monotonic() + 10
    while not (children := Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()):
        assert time.monotonic() < deadline
    return launcher, int(children[0])


def launcher_killed_as_it_began(hand: ByHand) -> None:
    """By whoever may: what it had forked is in no group yet, and goes on."""
    launcher, child = begun(hand)
    os.kill(launcher, signal.SIGKILL)
    hand.turn_until(lambda: hand.state()["stance"] == "HALTED")
    wait_for_end(child)


def tripped_as_it_began(hand: ByHand) -> None:
    """The supervisor itself kills all before anybody has entered the group."""
    _, child = begun(hand)
    hand.supervisor.trip("crash", "in this very moment")
    assert state_of(child) in ("Z", "")


STORIES: dict[str, Callable[[ByHand], None]] = {
    one.__name__: one
    for one in (
        pulled_as_it_left,
        pulled_when_it_was_heard_to_be_done,
        pulled_between_two_ends,
        killed_while_unwatched,
        spun_while_unwatched,
        launcher_killed_as_it_began,
        tripped_as_it_began,
    )
}


def main(path: Path, story: str, oddity: str) -> None:
    make_odd(json.loads(oddity))
    hand = ByHand(path)
    signal.alarm(30)
    try:
        STORIES[story](hand)
        print(json.dumps({**hand.state(), "events": [entry["event"] for entry in hand.entries()]}), flush=True)
    finally:
        signal.alarm(0)
        hand.supervisor.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
