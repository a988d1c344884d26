"""What attempts share: the facts they are given, system calls by number, words for what only outside can see."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

Facts = dict[str, Any]
"""What lies outside, and where: see outside.py."""
REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)
NOWHERE = b"/nowhere/tenth-probe"
X86 = os.uname().machine == "x86_64"

_libc = ctypes.CDLL(None, use_errno=True)


def call(numbers: tuple[int, int], *arguments: Any) -> int:
    """A system call by number (x86_64, aarch64). Refused: OSError. Any other answer means that the kernel heard it."""
    result = int(_libc.syscall(numbers[0] if X86 else numbers[1], *arguments))
    code = ctypes.get_errno()
    if result < 0 and code in REFUSED:
        raise OSError(code, os.strerror(code))
    return result


def unseen() -> str:
    """What was done may have been done to nothing: outside.py looks."""
    raise PermissionError("done; whether it arrived is seen outside")
