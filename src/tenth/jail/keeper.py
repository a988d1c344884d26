"""The keeper: starts a jail in this machine's sandbox, where no supervisor gives one, and hands over its sockets.

Does not protect against: bugs in the kernel's allowed calls, in Python's own C code beyond what the walls around it
hold, or one program slowing others down while it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tenth.jail.wire import READY, Jail, JailError
from tenth.quarantine import sandbox

COMMAND = (sys.executable, "-P", "-B", "-m", "tenth.jail")
"""The jail itself. It has to be started in a sandbox; the numbers of the sockets that it inherits follow."""
START_SECONDS = 60.0


@contextlib.contextmanager
def opened(workers: int = 1) -> Iterator[Jail]:
    """A jail of this process's own, with so many zygotes. Every process in it ends with the block, or with us.

    Raises JailError where the sandbox does not start, or where a single probe was not held.
    """
    with started(workers) as links, Jail(links) as jail:
        yield jail


@contextlib.contextmanager
def started(workers: int = 1) -> Iterator[list[socket.socket]]:
    """The same, for somebody else: the ends to hand on, one per zygote. By now every probe was held."""
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(workers)]
        for one in (end for pair in pairs for end in pair):
            stack.enter_context(one)
        process = stack.enter_context(_entered([theirs.fileno() for _, theirs in pairs]))
        for ours, theirs in pairs:
            theirs.close()
            _await(ours, process)
        yield [ours for ours, _ in pairs]


def report() -> list[dict[str, Any]]:
    """Attack a jail of this machine in every way of probes.py; a row each. Raises JailError where none starts."""
    with _entered([]) as process:
        rows, why = process.communicate(timeout=START_SECONDS)
    if not rows:
        raise _refused(why)
    found: list[dict[str, Any]] = json.loads(rows)
    return found


@contextlib.contextmanager
def _entered(descriptors: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """The jail in a sandbox; the launcher kills its whole tree when the block ends."""
    if sandbox.level() == "none":
        found = "'tenth check' says what this machine lacks"
        raise JailError("no jail is started", found, "install bubblewrap, or take a kernel with Landlock")
    with tempfile.TemporaryDirectory(prefix="tenth-jail-") as place:
        folder = Path(place)
        cell = sandbox.Cell(
            writable=folder, readable=[], hidden=sandbox.hidden_from_everyone(), sealed=[], cwd=folder,
            env={"PYTHONPATH": str(Path(__file__).parents[2])}, output_bytes=0,
        )  # fmt: skip
        with sandbox.entering([*COMMAND, *map(str, descriptors)], cell) as (line, more):
            process = subprocess.Popen(
                line, cwd=folder, env=sandbox.environment(cell), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, pass_fds=[*more, *descriptors],
            )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.terminate()


def _await(link: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Until the zygote has said that it is ready; whoever asks it reads that again."""
    link.settimeout(START_SECONDS)
    try:
        said = link.recv(len(READY), socket.MSG_PEEK)
    except OSError as error:
        said = (error.strerror or str(error)).encode()
    link.settimeout(None)
    if said != READY:
        assert process.stderr is not None
        process.terminate()
        raise _refused(os.read(process.stderr.fileno(), 4096) or said)


def _refused(why: bytes) -> JailError:
    said = why.decode(errors="replace").strip().rpartition("\n")[2][:300]
    return JailError("no jail is started", said or "it ended at once", "report it, with 'tenth check'")
