"""Do programs that a model wrote do what they should? They run in a jail, one process each, and nowhere else.

The supervisor may have given us a jail. Else we start one in the quarantine that we are in ourselves; it attacks itself
before it takes a program (tenth.jail). Where neither comes about, nothing is run, and the panel says why.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tenth.jail.wire import GIVEN, Jail, JailError, Limits, Program

from .asked import Item

LIMITS = Limits(cpu_seconds=0.2, seconds=5.0, memory_bytes=128 << 20)


@contextlib.contextmanager
def opened() -> Iterator[tuple[Jail | None, str]]:
    """A jail and nothing, or None and why there is none."""
    with contextlib.ExitStack() as stack:
        try:
            jail = stack.enter_context(Jail.attached() if GIVEN in os.environ else _own(stack))
        except (JailError, OSError) as error:
            yield None, " ".join(str(error).split())
        else:
            yield jail, ""


def _own(stack: contextlib.ExitStack) -> Jail:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stack.enter_context(ours)
    with theirs:
        command = [sys.executable, "-P", "-B", "-m", "tenth.jail", str(theirs.fileno())]
        process = stack.enter_context(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
    stack.callback(process.terminate)
    return Jail([ours])


def passed(jail: Jail, items: Sequence[Item], written: Sequence[str]) -> list[bool]:
    """Item by item: does its function, ended by what was written, answer every test rightly? Raises JailError."""
    programs = [
        Program(item.prompt + line, "f", [[given] for given, _ in item.tests], LIMITS)
        for item, line in zip(items, written, strict=True)
    ]
    outcomes = jail.run_all(programs)
    return [all(one.right([due for _, due in item.tests])) for item, one in zip(items, outcomes, strict=True)]
