"""The system-call filter: a classic BPF program, compiled from system_calls.toml, for bubblewrap or for our launcher.

A list of what is refused, with the reasons, and not of what is allowed: see the table. Sockets are the exception,
where only some families exist: a network namespace alone lets vsock and netlink through; and calls younger than the
table, of which none exist. Does not protect against: bugs in the calls that are allowed. Layout: linux/seccomp.h,
linux/filter.h (seccomp(2)).
"""

from __future__ import annotations

import errno
import platform
import struct
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
"""A second numbering of x86_64's calls, from here on."""
NEW_NAMESPACES = 0x7E020080
"""All CLONE_NEW flags; for clone(2) itself, where the lowest byte is a signal, without time namespaces."""
UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
LOOPBACK = (UNIX, INET, INET6, NETLINK)
"""Harmless where no interface leads anywhere: ranks of one training talk like this."""
STREAMS = tuple(kind | flags for kind in (1, 5) for flags in (0, 0o4000, 0o2000000, 0o2004000))
"""Types of socket that cannot be sent to a name: stream and seqpacket, each maybe non-blocking, close-on-exec."""
NEWEST = 450
"""Number of the youngest call that the table's author knew (Linux 5.17); from 424 on, the same on every processor."""
F_SETSIG, F_SETLEASE = 10, 1024
"""To be sent a signal of one's choice, SIGCONT for one; to keep waiting whoever opens a file."""
EVERY_PROCESS_OF_A_USER = {"setpriority": 2, "ioprio_set": 3}
"""First argument of these; the second says whose."""
TYPE_INTO_TERMINAL, PASTE_INTO_TERMINAL = 0x5412, 0x541C

Instruction = tuple[int, int, int, int]


@cache
def table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("system_calls.toml").read_text("utf-8"))


def supported() -> bool:
    """Is there a filter for this processor?"""
    return sys.platform == "linux" and platform.machine() in AUDIT


@cache
def program(families: tuple[int, ...]) -> bytes:
    """The filter's instructions, 8 bytes each. Sockets exist of these ``families`` only, and pairs of streams.

    Without ``families`` there are no namespaces either: it refuses what Landlock does not judge, too.
    """
    machine, rules = platform.machine(), table()
    numbers = rules["numbers"][machine]
    lines: list[Instruction] = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, AUDIT[machine]), (RETURN, 0, 0, KILL)]
    lines += [(LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    no_family, not_permitted, no_call = (ERROR | code for code in (errno.EAFNOSUPPORT, errno.EPERM, errno.ENOSYS))
    lines += [(AT_LEAST, 0, 1, NEWEST + 1), (RETURN, 0, 0, no_call)]
    bare = rules["without_walls"] if not families else {"refused": {}, "silenced": {}}
    answers = ((rules["escape"], KILL), (rules["refused"], not_permitted), (bare["refused"], not_permitted))
    for names, answer in (*answers, (bare["silenced"], ERROR)):
        for name in (name for group in names.values() for name in group if name in numbers):
            lines += [(EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, answer)]
    lines += [(EQUAL, 0, 1, numbers["clone3"]), (RETURN, 0, 0, no_call)]
    lines += _judge(numbers["socket"], 0, families, ALLOW, no_family)
    lines += _judge(numbers["fcntl"], 1, (F_SETSIG, F_SETLEASE), not_permitted, ALLOW)
    if not families:
        lines += _judge(numbers["socketpair"], 1, STREAMS, ALLOW, no_family)
        for name, everyone in EVERY_PROCESS_OF_A_USER.items():
            lines += _judge(numbers[name], 0, (everyone,), not_permitted, None)
            lines += _judge(numbers[name], 1, (0,), ALLOW, not_permitted)
        for name in rules["own_process_only"]:
            lines += _judge(numbers[name], 0, (0,), ALLOW, not_permitted)
    lines += _judge(numbers["clone"], 0, (NEW_NAMESPACES & ~0xFF,), KILL, ALLOW, ANY_BIT)
    lines += _judge(numbers["unshare"], 0, (NEW_NAMESPACES,), KILL, ALLOW, ANY_BIT)
    lines += _judge(numbers["ioctl"], 1, (TYPE_INTO_TERMINAL, PASTE_INTO_TERMINAL), not_permitted, ALLOW)
    lines += _judge(numbers["prlimit64"], 0, (0,), ALLOW, not_permitted)
    lines += _judge(numbers["personality"], 0, (0, 0xFFFFFFFF), ALLOW, not_permitted)
    lines += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _judge(
    number: int, argument: int, values: Iterable[int], then: int, otherwise: int | None, test: int = EQUAL
) -> list[Instruction]:
    """For this call: ``then`` if its argument (the low half: all of them are 32-bit here) is one of ``values``, else
    ``otherwise``, or, if that is None, whatever is said of the call further on."""
    tests = [line for value in values for line in ((test, 0, 1, value), (RETURN, 0, 0, then))]
    end = (LOAD, 0, 0, NUMBER) if otherwise is None else (RETURN, 0, 0, otherwise)
    body = [(LOAD, 0, 0, ARGUMENTS + 8 * argument), *tests, end]
    return [(EQUAL, 0, len(body), number), *body]
