"""The leash: one untrusted child with everything it ever forked; freeze it, thaw it, kill it, read its meter.

With a writable cgroup v2 the kernel does it at once for the whole tree. Otherwise the tree is walked through /proc and
stopped process by process until it stands still. Does not protect against: kernels queued on a GPU before the freeze.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, ClassVar

from tenth.errors import RunRefused
from tenth.supervisor import sandbox

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 5.0
"""Seconds until a tree that will not stand still is killed instead."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


@cache
def cgroup_parent() -> Path | None:
    """A cgroup v2 folder in which this process may make children, freeze and kill them; None if there is none."""
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if not (mount / "cgroup.controllers").exists():
            continue
        own = next((line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"), "/")
        parent = mount / own.lstrip("/")
        trial = parent / f"tenth-trial-{os.getpid()}"
        try:
            trial.mkdir()
            usable = all((trial / name).exists() for name in ("cgroup.freeze", "cgroup.kill", "cpu.stat"))
            usable = (
                usable and os.access(trial / "cgroup.procs", os.W_OK) and os.access(parent / "cgroup.procs", os.W_OK)
            )
            trial.rmdir()
        except OSError:
            continue
        if usable:
            return parent
    return None


def adopt_orphans() -> None:
    """If the launcher is killed by its own child, the orphans come to us (and are killed)."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise RunRefused("the supervisor cannot start", "PR_SET_CHILD_SUBREAPER failed")


class Leash:
    """A running child. Made by the supervisor's main thread only: the parent-death signal is bound to it."""

    live: ClassVar[set[int]] = set()
    """Leaders of all trees on a leash of this process."""

    def __init__(
        self, command: Sequence[str], cell: sandbox.Cell, name: str, output: IO[bytes], keep: Sequence[int]
    ) -> None:
        """Start ``command`` in ``cell``; descriptors in ``keep`` are inherited; ``output`` gets what it prints."""
        parent = cgroup_parent()
        self._group = parent / name if parent else None
        self._frozen = False
        self._charged = 0.0
        procs = -1
        if self._group:
            self._group.mkdir()
            procs = os.open(self._group / "cgroup.procs", os.O_WRONLY)
        supervisor = os.getpid()

        def prepare() -> None:
            if procs >= 0:
                os.write(procs, b"0")
            sandbox.limit_resources()
            # SIGTERM lets the launcher clear its tree; bubblewrap asks for SIGKILL itself.
            _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL if sandbox.bubblewrap() else signal.SIGTERM), 0, 0, 0)
            if os.getppid() != supervisor:
                os._exit(125)

        try:
            self._child = subprocess.Popen(
                sandbox.command_line(command, cell),
                cwd=cell.cwd,
                env=sandbox.environment(cell),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=tuple(keep),
                start_new_session=True,
                preexec_fn=prepare,
            )
        except OSError as error:
            self._remove_group()
            raise RunRefused(f"'{command[0]}' cannot be started", str(error)) from None
        finally:
            if procs >= 0:
                os.close(procs)
        self.pid = self._child.pid
        self.live.add(self.pid)
        self.pidfd = os.pidfd_open(self.pid)

    # --- who is in the tree ------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Process ids of the tree, our own launcher left out."""
        if self._group:
            pids = [int(line) for line in (self._group / "cgroup.procs").read_text().split()]
        else:
            pids = _descendants(self.pid) + (_adopted(self.pid) if not sandbox.bubblewrap() else [])
        return [pid for pid in pids if pid != self.pid]

    def poll(self) -> int | None:
        """Exit status once the child has ended, else None."""
        return self._child.poll()

    # --- freeze, thaw, kill ------------------------------------------------------------------------------------------

    def freeze(self) -> int:
        """Stop the whole tree and return how many processes it has; none runs when this returns (promise 2).

        A tree that does not stand still within PATIENCE is killed.
        """
        self._frozen = True
        deadline = time.monotonic() + PATIENCE
        if self._group:
            (self._group / "cgroup.freeze").write_text("1")
            while "frozen 1" not in (self._group / "cgroup.events").read_text():
                if time.monotonic() > deadline:
                    self.kill()
                    break
                time.sleep(0.0002)
            return len(self.processes())
        still: set[int] = set()
        while True:
            found = self.processes()
            moving = [pid for pid in found if not _stopped(pid)]
            if not moving and set(found) == still:
                return len(found)
            if time.monotonic() > deadline:
                self.kill()
                return 0
            for pid in moving:
                _signal(pid, signal.SIGSTOP)
            still = set(found)

    def thaw(self) -> None:
        self._frozen = False
        if self._group:
            (self._group / "cgroup.freeze").write_text("0")
            return
        for pid in self.processes():
            _signal(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill every process of the tree; when this returns, none is left."""
        deadline = time.monotonic() + 30
        while True:
            if self._group:
                (self._group / "cgroup.kill").write_text("1")
            elif sandbox.bubblewrap():
                _signal(self.pid, signal.SIGKILL)  # its PID namespace dies with it
            for pid in self.processes():
                _signal(pid, signal.SIGKILL)
            if not sandbox.bubblewrap() and not self.processes():
                _signal(self.pid, signal.SIGKILL)
            _reap_adopted()
            if self._child.poll() is not None and not self.processes():
                return
            if time.monotonic() > deadline:
                raise RunRefused("the trainer cannot be killed", f"processes {self.processes()[:10]} do not die")
            time.sleep(0.001)

    def close(self) -> None:
        """Forget a tree that has ended; kills what is left of it first, so that trainer gone means gone."""
        self.kill()
        self._charged = self.device_seconds()
        self.live.discard(self.pid)
        os.close(self.pidfd)
        self._remove_group()

    def _remove_group(self) -> None:
        if self._group:
            for _ in range(1000):
                try:
                    self._group.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.001)
                    continue
                break
            self._group = None

    # --- the meter ---------------------------------------------------------------------------------------------------

    def device_seconds(self) -> float:
        """Processor seconds of the whole tree since its start, dead children included (promise 4). Never falls."""
        if self._group:
            usage = (self._group / "cpu.stat").read_text().split(None, 2)[1]
            now = int(usage) / 1e6
        else:
            now = sum(_cpu_seconds(pid) for pid in {self.pid, *self.processes()})
        self._charged = max(self._charged, now)
        return self._charged


def _descendants(pid: int) -> list[int]:
    """All processes below ``pid``, parents first. Children are kept per thread by the kernel."""
    found, todo = [], [pid]
    while todo:
        for task in _listdir(f"/proc/{(one := todo.pop())}/task"):
            children = [int(child) for child in _read(f"/proc/{one}/task/{task}/children").split()]
            found += children
            todo += children
    return found


def _adopted(leader: int) -> list[int]:
    """Orphans that came to us because the launcher was killed."""
    if _stat(leader)[0:1] not in ([], ["Z"]):
        return []
    found = []
    for child in _children():
        found += [child, *_descendants(child)]
    return found


def _children() -> list[int]:
    """Children of this process that are not the leader of a tree: orphans we adopted."""
    children = _read(f"/proc/self/task/{os.getpid()}/children").split()
    return [int(child) for child in children if int(child) not in Leash.live]


def _reap_adopted() -> None:
    for child in _children():
        if _stat(child)[0:1] == ["Z"]:
            try:
                os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                continue


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (proc(5)); empty when the process is gone."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _stopped(pid: int) -> bool:
    """Stopped, dead or gone: in any case it computes nothing. All threads are looked at."""
    states = [
        _read(f"/proc/{pid}/task/{task}/stat").rpartition(")")[2].split()[:1] for task in _listdir(f"/proc/{pid}/task")
    ]
    return all(state in (["T"], ["t"], ["Z"], ["X"], []) for state in states)


def _cpu_seconds(pid: int) -> float:
    """utime + stime + cutime + cstime, fields 14 to 17 of proc(5)."""
    fields = _stat(pid)
    return sum(int(field) for field in fields[11:15]) / TICKS if fields else 0.0


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
