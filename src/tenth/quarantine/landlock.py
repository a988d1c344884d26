"""Landlock (Linux 5.13 on): what of files, TCP and other processes a child may touch, without namespaces.

The supervisor makes the rules and hands over their descriptor; the launcher binds itself to them. Does not protect
against: `stat` of any path, Unix sockets that have a path, UDP; the system-call filter refuses the latter two. Numbers
and structures: linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

CREATE_RULESET, ADD_RULE = 444, 445
"""System calls, the same numbers on every architecture."""
PATH_BENEATH = 1
READ = 1 << 0 | 1 << 2 | 1 << 3
"""execute, read a file, read a folder"""
ALL_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many file-system rights each version of the interface knows; later ones know no more."""
OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""Rights that make sense for a plain file or device: execute, write, read, truncate, ioctl."""
TCP = 1 << 0 | 1 << 1
SCOPES = 1 << 0 | 1 << 1
"""No abstract Unix sockets and no signals beyond the child's own tree."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall


@cache
def version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    return max(0, int(_syscall(CREATE_RULESET, None, 0, 1)))


def rules(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Descriptor of a ruleset: read and run below ``readable``, everything below ``writable``, nothing else.

    Raises OSError.
    """
    known = version()
    every = (1 << ALL_RIGHTS.get(known, 16)) - 1
    attributes = struct.pack("=QQQ", every, TCP if known >= 4 else 0, SCOPES if known >= 6 else 0)
    attributes = attributes[: 24 if known >= 6 else 16 if known >= 4 else 8]
    ruleset = _call(CREATE_RULESET, attributes, len(attributes), 0)
    for paths, rights in ((readable, READ), (writable, every)):
        for path in paths:
            try:
                place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                allowed = rights if stat.S_ISDIR(os.fstat(place).st_mode) else rights & OF_FILES
                _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed & every, place), 0)
            finally:
                os.close(place)
    os.set_inheritable(ruleset, True)
    return ruleset


def _call(number: int, *arguments: object) -> int:
    result = int(_syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"landlock: {os.strerror(code)}")
    return result
