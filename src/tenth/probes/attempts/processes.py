"""Attempts at other processes: seen, signalled, traced, read, slowed down."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

from tenth.probes.attempts.means import Facts, call, unseen


def see_a_process_of_the_host(facts: Facts) -> object:
    if facts["outside"] not in Path(f"/proc/{facts['victim']}/cmdline").read_text():
        raise ProcessLookupError("another process has that number here")
    return "seen"


def find_a_process_of_the_host(facts: Facts) -> object:
    # Asked for by number, without reading: other processes with that number may exist in a namespace of its own.
    os.stat(f"/proc/{facts['victim']}")
    if os.getpid() > 1000 or not os.path.exists("/proc/1/cmdline"):
        return "it is there"
    raise ProcessLookupError("a namespace of its own")


def signal_a_process_of_the_host(facts: Facts) -> object:
    os.kill(facts["victim"], signal.SIGUSR1)
    return _noticed()


def signal_its_supervisor(facts: Facts) -> object:
    os.kill(facts["supervisor"], signal.SIGUSR1)
    return _noticed()


def _noticed() -> str:
    """A signal that was sent may have gone to nobody outside: outside.py looks whether it arrived."""
    time.sleep(0.05)
    return unseen()


def trace_a_process(facts: Facts) -> object:
    return call((101, 117), 16, facts["victim"], 0, 0)


def read_the_memory_of_a_process(facts: Facts) -> object:
    return call((310, 270), facts["victim"], None, 0, None, 0, 0)


def write_the_memory_of_a_process(facts: Facts) -> object:
    return call((311, 271), facts["victim"], None, 0, None, 0, 0)


def open_the_memory_of_its_supervisor(facts: Facts) -> object:
    return os.open(f"/proc/{facts['supervisor']}/mem", os.O_RDONLY)


def read_the_environment_of_its_supervisor(facts: Facts) -> object:
    for pid in (facts["supervisor"], os.getppid(), 1):
        text = Path(f"/proc/{pid}/environ").read_text()
        if facts["outside"] in text:
            return text
    raise ProcessLookupError("nothing of the host in it")


def take_a_descriptor_from_a_process(facts: Facts) -> object:
    return call((438, 438), os.pidfd_open(facts["victim"]), 0, 0)


def find_a_descriptor_that_was_left_open(facts: Facts) -> object:
    for number in range(3, 1024):
        try:
            place = os.readlink(f"/proc/self/fd/{number}") if os.path.exists("/proc/self/fd") else ""
            os.fstat(number)
        except OSError:
            continue
        if number not in facts["given"]:
            return f"{number}: {place}"
    raise FileNotFoundError("none")


def change_the_limits_of_a_process(facts: Facts) -> object:
    if facts["outside"] not in Path(f"/proc/{facts['victim']}/cmdline").read_text():
        raise ProcessLookupError("another process has that number here")
    return resource.prlimit(facts["victim"], resource.RLIMIT_NOFILE, (64, 64))


def slow_a_process_down(facts: Facts) -> object:
    os.setpriority(os.PRIO_PROCESS, facts["victim"], 5)
    return unseen()


def tie_a_process_to_one_processor(facts: Facts) -> object:
    os.sched_setaffinity(facts["victim"], {min(os.sched_getaffinity(0))})
    return "tied"


def let_a_process_run_last(facts: Facts) -> object:
    os.sched_setscheduler(facts["victim"], os.SCHED_BATCH, os.sched_param(0))
    return "it runs after others"


def let_a_process_read_last(facts: Facts) -> object:
    if call((251, 30), 1, facts["victim"], 2 << 13 | 7) < 0:
        raise ProcessLookupError("no such process here")
    return "it reads after others"


def share_memory_with_a_process(facts: Facts) -> object:
    if facts["shared"] < 0 or call((30, 196), facts["shared"], None, 0o10000) == -1:
        raise FileNotFoundError("no such memory here")
    return "attached"


def compare_with_a_process(facts: Facts) -> object:
    return call((312, 272), os.getpid(), facts["victim"], 0, 0, 0)


def leave_its_cgroup(_: Facts) -> object:
    for mount in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
        if os.path.exists(f"{mount}/cgroup.procs"):
            return os.open(f"{mount}/cgroup.procs", os.O_WRONLY)
    raise FileNotFoundError("no cgroups are shown")
