"""A stand-in supervisor for tests: speaks docs/formats.md §8 over a socket pair; no log, no meter, no leash."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenth.client import Run
from tenth.client.channel import Channel
from tenth.client.lease import from_frame

SOURCE = Path(__file__).resolve().parents[2] / "src"


def write_listing(root: Path, listing: Path, leave_out: Iterable[str] = ()) -> Path:
    """A data listing of every file below `root`, less some."""
    rows = []
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name, content = path.relative_to(root).as_posix(), path.read_bytes()
        if name not in set(leave_out):
            rows.append({"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})
    rows.sort(key=lambda row: str(row["path"]).encode())
    listing.write_text("".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows))
    return listing


@dataclass
class Outcome:
    """What one lease brought."""

    status: int
    frames: list[dict[str, Any]]
    output: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["frame"] == kind]


@dataclass
class FakeSupervisor:
    """Runs a trainer command lease by lease in `run`; seals each checkpoint by moving it to checkpoints/NN."""

    run: Path
    recipe: Path
    data: Path
    root: Path
    of: int = 10
    samples_per_minute: float = 0
    prompts: tuple[str, ...] = ()
    seed: int = 1234
    epochs: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    gate: int = 0
    epoch: int = 1
    tenth: int = 1
    resume: Path | None = None
    position: dict[str, Any] | None = None
    phase: str = "pretrain"

    def __post_init__(self) -> None:
        self.work = self.run / "work"
        self.work.mkdir(parents=True, exist_ok=True)

    def lease(self) -> dict[str, Any]:
        return {
            "frame": "lease", "run": "fake-1", "gate": self.gate + 1, "phase": self.phase, "epoch": self.epoch,
            "epochs": self.epochs, "tenth": self.tenth, "of": self.of,
            "resume": None if self.resume is None else str(self.resume),
            "position": self.position, "work": str(self.work), "recipe": str(self.recipe), "data": str(self.data),
            "root": str(self.root), "samples_per_minute": self.samples_per_minute, "prompts": list(self.prompts),
            "device_seconds": 600.0, "flop": 1e18, "seed": self.seed,
        }  # fmt: skip

    def start(self, command: list[str]) -> tuple[subprocess.Popen[str], socket.socket]:
        """Start a trainer and answer its hello; the caller reads the rest."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        environment = os.environ | {"TENTH_FD": str(theirs.fileno()), "PYTHONPATH": str(SOURCE)} | self.environment
        process = subprocess.Popen(
            command, env=environment, pass_fds=(theirs.fileno(),), cwd=self.root, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        theirs.close()
        return process, ours

    def one_tenth(self, command: list[str] | None = None, seal: bool = True) -> Outcome:
        """One lease from start to exit; a checkpoint is sealed and the next lease goes on from it."""
        command = command or [sys.executable, "-m", "tenth.trainer", self.phase, self.recipe.name]
        process, ours = self.start(command)
        frames = []
        with process, ours, ours.makefile("rw", encoding="utf-8", newline="\n") as channel:
            for line in channel:
                assert len(line.encode()) <= 65_536
                frames.append(json.loads(line))
                if frames[-1]["frame"] == "hello":
                    channel.write(json.dumps(self.lease()) + "\n")
                    channel.flush()
                if frames[-1]["frame"] == "done":
                    break
            output, _ = process.communicate(timeout=120)
        outcome = Outcome(process.returncode, frames, output)
        if seal and outcome.of("done"):
            self._seal(outcome)
        return outcome

    def in_this_process(self, train: Callable[[Run], None]) -> Outcome:
        """The same in the test's own process, which has torch already: for tests of what a lease computes."""
        ours, theirs = socket.socketpair()
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.extend(ours.makefile("rb")))
        reader.start()
        channel = Channel(theirs)
        try:
            train(Run(from_frame(self.lease()), channel))
        finally:
            channel.close()
            reader.join()
            ours.close()
        outcome = Outcome(0, [json.loads(line) for line in received], "")
        if outcome.of("done"):
            self._seal(outcome)
        return outcome

    def go_on_to(self, phase: str, recipe: Path, data: Path) -> None:
        """From the next lease on it is another phase's first tenth."""
        self.phase, self.recipe, self.data = phase, recipe, data
        self.epoch, self.tenth, self.position = 1, 1, None

    def _seal(self, outcome: Outcome) -> None:
        self.gate += 1
        sealed = self.run / "checkpoints" / f"{self.gate:02d}"
        sealed.parent.mkdir(exist_ok=True)
        os.rename(self.work / outcome.of("saved")[0]["path"], sealed)
        self.resume, self.position = sealed, outcome.of("done")[0]["position"]
        self.tenth += 1
        if self.tenth > self.of:
            self.tenth, self.epoch, self.position = 1, self.epoch + 1, None
