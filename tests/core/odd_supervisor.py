"""The real supervisor on an odd machine: without cgroups, without bubblewrap, or with a fault at its n-th durable call.

``python odd_supervisor.py '{"bwrap": false, "fault": {"at": 7, "how": "kill"}}' RUN_DIR [--exit-at-gate]``.

A fault counts the calls by which the supervisor changes files of its run. At number ``at``, ``kill`` ends the
process before the call, ``torn`` after half of the bytes of a write, ``after`` after the call; ``full`` makes this and
every later write fail as on a full disk, half of the bytes written; ``stuck`` makes this and every later fsync wait
while there is a file ``stuck`` beside the run's folder.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenth.quarantine import leash, sandbox
from tenth.supervisor import __main__ as program

CALLS = ("write", "fsync", "fdatasync", "replace", "ftruncate", "truncate")


class Fault:
    """Stands in for the calls of ``os`` that make the run's files."""

    def __init__(self, run: Path, at: int, how: str) -> None:
        self._run, self._at, self._how, self._count = str(run), at, how, 0
        self._owner = os.getpid()
        for name in CALLS:
            setattr(os, name, self._wrap(name, getattr(os, name)))

    def _ours(self, first: Any) -> bool:
        """Is it a file of the run, and are we the supervisor, not its child on the way to exec?"""
        try:
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else os.fspath(first)
        except OSError:
            return False
        return os.getpid() == self._owner and str(path).startswith(self._run)

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._ours(arguments[0]):
                return real(*arguments, **options)
            self._count += 1
            if self._how == "stuck":
                while name in ("fsync", "fdatasync") and Path(self._run).with_name("stuck").exists():
                    time.sleep(0.01)
                return real(*arguments, **options)
            if self._how == "full":
                return self._full(name, real, arguments, options)
            if self._count == self._at:
                if self._how == "torn" and name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                if self._how == "after":
                    real(*arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    def _full(self, name: str, real: Callable[..., Any], arguments: Any, options: Any) -> Any:
        if name != "write" or self._count < self._at:
            return real(*arguments, **options)
        if self._count == self._at:
            return real(arguments[0], arguments[1][: len(arguments[1]) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_odd(oddity: dict[str, Any]) -> None:
    """Let this machine look as if it had no cgroups, or no bubblewrap, or other devices."""
    if not oddity.get("cgroup", True):
        leash.cgroup_parent = lambda: None  # type: ignore[assignment]
    if not oddity.get("bwrap", True):
        sandbox.bubblewrap = lambda: None  # type: ignore[assignment]
    if "devices" in oddity:
        sandbox.DEVICES = Path(oddity["devices"])


def main() -> int:
    oddity = json.loads(sys.argv[1])
    make_odd(oddity)
    if "fault" in oddity:
        Fault(Path(sys.argv[2]), **oddity["fault"])
    return program.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
