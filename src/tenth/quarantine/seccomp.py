"""The system-call filter: a classic BPF program, compiled from system_calls.toml, for bubblewrap or for our launcher.

A list of what is refused, with the reasons, and not of what is allowed: see the table. Sockets are the exception,
where only some families exist: a network namespace alone lets vsock and netlink through. Does not protect against:
bugs in the calls that are allowed. Layout: linux/seccomp.h, linux/filter.h (seccomp(2)).
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
    """The filter's instructions, 8 bytes each. Sockets exist of these ``families`` only, and pairs of streams."""
    machine, rules = platform.machine(), table()
    numbers = rules["numbers"][machine]
    lines: list[Instruction] = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, AUDIT[machine]), (RETURN, 0, 0, KILL)]
    lines += [(LOAD, 0, 0, NUMBER)]
    if machine == "x86_64":
        lines += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)]
    for names, answer in ((rules["escape"], KILL), (rules["refused"], ERROR | errno.EPERM)):
        for name in (name for group in names.values() for name in group if name in numbers):
            lines += [(EQUAL, 0, 1, numbers[name]), (RETURN, 0, 0, answer)]
    lines += [(EQUAL, 0, 1, numbers["clone3"]), (RETURN, 0, 0, ERROR | errno.ENOSYS)]
    lines += _judge(numbers["socket"], _only(0, families, errno.EAFNOSUPPORT))
    if UNIX not in families:
        lines += _judge(numbers["socketpair"], _only(1, STREAMS, errno.EAFNOSUPPORT))
    lines += _judge(numbers["clone"], [_argument(0), (ANY_BIT, 0, 1, NEW_NAMESPACES & ~0xFF), (RETURN, 0, 0, KILL)])
    lines += _judge(numbers["unshare"], [_argument(0), (ANY_BIT, 0, 1, NEW_NAMESPACES), (RETURN, 0, 0, KILL)])
    lines += _judge(numbers["ioctl"], _none_of(1, (TYPE_INTO_TERMINAL, PASTE_INTO_TERMINAL)))
    lines += _judge(numbers["prlimit64"], _only(0, (0,), errno.EPERM))
    lines += _judge(numbers["personality"], _only(0, (0, 0xFFFFFFFF), errno.EPERM))
    lines += [(RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _argument(index: int) -> Instruction:
    """Load the low half of an argument (all of them are 32-bit here)."""
    return (LOAD, 0, 0, ARGUMENTS + 8 * index)


def _judge(number: int, body: list[Instruction]) -> list[Instruction]:
    """For this call run ``body``; if that does not decide, allow."""
    return [(EQUAL, 0, len(body) + 1, number), *body, (RETURN, 0, 0, ALLOW)]


def _only(index: int, values: Iterable[int], refusal: int) -> list[Instruction]:
    tests: list[Instruction] = []
    for value in values:
        tests += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
    return [_argument(index), *tests, (RETURN, 0, 0, ERROR | refusal)]


def _none_of(index: int, values: Iterable[int]) -> list[Instruction]:
    tests: list[Instruction] = []
    for value in values:
        tests += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ERROR | errno.EPERM)]
    return [_argument(index), *tests]
