"""The trainer as the supervisor sees it: a tree on a leash, a channel of claims, a meter that runs; and its jail."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenth.gate.history import History
from tenth.gate.lease import Lease
from tenth.quarantine import sandbox
from tenth.quarantine.leash import Leash
from tenth.supervisor.channel import Channel
from tenth.supervisor.rundir import OPEN, RunDir

JAIL = (sys.executable, "-P", "-B", "-m", "tenth.jail")
"""What runs the programs that a model writes, if the charter asks for it; it ends by itself when an attack on it
succeeds. Nothing of it passes the supervisor (docs/decisions/0014)."""
JAIL_BYTES = 1 << 20
"""Of the folder that it may write to, and of what it prints."""


class Trainee:
    """One trainer process tree, from its spawn to its end."""

    def __init__(self, run: RunDir, history: History, lease: Lease, name: str, most: Mapping[str, float]) -> None:
        """Start it. ``most`` is what it is told it may still spend."""
        self.lease = lease
        self.channel = Channel()
        self.frozen = False
        self._born = self.heard = time.monotonic()
        self.progress: dict[str, Any] = {}
        self.samples = 0
        self.saved: str | None = None
        self.position: dict[str, Any] | None = None
        self.done_at: float | None = None
        phase = history.tenth.phase
        self._frame = _lease_frame(run, history, lease, most)
        recipe, channel = self._frame["recipe"], self.channel.theirs
        command = [recipe if word == phase.recipe else word for word in phase.command]
        with contextlib.ExitStack() as ends, (run.path / "trainer.log").open("ab") as output:
            pairs = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(history.charter.quarantine.jail)]
            for one in (channel, *(end for pair in pairs for end in pair)):
                ends.enter_context(one)
            asks, answers = ([pair[side].fileno() for pair in pairs] for side in (0, 1))
            cell = _cell(run, history, channel.fileno(), asks, self._frame)
            self.leash = Leash(command, cell, name, output, [channel.fileno(), *asks])
            self._trees = [self.leash]
            if answers:
                words = [*JAIL, *map(str, answers)]
                self._trees.append(Leash(words, _jail_cell(run), f"{name}-jail", output, answers))

    @property
    def flop(self) -> float:
        """Claimed since the start of this process."""
        return float(self.progress.get("flop", 0.0))

    def claims(self) -> dict[str, Any]:
        return {name: value for name, value in self.progress.items() if name != "frame"}

    def heed(self, frame: dict[str, Any]) -> None:
        """Note what a frame says."""
        self.heard = time.monotonic()
        match frame["frame"]:
            case "hello":
                self.channel.send(self._frame)
            case "progress":
                self.progress = frame
            case "sample":
                self.samples += 1
            case "saved":
                self.saved = frame["path"]
            case "done":
                self.position, self.done_at = frame["position"], time.monotonic()

    @property
    def flooding(self) -> bool:
        """Ten times the samples it was asked for, and a hundred more."""
        minutes = (time.monotonic() - self._born) / 60
        return self.samples > 100 + 10 * minutes * float(self._frame["samples_per_minute"])

    def device_seconds(self) -> float:
        """Its jail's included."""
        return sum(tree.device_seconds() for tree in self._trees)

    def freeze(self) -> int:
        """How many processes of the trainer itself stand still now."""
        self.frozen = True
        found, *_ = [tree.freeze() for tree in self._trees]
        return found

    def stirs(self) -> bool:
        return self.frozen and any(tree.stirs() for tree in self._trees)

    def jail_ended(self) -> bool:
        return any(tree.ended() for tree in self._trees[1:])

    def thaw(self) -> None:
        self.frozen, self.heard = False, time.monotonic()
        for tree in self._trees:
            tree.thaw()

    def close(self) -> None:
        for tree in self._trees:
            tree.close()
        self.channel.close()


def _lease_frame(run: RunDir, history: History, lease: Lease, most: Mapping[str, float]) -> dict[str, Any]:
    checkpoint = history.checkpoint if lease.resume != "fresh" else None
    folder = OPEN if history.sealed_checkpoint else "checkpoints"
    watch = history.charter.watch
    return {
        "frame": "lease",
        "run": history.run,
        **{name: lease.record()[name] for name in ("gate", "phase", "epoch", "tenth", "of")},
        "epochs": history.tenth.phase.epochs,
        "resume": str(run.path / folder / Path(checkpoint["path"]).name) if checkpoint else None,
        "position": history.position if lease.tenth > 1 else None,
        "work": str(run.work),
        "recipe": str(run.path / history.recipe_file()),
        "data": str(run.path / history.data_file()),
        "root": str(run.root),
        "samples_per_minute": watch.samples_per_minute,
        "prompts": list(watch.prompts),
        "seed": int(history.opened["nonce"][:8], 16),
        **most,
    }


def _jail_cell(run: RunDir) -> sandbox.Cell:
    """It sees nothing but programs of the system."""
    folder = run.path / ".jail"
    folder.mkdir(exist_ok=True)
    hidden = [*run.neighbours(), *sandbox.hidden_from_everyone()]
    return sandbox.Cell(
        writable=folder, readable=[], hidden=hidden, sealed=[], cwd=folder, env={}, output_bytes=JAIL_BYTES
    )


def _cell(run: RunDir, history: History, channel: int, jail: Sequence[int], frame: Mapping[str, Any]) -> sandbox.Cell:
    phase, quarantine = history.tenth.phase, history.charter.quarantine
    outside = sandbox.absolute([*phase.data, *phase.command])
    return sandbox.Cell(
        writable=run.work,
        readable=[run.root, *outside],
        hidden=[*run.neighbours(), *sandbox.hidden_from_everyone()],
        sealed=[Path(frame["recipe"]), Path(frame["data"]), *run.checkpoints(), *run.batches()],
        cwd=run.root,
        env={**phase.env, "TENTH_FD": str(channel), **({"TENTH_JAIL": ",".join(map(str, jail))} if jail else {})},
        loopback=quarantine.loopback,
        processes=quarantine.processes,
        memory_bytes=quarantine.memory_bytes,
        output_bytes=quarantine.output_bytes,
    )
