"""What one program may ask of the kernel: a list of what is allowed, unlike the quarantine's, which lists what is not.

A program computes, prints and answers. Whatever else it asks for kills it (SIGSYS), so that an attempt is seen; a few
calls that honest Python makes in passing are only refused (EPERM). It comes on top of the sandbox's own filter.
Does not protect against: bugs in the calls that are allowed. Numbers: asm/unistd_64.h, asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import platform
import struct

from tenth.quarantine import seccomp

ALLOWED = {
    "write": (1, 64),
    "futex": (202, 98),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "mprotect": (10, 226),
    "exit_group": (231, 94),
    "exit": (60, 93),
    "read": (0, 63),
    "close": (3, 57),
    "writev": (20, 66),
    "getrandom": (318, 278),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "restart_syscall": (219, 128),
    "sched_yield": (24, 124),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "rt_sigreturn": (15, 139),
}
"""Name -> number on x86_64, on aarch64. What can be read and written are three pipes and the null device."""
REFUSED = {
    "ioctl": (16, 29),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "tgkill": (234, 131),
}
"""Is this a terminal? And what abort(3) tries; without handlers, the timer that ends a program cannot be caught."""

OPENAT, FLAGS = (257, 56), 16 + 8 * 2
"""Python's compiler looks for a file named after the source when it refuses one, and is told that there is none: the
one call of ``openat`` without O_CLOEXEC. Whatever a program opens by Python's means has that flag."""


def program() -> bytes:
    """The filter's instructions, 8 bytes each. Raises KeyError where there is no filter for this processor."""
    machine = platform.machine()
    place = 0 if machine == "x86_64" else 1
    lines: list[tuple[int, int, int, int]] = [
        (seccomp.LOAD, 0, 0, seccomp.ARCHITECTURE),
        (seccomp.EQUAL, 1, 0, seccomp.AUDIT[machine]),
        (seccomp.RETURN, 0, 0, seccomp.KILL),
        (seccomp.LOAD, 0, 0, seccomp.NUMBER),
    ]
    not_there = (seccomp.RETURN, 0, 0, seccomp.ERROR | errno.ENOENT)
    lines += [(seccomp.EQUAL, 0, 4, OPENAT[place]), (seccomp.LOAD, 0, 0, FLAGS), (seccomp.EQUAL, 0, 1, 0), not_there]
    lines += [(seccomp.RETURN, 0, 0, seccomp.KILL)]
    known = {numbers[place]: seccomp.ALLOW for numbers in ALLOWED.values()}
    known |= {numbers[place]: seccomp.ERROR | errno.EPERM for numbers in REFUSED.values()}
    lines += _search(sorted(known.items()))
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def _search(known: list[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """The answer to each number, by halving: whenever a filter is set, the kernel tries it on every call there is."""
    if len(known) == 1:
        ((number, answer),) = known
        return [(seccomp.EQUAL, 0, 1, number), (seccomp.RETURN, 0, 0, answer), (seccomp.RETURN, 0, 0, seccomp.KILL)]
    half = len(known) // 2
    below = _search(known[:half])
    return [(seccomp.AT_LEAST, len(below), 0, known[half][0]), *below, *_search(known[half:])]
