"""A run in which one hostile trainer follows the other, under one real supervisor, and what each came to.

Its processes are found by a mark in their environment, and by a limit that the kernel hands down to every child and
lets nobody raise: a program that empties its environment is found all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.live import PYTHON, Live, Status, audit, wait_for
from tenth.errors import BrokenPromise

PROGRAMS = Path(__file__).with_name("programs")
CORES = len(os.sched_getaffinity(0))
LEASE = 0.25 * CORES
"""Device-seconds of one lease, roughly."""
MOST_OVER = 0.25 * CORES
"""Device-seconds that 250 ms of wall time can hold: what may pass the ceiling (promise 4)."""
UNQUIET = 0.5 * CORES
"""What a busy test machine may add to it, by not letting the supervisor run."""
OUTPUT_BYTES, PROCESSES, MEMORY_BYTES = 20_000_000, 150, 300_000_000


@dataclass(frozen=True)
class Outcome:
    """What became of one program."""

    ended: str
    """Reason of the trip, or ``reached`` when the tenth was trained and nothing was gained."""
    detail: str
    limit: float
    """Of its lease, device-seconds on the run's total."""
    spent: float
    """By the supervisor's meter, the same."""
    before: float
    burnt: float
    """By the program's own account, device-seconds of this lease."""
    loot: dict[str, Any]
    """What it wrote into its checkpoint about its attempts."""

    @property
    def gains(self) -> list[str]:
        """Attempts that were not refused."""
        return [f"{name}: {said}" for name, said in self.loot.items() if "Error" not in str(said)]


class Arena(Live):
    """A live run whose trainer is ``act.py``. Its charter leaves little room, so that every limit is soon met."""

    @classmethod
    def of(
        cls, folder: Path, machine: str | None = None, memory_bytes: int = MEMORY_BYTES, **options: Any
    ) -> Arena:  # fmt: skip
        # A lease is twice its even share of the ceiling; there are a hundred.
        given = {"device_seconds": 50 * LEASE, "every": 100, "silence_seconds": 4.0, **options}
        arena = cls(folder, machine=machine, command=[PYTHON, "hostile/act.py"], **given)
        arena.output_bytes = OUTPUT_BYTES + os.getpid() % 10_000 * 100 + len(machine or "")
        arena.memory_bytes = memory_bytes
        return arena

    def charter(self) -> str:
        room = {"processes": PROCESSES, "memory_bytes": self.memory_bytes, "output_bytes": self.output_bytes}
        lines = "".join(f"{name} = {value}\n" for name, value in room.items())
        return super().charter().replace("[quarantine]\n", f"[quarantine]\n{lines}")

    def begin(self) -> Live:
        self.env = {**self.env, "PYTHONPATH": str(self.root / "code")}
        shutil.copytree(PROGRAMS, self.root / "hostile", ignore=shutil.ignore_patterns("__pycache__"))
        return super().begin()

    def marked(self) -> list[int]:
        found = set(super().marked())
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            try:
                limits = Path(f"/proc/{pid}/limits").read_text()
                dead = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            if f"Max file size {self.output_bytes} " in " ".join(limits.split()) and not dead:
                found.add(pid)
        return sorted(found)

    def send_in(self, program: str, **facts: Any) -> Status:
        """Consent to a lease for this program; the status of the gate before. ``levels`` of folders are dug for it."""
        status = self.run_to("GATE")
        self._sweep()
        if levels := facts.get("levels"):
            dig(self.path / "work" / "deep", levels)
        (self.root / "act.json").write_text(json.dumps({"program": program, **facts}, default=str))
        self.consent()
        return status

    def let(self, program: str, **facts: Any) -> Outcome:
        """Send it in and wait for its end; whatever must hold of any program is asserted here."""
        before = self.send_in(program, **facts)
        status = wait_for(lambda: self._end_after(before), f"an end of {program}: {self.said()[-500:]}")
        left = self.marked()
        assert left == [], "nothing of it is left running"
        assert self.alive, self.said()
        assert "Traceback" not in self.said(), self.said()
        outcome = self._outcome(before, status)
        assert outcome.spent <= outcome.limit + MOST_OVER + UNQUIET
        assert outcome.burnt <= outcome.limit - outcome.before + MOST_OVER + UNQUIET, "by its own account"
        said = audit(self.path)
        assert not isinstance(said, BrokenPromise), said
        return outcome

    def _end_after(self, before: Status) -> Status | None:
        status = self.status()
        over = status["stance"] == "HALTED" or (status["stance"] == "GATE" and status["gate"] > before["gate"])
        return status if over else None

    def _outcome(self, before: Status, status: Status) -> Outcome:
        halted = status["stance"] == "HALTED"
        last, lease = self.last("tripped" if halted else "reached"), self.last("leased")["lease"]
        loot = {} if halted else self.loot()
        return Outcome(
            ended=last["reason"] if halted else "reached",
            detail=str(last.get("detail", "")),
            limit=lease["device_seconds"],
            spent=last["spent"]["device_seconds"],
            before=before["spent"]["device_seconds"],
            burnt=self.burnt(),
            loot=loot,
        )

    def loot(self) -> dict[str, Any]:
        path = self.path / self.last("reached")["checkpoint"]["path"] / "loot"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def burnt(self) -> float:
        path = self.path / "work" / "tally"
        words = memoryview(path.read_bytes()).cast("Q") if path.exists() else []
        return sum(words) / 1e9

    def _sweep(self) -> None:
        """Empty the work folder of whatever it holds, folders without end included, and what was printed."""
        if (self.path / "trainer.log").exists():
            os.truncate(self.path / "trainer.log", 0)
        found = [str(path) for path in (self.path / "work").iterdir()]
        subprocess.run(["rm", "-rf", "--", *found], check=True)

    def close(self) -> None:
        super().close()
        if self.begun:
            self._sweep()


def dig(folder: Path, levels: int) -> None:
    """Folders in folders, as many as asked."""
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        above, at = at, os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(above)
    os.close(at)


@contextlib.contextmanager
def outside(folder: Path) -> Iterator[dict[str, Any]]:
    """Things outside that are worth reaching."""
    with ExitStack() as stack:

        def server(family: int, kind: int, address: Any) -> Any:
            one = stack.enter_context(socket.socket(family, kind))
            one.bind(address)
            if kind == socket.SOCK_STREAM:
                one.listen()
            return one.getsockname()

        bystander = subprocess.Popen(["sleep", "600"])
        stack.callback(bystander.wait)
        stack.callback(bystander.kill)
        abstract = f"tenth-hostile-{os.getpid()}"
        server(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract)
        yield {
            "tcp": server(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))[1],
            "udp": server(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))[1],
            "unix": server(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "host.sock")),
            "abstract": abstract,
            "bystander": bystander.pid,
            "marker": str(folder / "unpickled"),
        }


def facts(run: Arena, world: dict[str, Any]) -> dict[str, Any]:
    """What a program is told about the world: the worst is that it knows everything."""
    assert run.process is not None
    if "reached" not in run.events():
        run.let("reaching.uses_what_was_left_open")  # so that there is a sealed checkpoint
    status = run.run_to("GATE")
    names = ("supervisor.key", "supervisor.lock", "log/entries.jsonl", "log/heads", "charter.toml", "trainer.log")
    return {
        **world,
        "run": str(run.path),
        "supervisor": run.process.pid,
        "mark": "PYTEST_VERSION=",
        "key": str(run.path / "supervisor.key"),
        "secrets": [str(run.path / name) for name in names],
        "control": str(run.path / "control.sock"),
        "checkpoints": str(run.path / "checkpoints"),
        "sealed": run.last("sealed")["path"],
        "envelope": run.sign("consented", "bob", status),
    }
