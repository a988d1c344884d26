"""The leash: one untrusted child with everything it ever forked; freeze it, thaw it, kill it, read its meter.

With a writable cgroup v2 the kernel does it at once for the whole tree. Otherwise the tree is walked through /proc and
stopped process by process until it stands still. Does not protect against: kernels queued on a GPU before the freeze.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import IO, ClassVar

from tenth.errors import RunRefused
from tenth.quarantine import sandbox

TICKS = os.sysconf("SC_CLK_TCK")
NICE = os.getpriority(os.PRIO_PROCESS, 0)
"""Of whoever is held, whatever the supervisor takes for itself later."""
PATIENCE = 5.0
"""Seconds until a tree that will not stand still is killed instead."""
STILL, EXITING = {"T", "t", "Z", "X", ""}, 0x4
"""States in which a thread computes nothing, and the flag of one that will not compute any more (proc(5))."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_prctl = ctypes.CDLL(None, use_errno=True).prctl


@cache
def cgroup_parent() -> Path | None:
    """A cgroup v2 folder in which this process may make children, freeze and kill them; None if there is none."""
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        own = next((line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line[:3] == "0::"), "/")
        parent = mount / own.lstrip("/")
        trial = parent / f"tenth-trial-{os.getpid()}"
        try:
            trial.mkdir()
            needed = [trial / name for name in ("cgroup.freeze", "cgroup.kill", "cgroup.procs")]
            usable = all(os.access(one, os.W_OK) for one in (*needed, parent / "cgroup.procs"))
            trial.rmdir()
        except OSError:
            continue
        if usable:
            return parent
    return None


def sweep(prefix: str) -> None:
    """Kill and remove the trees that a lost supervisor left in groups of this name."""
    for group in parent.glob(f"{prefix}*") if (parent := cgroup_parent()) else ():
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")
            time.sleep(0.01)
            group.rmdir()


def adopt_orphans() -> None:
    """If the launcher is killed by its own child, the orphans come to us, and are killed with the tree."""
    if _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise RunRefused("the supervisor cannot start", "PR_SET_CHILD_SUBREAPER failed")
    Leash.adopting = True


class Leash:
    """A running child. Made by the supervisor's main thread only: the parent-death signal is bound to it."""

    live: ClassVar[set[int]] = set()
    """Leaders of all trees on a leash of this process."""
    adopting: ClassVar[bool] = False

    def __init__(
        self, command: Sequence[str], cell: sandbox.Cell, name: str, log: IO[bytes], keep: Sequence[int]
    ) -> None:
        """Start ``command`` in ``cell``; descriptors in ``keep`` are inherited; ``log`` gets what it prints."""
        parent, supervisor = cgroup_parent(), os.getpid()
        self._group = parent / name if parent else None
        self._charged, self._closed, self._stirred = 0.0, False, False
        self._lock = threading.Lock()
        """Another thread may freeze, and must not meet a thaw or an end half done."""
        door = -1
        if self._group:
            self._group.mkdir()
            for limit, most in (("pids.max", cell.processes + 100), ("memory.max", cell.memory_bytes)):
                with contextlib.suppress(OSError):  # a controller that is not ours to set: the supervisor looks on
                    (self._group / limit).write_text(str(int(most)) if most < float("inf") else "max")
            door = os.open(self._group / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

        def prepare() -> None:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the launcher knows what to do
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
            _prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)  # the launcher clears its tree
            if os.getppid() != supervisor:
                os._exit(125)

        with sandbox.entering(command, cell, door) as (line, descriptors):
            self._child = subprocess.Popen(
                line, cwd=cell.cwd, env=sandbox.environment(cell), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=(*keep, *descriptors, *([door] if door >= 0 else [])), start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 (no other thread holds a lock that it needs)
            )  # fmt: skip
        if door >= 0:
            os.close(door)
        self.pid = self._child.pid
        self.live.add(self.pid)
        self.pidfd = os.pidfd_open(self.pid)

    def processes(self) -> list[int]:
        """Process ids of the tree, our own launcher left out. An orphan may still be on its way into the group."""
        if self._group:
            pids = [*map(int, (self._group / "cgroup.procs").read_text().split()), *_orphans()]
        else:
            pids = [pid for root in (self.pid, *_orphans()) for pid in (root, *_descendants(root))]
        return [pid for pid in dict.fromkeys(pids) if pid not in self.live]

    def ended(self, within: float = 0) -> bool:
        """The first process has ended; its meter can still be read until it is polled."""
        return bool(select.select([self.pidfd], [], [], within)[0])

    def poll(self) -> int | None:
        """Exit status once the child has ended, else None."""
        return self._child.poll()

    # --- freeze, thaw, kill ------------------------------------------------------------------------------------------

    def freeze(self) -> int:
        """Stop the whole tree and return how many processes it has; none runs when this returns (promise 2).

        A tree that does not stand still within PATIENCE is killed. Any thread may call this.
        """
        with self._lock:
            return 0 if self._closed else self._freeze()

    def _freeze(self) -> int:
        deadline = time.monotonic() + PATIENCE
        if self._group:
            (self._group / "cgroup.freeze").write_text("1")
        else:
            self._tell(signal.SIGUSR1)  # the launcher stops all at once, where it can
        still: list[int] | None = None
        while not (self._stop(found := self.processes(), still) and (_alive(found) or self.ended(0.001))):
            # An empty tree begins or ends in this moment: its launcher says which.
            if time.monotonic() > deadline:
                self.kill()
            still = found if all(map(_stopped, found)) else None
        return _alive(found)

    def _stop(self, found: list[int], still: list[int] | None) -> bool:
        """Ask everyone to stop; True once all stood still before they were listed as ``found``: a fork that had begun
        when its parent was asked to stop is carried through, and its child is seen only in a list made later."""
        if self._group:
            time.sleep(0.0001)
            return "frozen 1" in (self._group / "cgroup.events").read_text() or not found
        if found != still:
            self._tell(signal.SIGUSR1)
        for pid in found if found != still else ():
            if not _stopped(pid):
                _signal(pid, signal.SIGSTOP)
        return found == still

    def _tell(self, number: signal.Signals) -> None:
        """The launcher, and nobody who has its number by now."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def stirs(self) -> bool:
        """Somebody of a frozen tree runs, at two looks. Without a cgroup, whoever finds a way may have itself woken."""
        before, self._stirred = self._stirred, not self._group and not all(map(_stopped, self.processes()))
        return before and self._stirred

    def thaw(self) -> None:
        with self._lock:
            if self._group:
                (self._group / "cgroup.freeze").write_text("0")
            else:
                for pid in self.processes():
                    _signal(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Kill every process of the tree; when this returns, none is left."""
        deadline = time.monotonic() + PATIENCE * 6
        self._tell(signal.SIGTERM)  # the launcher kills all at once, where it can
        while self._child.poll() is None or self.processes():
            if self._group:
                (self._group / "cgroup.kill").write_text("1")
            left = self.processes()
            # The launcher adopts and counts what its children leave, so it goes last.
            for pid in left or [self.pid]:
                _signal(pid, signal.SIGKILL)
            for pid in _orphans():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > deadline:
                raise RunRefused("the trainer cannot be killed", f"processes {left[:10]} do not die")
            time.sleep(0.001)

    def close(self) -> None:
        """Forget a tree that has ended; kills what is left of it first, so that trainer gone means gone."""
        self.device_seconds()
        with self._lock:
            self.kill()
            self.device_seconds()
            self._closed = True
        self.live.discard(self.pid)
        os.close(self.pidfd)
        if self._group:
            with contextlib.suppress(OSError):  # an empty folder that the kernel still holds costs nothing
                self._group.rmdir()

    def room(self) -> tuple[int, int]:
        """How many threads the tree has, and how many bytes of memory it holds; what two share counts twice."""
        pids = self.processes()
        pages = [int(found[21]) for pid in pids if (found := _stat(f"/proc/{pid}/stat"))]
        return sum(len(_listdir(f"/proc/{pid}/task")) for pid in pids), sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def opens(self, nodes: Sequence[Path]) -> bool:
        """Has a process of the tree one of these files open?"""
        wanted = {_identity(str(node)) for node in nodes} - {None}
        held = (f"/proc/{pid}/fd/{number}" for pid in self.processes() for number in _listdir(f"/proc/{pid}/fd"))
        return any(_identity(one) in wanted for one in held)

    def device_seconds(self) -> float:
        """Processor seconds of the whole tree since its start, dead children included (promise 4). Never falls."""
        if self._group and not self._closed:
            self._charged = int((self._group / "cpu.stat").read_text().split(None, 2)[1]) / 1e6
        elif not self._closed:
            now = sum(_cpu_seconds(pid) for pid in {self.pid, *self.processes()})
            self._charged = max(self._charged, now)
        return self._charged


def _descendants(pid: int) -> list[int]:
    """All processes below ``pid``, parents first. Children are kept per thread by the kernel."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        for task in _listdir(f"/proc/{one}/task"):
            children = [int(child) for child in _read(f"/proc/{one}/task/{task}/children").split()]
            found += children
            todo += children
    return found


def _orphans() -> list[int]:
    """Children of this process that are not the leader of a tree: what a killed launcher left us."""
    children = _read(f"/proc/self/task/{os.getpid()}/children").split() if Leash.adopting else []
    return [int(child) for child in children if int(child) not in Leash.live]


def _stat(path: str) -> list[str]:
    """Fields of a stat file from the state on (proc(5)); empty when the process is gone."""
    return _read(path).rpartition(")")[2].split()


def _alive(pids: Sequence[int]) -> int:
    """How many of them are more than a zombie."""
    return sum(_stat(f"/proc/{pid}/stat")[:1] not in (["Z"], []) for pid in pids)


def _stopped(pid: int) -> bool:
    """Stopped, dead or gone: in any case it computes nothing. All threads are looked at."""
    whole = _stat(f"/proc/{pid}/stat")
    alone = not whole or int(whole[17]) <= 1  # how many threads: the dead have none
    threads = [whole] if alone else [_stat(f"/proc/{pid}/task/{task}/stat") for task in _listdir(f"/proc/{pid}/task")]
    states = {"".join(one[:1]) for one in threads if not one or not int(one[6]) & EXITING}
    if not (running := states - STILL) or _awaits(pid, signal.SIGKILL):
        return True
    # A thread that waits in the kernel, for a vforked child for one, stops before it takes another step of its own.
    return running == {"D"} and ("T" in states or _awaits(pid, signal.SIGSTOP))


def _awaits(pid: int, number: signal.Signals) -> bool:
    """This signal has been sent to it, and is yet to be taken (proc(5), SigPnd and ShdPnd)."""
    lines = _read(f"/proc/{pid}/status").splitlines()
    return any(int(line[7:], 16) >> (number - 1) & 1 for line in lines if line[:7] in ("SigPnd:", "ShdPnd:"))


def _cpu_seconds(pid: int) -> float:
    """utime + stime + cutime + cstime, fields 14 to 17 of proc(5)."""
    return sum(int(field) for field in _stat(f"/proc/{pid}/stat")[11:15]) / TICKS


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
