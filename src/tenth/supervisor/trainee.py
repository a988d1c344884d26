"""The trainer as the supervisor sees it: a tree on a leash, a channel of claims, a meter that runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenth.gate.history import History
from tenth.gate.lease import Lease
from tenth.quarantine import sandbox
from tenth.supervisor.channel import Channel
from tenth.supervisor.child import Child, cell
from tenth.supervisor.rundir import OPEN, RunDir


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
        recipe, theirs = self._frame["recipe"], self.channel.theirs.fileno()
        command = [recipe if word == phase.recipe else word for word in phase.command]
        self.child = Child(run, command, _cell(run, history, theirs, self._frame), name, [theirs])
        self.channel.theirs.close()

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

    def freeze(self) -> int:
        self.frozen = True
        return self.child.freeze()

    def thaw(self) -> None:
        self.frozen, self.heard = False, time.monotonic()
        self.child.thaw()

    def close(self) -> None:
        self.child.close()
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


def _cell(run: RunDir, history: History, channel: int, frame: Mapping[str, Any]) -> sandbox.Cell:
    phase, quarantine = history.tenth.phase, history.charter.quarantine
    limits = {name: getattr(quarantine, name) for name in ("loopback", "processes", "memory_bytes", "output_bytes")}
    seen = [Path(frame["recipe"]), Path(frame["data"]), *run.shown()]
    env = {**phase.env, "TENTH_FD": str(channel)}
    return cell(run, [*phase.data, *phase.command], run.work, seen, env, **limits)
