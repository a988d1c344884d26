"""The keeper: starts a jail in this machine's sandbox, and lets nothing run in it before every attack was held.

Does not protect against: bugs in the kernel's allowed calls, in Python's own C code beyond what the walls around it
hold, or one program slowing others down while it runs.
"""

from __future__ import annotations

import base64
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

from tenth.jail import policy, probes, wire
from tenth.jail.wire import Jail, JailError
from tenth.quarantine import sandbox

ZYGOTE = Path(__file__).with_name("zygote.py")
MODULES = (
    "bisect",
    "collections.abc",
    "copy",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "random",
    "re",
    "string",
)
"""What a program may import, if nobody says otherwise; more of them make every fork slower."""
START_SECONDS = 30.0


@contextlib.contextmanager
def opened(workers: int = 1, modules: Sequence[str] = MODULES) -> Iterator[Jail]:
    """A jail of this process's own, with so many zygotes. Every process in it ends with the block, or with us.

    Raises JailError where the sandbox does not start, or where a single probe was not held.
    """
    with started(workers, modules) as links, Jail(links) as jail:
        yield jail


@contextlib.contextmanager
def started(workers: int = 1, modules: Sequence[str] = MODULES) -> Iterator[list[socket.socket]]:
    """The same, for somebody else: the ends to hand on, one per zygote. Each has passed the probes by now."""
    if sandbox.level() == "none":
        found = "'tenth check' says what this machine lacks"
        raise JailError("no jail is started", found, "install bubblewrap, or take a kernel with Landlock")
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(_zygote(modules)) for _ in range(workers)]
        for link in links:
            report(link)
        yield links


def report(link: socket.socket) -> list[dict[str, Any]]:
    """Attack one zygote in every way of probes.py; a row each. Raises JailError if one of them was not held."""
    jail = Jail([link])
    outcomes = list(jail.run_all(probe.program() for probe in probes.PROBES))
    rows = [probe.record(outcome) for probe, outcome in zip(probes.PROBES, outcomes, strict=True)]
    if escaped := [f"{row['name']} ({row['verdict']}: {row['said'][:100]})" for row in rows if not row["contained"]]:
        raise JailError("nothing runs in this jail", f"not held: {'; '.join(escaped)}", "report it, with 'tenth check'")
    return rows


@contextlib.contextmanager
def _zygote(modules: Sequence[str]) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenth-jail-")))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(ours)
        cell = sandbox.Cell(
            writable=folder, readable=[], hidden=sandbox.hidden_from_everyone(), sealed=[], cwd=folder,
            env={"PYTHONHASHSEED": "0"}, output_bytes=0,
        )  # fmt: skip
        command = [sys.executable, "-P", "-s", "-S", "-B", str(ZYGOTE), str(theirs.fileno())]
        with theirs, sandbox.entering(command, cell) as (line, descriptors):
            process = subprocess.Popen(
                line, cwd=folder, env=sandbox.environment(cell), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, pass_fds=[*descriptors, theirs.fileno()],
            )  # fmt: skip
        stack.callback(_end, process)
        _greet(ours, process, modules)
        yield ours


def _greet(ours: socket.socket, process: subprocess.Popen[bytes], modules: Sequence[str]) -> None:
    greeting = {
        "filter": base64.b64encode(policy.program()).decode(),
        "modules": list(modules),
        "answer_bytes": wire.MAX_ANSWER,
    }
    ours.settimeout(START_SECONDS)
    try:
        ours.sendall(json.dumps(greeting).encode())
        said = ours.recv(wire.MAX_HEAD)
    except OSError as error:
        said = (error.strerror or str(error)).encode()
    ours.settimeout(None)
    if said != b'{"ready":1}':
        assert process.stderr is not None
        process.terminate()
        why = os.read(process.stderr.fileno(), 4096).decode(errors="replace").strip()[-300:]
        raise JailError("no jail is started", why or repr(said), "look whether 'tenth probe' starts here")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The launcher kills its whole tree when it is told to end."""
    process.terminate()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
