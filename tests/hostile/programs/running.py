"""Trainers that will not stop, or whose processes try not to be found."""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import door
from tally import MOST_SECONDS, Tally, alive

Facts = dict[str, Any]
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, PR_SET_NAME = 4, 36, 1, 15
F_SETSIG = 10
libc = ctypes.CDLL(None, use_errno=True)
prctl = libc.prctl


def _deaf() -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))


def _wait(speaker: int) -> None:
    """Neither compute nor fall silent."""
    while alive():
        if os.getpid() == speaker:
            door.progress(1)
        time.sleep(0.1)


def ignores_and_blocks_every_signal(facts: Facts) -> None:
    """It and its children, one of each kind of daemon, compute on."""
    tally = Tally(door.hello()["work"])
    for slot in range(1, 4):
        if os.fork() == 0:
            os.setsid()
            if slot == 3 and os.fork():
                os._exit(0)
            _deaf()
            tally.burn(60, slot)
            os._exit(0)
    _deaf()
    tally.burn(60, 0)


def leaves_a_daemon(facts: Facts) -> None:
    """The leader ends as if all were well, and a daemon without a name, a terminal or a descriptor computes on."""
    lease = door.hello()
    tally = Tally(lease["work"])
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.chdir("/")
        os.closerange(0, 1024)
        _deaf()
        prctl(PR_SET_NAME, b"kworker/0:1", 0, 0, 0)
        tally.burn(60, 1)
        os._exit(0)
    time.sleep(0.05)
    door.done(lease)


def becomes_another_program(facts: Facts) -> None:
    """A daemon that has another program's memory, and an environment without anything that it was given."""
    lease = door.hello()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.execve("/bin/sleep", ["sleep", "10"], {})
    time.sleep(0.05)
    door.done(lease)


def hides_its_memory(facts: Facts) -> None:
    """Not dumpable: its files in /proc belong to root. It adopts its own orphans, too."""
    tally = Tally(door.hello()["work"])
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.fork() == 0:
        os.setsid()
        tally.burn(60, 1)
        os._exit(0)
    tally.burn(60, 0)


def kills_its_launcher(facts: Facts) -> None:
    """Its parent is tenth's launcher, or bubblewrap; what is left would be nobody's."""
    lease = door.hello()
    tally = Tally(lease["work"])
    if os.fork() == 0:
        os.setsid()
        tally.burn(60, 1)
        os._exit(0)
    try:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(0.05)
        loot = f"killed; the parent is now {os.getppid()}"
    except OSError as error:
        loot = f"{type(error).__name__}: {error}"
    door.checkpoint(lease, loot=loot)
    tally.burn(60, 0)


def stops_itself(facts: Facts) -> None:
    door.hello()
    os.kill(os.getpid(), signal.SIGSTOP)


def wakes_itself(facts: Facts) -> None:
    """A timer of the kernel, and a pipe of its own, send it the signal that a stopped process goes on by."""
    tally = Tally(door.hello()["work"])
    event = struct.pack("QiiQQQQQQ", 0, signal.SIGCONT, 0, 0, 0, 0, 0, 0, 0)
    timer, every = ctypes.c_int(), struct.pack("qqqq", 0, 20_000_000, 0, 20_000_000)
    if libc.timer_create(time.CLOCK_MONOTONIC, event, ctypes.byref(timer)) == 0:
        libc.timer_settime(timer, 0, every, None)
    with contextlib.suppress(OSError):
        reading, writing = os.pipe()
        fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(reading, F_SETSIG, signal.SIGCONT)
        fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
        fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    tally.burn(60, 0)


def waits_in_the_kernel(facts: Facts) -> None:
    """A process waits for its vforked child, where no signal but one that kills wakes it."""
    tally = Tally(door.hello()["work"])
    if os.fork() == 0:
        # The child of vfork runs on the memory of its parent, and never returns.
        if libc.vfork() == 0:
            libc.sleep(int(MOST_SECONDS))
            libc._exit(0)
        os._exit(0)
    tally.burn(60, 0)


def runs_at_idle_priority(facts: Facts) -> None:
    """Computes at the lowest priority, so that it looks as if it slept."""
    tally = Tally(door.hello()["work"])
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    tally.burn(60, 0)


def computes_in_short_lives(facts: Facts) -> None:
    """Every child computes for ten milliseconds, in turn; whoever looks finds next to nothing."""
    tally, slot = Tally(door.hello()["work"]), 0
    while alive():
        slot += 1
        if os.fork() == 0:
            tally.burn(0.01, slot)
            os._exit(0)
        os.wait()
        door.progress(slot)


def computes_in_lives_that_nobody_mourns(facts: Facts) -> None:
    """As before, and the kernel forgets what a child used, because its parent ignores that it died."""
    tally, slot = Tally(door.hello()["work"]), 0
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while alive():
        slot += 1
        if os.fork() == 0:
            tally.burn(0.01, slot)
            os._exit(0)
        with contextlib.suppress(ChildProcessError):
            os.wait()  # until there is none
        door.progress(slot)


def forks_without_end(facts: Facts) -> None:
    """Each process makes two more. Bounded by its own count, should nothing else bound it."""
    door.hello()
    first = os.getpid()
    for _ in range(facts["doublings"]):
        os.fork()
        if os.getpid() == first:
            door.progress(1)
    _wait(first)


def forks_faster_than_it_is_killed(facts: Facts) -> None:
    """Chains of processes that each live as long as it takes to fork the next, in a session of its own."""
    lease = door.hello()
    beats = Path(lease["work"], "chains")
    beats.write_bytes(bytes(8 * facts["chains"]))
    file = os.open(beats, os.O_WRONLY)
    for chain in range(facts["chains"]):
        if os.fork() == 0:
            _chain(file, chain)
    _wait(os.getpid())


def _chain(file: int, chain: int) -> None:
    length = 0
    while alive() and length < 100_000:
        length += 1
        os.pwrite(file, length.to_bytes(8, "little"), 8 * chain)
        if os.fork():
            os._exit(0)
        os.setsid()
    os._exit(0)


def takes_all_memory(facts: Facts) -> None:
    """In four children, a little more than it may have, and bounded by its own count."""
    door.hello()
    first = os.getpid()
    for _ in range(3):
        if os.fork() == 0:
            break
    held = []
    for _ in range(facts["megabytes"] // 4):
        held.append(b"x" * (1 << 20))
        if os.getpid() == first:
            door.progress(1)
    _wait(first)
    sys.exit(len(held) == 0)


def raises_its_limits(facts: Facts) -> None:
    """Then it would write a file as large as it likes."""
    lease, loot = door.hello(), {}
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for name in ("RLIMIT_FSIZE", "RLIMIT_CORE"):
        try:
            resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            loot[name] = "raised"
        except (OSError, ValueError) as error:
            loot[name] = f"{type(error).__name__}: {error}"
    try:
        os.truncate(Path(lease["work"], "tally"), hard + 1)
        loot["file"] = "longer than allowed"
    except OSError as error:
        loot["file"] = f"{type(error).__name__}: {error}"
    door.checkpoint(lease, loot=json.dumps(loot))
    door.say(frame="saved", path="checkpoint")
    door.say(frame="done", position={})
