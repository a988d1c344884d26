"""A child in the quarantine, on a leash; and beside it, where the charter asks for one, a jail on a leash of its own.

A jail runs the programs that a model writes (docs/decisions/0014). Whoever is given one talks to it over inherited
sockets, and nothing of that passes the supervisor. It attacks itself first, and ends where an attack is not held.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenth.quarantine import sandbox
from tenth.quarantine.leash import Leash
from tenth.supervisor.rundir import RunDir

LAST = 400
"""Bytes of what a child printed at the end that are told when it fails."""
JAIL = (sys.executable, "-P", "-B", "-m", "tenth.jail")


class Child:
    """One untrusted process tree with its jail: stopped, metered and ended together."""

    def __init__(
        self, run: RunDir, command: Sequence[str], cell: sandbox.Cell, name: str, keep: Sequence[int] = ()
    ) -> None:
        """Start it; what it prints goes to ``trainer.log``, descriptors in ``keep`` are inherited."""
        with contextlib.ExitStack() as ends, (run.path / "trainer.log").open("ab") as output:
            self._log, self._begins = Path(output.name), output.tell()
            pairs = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(run.charter().quarantine.jail)]
            for end in (end for pair in pairs for end in pair):
                ends.enter_context(end)
            asks, answers = ([pair[side].fileno() for pair in pairs] for side in (0, 1))
            if asks:
                cell = replace(cell, env={**cell.env, "TENTH_JAIL": ",".join(map(str, asks))})
            self.leash = Leash(command, cell, name, output, [*keep, *asks])
            self.trees = [self.leash]
            """The child itself, and its jail if it has one."""
            if answers:
                self.trees.append(Leash([*JAIL, *map(str, answers)], _jail_cell(run), f"{name}-jail", output, answers))
        self._cell, self._gpus, self._gpu_seconds, self._looked = cell, len(cell.gpus), 0.0, time.monotonic()

    def device_seconds(self) -> float:
        """The jail's included; a granted accelerator counts while the child runs, whatever it does with it."""
        now = time.monotonic()
        self._gpu_seconds, self._looked = self._gpu_seconds + self._gpus * (now - self._looked), now
        return sum(tree.device_seconds() for tree in self.trees) + self._gpu_seconds

    def last_words(self) -> str:
        """The end of what it printed, in one line of printable text: its own words, to be believed as such."""
        with self._log.open("rb") as file:
            file.seek(max(self._begins, file.seek(0, os.SEEK_END) - LAST))
            said = file.read(LAST).decode("utf-8", "replace")
        return " ".join("".join(one if one.isprintable() else " " for one in said).split())

    def still(self) -> int:
        """Stop it, by any thread: how many processes of the child itself stand still now."""
        found, *_ = [tree.freeze() for tree in self.trees]
        return found

    def freeze(self) -> int:
        """As ``still``; and its accelerators run no more."""
        found = self.still()
        self._turn(0)
        return found

    def _turn(self, gpus: int) -> None:
        """From now on so many accelerators run."""
        self.device_seconds()
        self._gpus = gpus

    def thaw(self) -> None:
        self._turn(len(self._cell.gpus))
        for tree in self.trees:
            tree.thaw()

    def close(self) -> None:
        for tree in self.trees:
            tree.close()
        self._turn(0)


def cell(
    run: RunDir, words: Sequence[str], writable: Path, seen: Sequence[Path], env: Mapping[str, str], **limits: Any
) -> sandbox.Cell:
    """A child sees the charter's folder and what ``words`` name outside of it; of run directories only ``seen``."""
    readable, gpus = [run.root, *sandbox.absolute(words)], run.charter().quarantine.gpus
    return sandbox.Cell(writable, readable, run.hidden(), seen, cwd=run.root, env=env, gpus=gpus, **limits)


def _jail_cell(run: RunDir) -> sandbox.Cell:
    """It sees nothing but programs of the system."""
    folder = run.path / ".jail"
    folder.mkdir(exist_ok=True)
    return sandbox.Cell(folder, [], run.hidden(), [], folder, {}, output_bytes=1 << 20)
