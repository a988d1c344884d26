"""A child in the quarantine, on a leash; and beside it, where the charter asks for one, a jail on a leash of its own.

A jail runs the programs that a model writes (docs/decisions/0014). Whoever is given one talks to it over inherited
sockets, and nothing of that passes the supervisor. It attacks itself first, and ends where an attack is not held.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tenth.quarantine import sandbox
from tenth.quarantine.leash import Leash
from tenth.supervisor.rundir import RunDir

JAIL = (sys.executable, "-P", "-B", "-m", "tenth.jail")
JAIL_BYTES = 1 << 20
"""Of the folder that it may write to, and of what it prints."""


class Child:
    """One untrusted process tree with its jail: stopped, metered and ended together."""

    def __init__(
        self, run: RunDir, command: Sequence[str], cell: sandbox.Cell, name: str, keep: Sequence[int] = ()
    ) -> None:
        """Start it; what it prints goes to ``trainer.log``, descriptors in ``keep`` are inherited."""
        with contextlib.ExitStack() as ends, (run.path / "trainer.log").open("ab") as output:
            pairs = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(run.charter().quarantine.jail)]
            for end in (end for pair in pairs for end in pair):
                ends.enter_context(end)
            asks, answers = ([pair[side].fileno() for pair in pairs] for side in (0, 1))
            if asks:
                cell = replace(cell, env={**cell.env, "TENTH_JAIL": ",".join(map(str, asks))})
            self.leash = Leash(command, cell, name, output, [*keep, *asks])
            self._trees = [self.leash]
            if answers:
                words = [*JAIL, *map(str, answers)]
                self._trees.append(Leash(words, _jail_cell(run), f"{name}-jail", output, answers))

    def device_seconds(self) -> float:
        """The jail's included."""
        return sum(tree.device_seconds() for tree in self._trees)

    def freeze(self) -> int:
        """How many processes of the child itself stand still now."""
        found, *_ = [tree.freeze() for tree in self._trees]
        return found

    def stirs(self) -> bool:
        return any(tree.stirs() for tree in self._trees)

    def jail_ended(self) -> bool:
        """With an error: it ends well once whoever asks it has closed its ends."""
        return any(tree.poll() for tree in self._trees[1:])

    def thaw(self) -> None:
        for tree in self._trees:
            tree.thaw()

    def close(self) -> None:
        for tree in self._trees:
            tree.close()


def cell(
    run: RunDir, words: Sequence[str], writable: Path, seen: Sequence[Path], env: Mapping[str, str], **limits: Any
) -> sandbox.Cell:
    """A child sees the charter's folder and what ``words`` name outside of it; of run directories only ``seen``."""
    return sandbox.Cell(
        writable, [run.root, *sandbox.absolute(words)], _hidden(run), seen, cwd=run.root, env=env, **limits
    )


def _jail_cell(run: RunDir) -> sandbox.Cell:
    """It sees nothing but programs of the system."""
    folder = run.path / ".jail"
    folder.mkdir(exist_ok=True)
    return sandbox.Cell(folder, [], _hidden(run), [], folder, {}, output_bytes=JAIL_BYTES)


def _hidden(run: RunDir) -> list[Path]:
    return [*run.neighbours(), *sandbox.hidden_from_everyone()]
