"""Run a program and see every system call by which it changes files below a folder; spoil one of them.

``python calls.py SPEC COMMAND...`` runs COMMAND as its child, under ptrace(2), and ends as it ends. SPEC is JSON:
``below``, the folder; ``ready``, true if the command stops itself (SIGSTOP) when it is to be looked at; ``report``, the
file to which each such call is written when the command has ended; ``at``, the number of the call that is spoiled, from
1 on; ``how``, one of

- ``before``, ``after``: SIGKILL at this moment (before it, the kernel does not begin the call);
- ``cut``: the same as ``before``, and what lay in the folder and was not synced is lost, as when the power goes (with
  ``at`` 0: when the command has ended);
- ``torn``: half of the bytes of a write, then SIGKILL;
- ``short``: half of the bytes of this write and of every later one, which is no error;
- ``EIO``: the call is not made, and fails so;
- ``ENOSPC``: the same, and from then on every call that needs room on the disk fails.

The child alone is looked at, not what it starts. For x86-64; ``SUPPORTED`` says so. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import signal
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.disk import Disk

SUPPORTED = sys.platform == "linux" and platform.machine() == "x86_64"
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}
LASTING = ("ENOSPC", "short")

NUMBERS = {
    "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328, "sendfile": 40, "copy_file_range": 326,
    "splice": 275, "fsync": 74, "fdatasync": 75, "sync_file_range": 277, "msync": 26, "truncate": 76, "ftruncate": 77,
    "fallocate": 285, "fchmod": 91, "fchown": 93, "bind": 49, "sendto": 44, "sendmsg": 46,
    "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90,
    "mknod": 133, "open": 2, "openat": 257, "openat2": 437, "mkdirat": 258, "mknodat": 259, "unlinkat": 263,
    "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "fchmodat2": 452, "utimensat": 280,
    "renameat2": 316, "setxattr": 188, "fsetxattr": 190, "clone": 56, "fork": 57, "vfork": 58, "clone3": 435,
    "kill": 62, "tgkill": 234, "pidfd_send_signal": 424,
}  # fmt: skip
"""Calls by which others are affected, through files or otherwise, by the kernel's table for x86-64."""
NAMES = {number: name for name, number in NUMBERS.items()}
NO_FILES = {"sendto", "sendmsg", "clone", "fork", "vfork", "clone3", "kill", "tgkill", "pidfd_send_signal"}
ON_DESCRIPTOR = {
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "fsync", "fdatasync", "sync_file_range",
    "ftruncate", "fallocate", "fchmod", "fchown", "fsetxattr",
}  # fmt: skip
AT_FOLDER = {"openat": 0, "openat2": 0, "mkdirat": 0, "mknodat": 0, "unlinkat": 0, "renameat": 2, "renameat2": 2}
AT_FOLDER |= {"linkat": 2, "symlinkat": 1, "fchmodat": 0, "fchmodat2": 0, "utimensat": 0}
"""Which argument is the folder that the path (of what is made, for two) is relative to; the path follows it."""
PATH = {"rename": 1, "link": 1, "symlink": 1}
NEEDS_ROOM = {"write", "pwrite64", "writev", "mkdir", "mkdirat", "open", "openat", "creat", "link", "linkat", "bind"}
NEEDS_ROOM |= {"symlink", "symlinkat", "fallocate", "copy_file_range", "mknod", "mknodat"}
LENGTH = {"write", "pwrite64"}
"""Their third argument is the length of what is written."""
MOST_SEEN = 1 << 20

_TRACEME, _POKEUSER, _CONT, _SYSCALL, _SETOPTIONS, _SYSCALL_INFO = 0, 6, 7, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 1, 0x100000
_RAX, _RDX, _ORIG_RAX = 80, 96, 120
"""Offsets in struct user (sys/user.h)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class _Info(ctypes.Structure):
    """struct ptrace_syscall_info (linux/ptrace.h)"""

    _fields_ = (
        ("op", ctypes.c_uint8), ("pad", ctypes.c_uint8 * 3), ("arch", ctypes.c_uint32), ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64), ("number", ctypes.c_uint64), ("arguments", ctypes.c_uint64 * 6),
        ("more", ctypes.c_uint64),
    )  # fmt: skip


@dataclass
class Call:
    """One call. ``number`` counts those that change files below the folder; it is 0 for what else others may notice."""

    number: int
    name: str
    path: str
    """Relative to the folder; empty for what does not lie there."""
    data: str = ""
    """What was written or said, as Latin-1."""
    descriptor: int = -1
    result: int | None = None
    """None: the process did not live to see it."""
    spoiled: bool = False


@dataclass
class Watcher:
    """Looks at one child."""

    below: str
    at: int = 0
    how: str = ""
    ready: bool = False
    calls: list[Call] = field(default_factory=list)
    count: int = 0
    disk: Disk | None = None
    lasting: bool = False
    """What is spoiled stays so."""

    def run(self, command: list[str]) -> int:
        """The exit status, as waitstatus."""
        pid = os.fork()
        if pid == 0:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvp(command[0], command)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda which, _: os.kill(pid, which))  # it is meant for the child
        return self.follow(pid)

    def follow(self, pid: int) -> int:
        """A child that asked to be traced and has stopped, to its end."""
        os.waitpid(pid, 0)
        _ptrace(_SETOPTIONS, pid, 0, _SYSGOOD | _EXITKILL)
        deliver, call, code = 0, None, 0
        how = _CONT if self.ready else _SYSCALL
        while True:
            with contextlib.suppress(ProcessLookupError):
                _ptrace(how, pid, 0, deliver)
            _, status = os.waitpid(pid, 0)
            if not os.WIFSTOPPED(status):
                return status
            number = os.WSTOPSIG(status)
            deliver = 0
            if number == signal.SIGTRAP | 0x80:
                with contextlib.suppress(ProcessLookupError):
                    if call is None:
                        call, code = self._entry(pid)
                    else:
                        self._exit(pid, call, code)
                        call = None
            elif how == _CONT and number == signal.SIGSTOP:
                how = _SYSCALL
            elif number != signal.SIGTRAP:  # the trap of an exec tells nothing
                deliver = number

    def _entry(self, pid: int) -> tuple[Call | bool, int]:
        """The call that is about to be made, True if it does not matter; and the error that it is to return, or 0."""
        info = _info(pid)
        call = self._seen(pid, NAMES.get(info.number, ""), list(info.arguments))
        if call is None:
            return True, 0
        self.calls.append(call)
        return call, self._spoil(pid, call, info.arguments[2]) if call.number else 0

    def _spoil(self, pid: int, call: Call, length: int) -> int:
        call.spoiled = call.number == self.at
        self.lasting = self.lasting or (call.spoiled and self.how in LASTING)
        if call.spoiled and self.how in ("before", "cut"):
            os.kill(pid, signal.SIGKILL)
        halved = (call.spoiled and self.how == "torn") or (self.lasting and self.how == "short")
        if halved and call.name in LENGTH and length > 1:
            _ptrace(_POKEUSER, pid, _RDX, length // 2)
        full = self.lasting and self.how == "ENOSPC" and call.name in NEEDS_ROOM
        if full or (call.spoiled and self.how in ERRORS):
            _ptrace(_POKEUSER, pid, _ORIG_RAX, -1)
            return ERRORS[self.how]
        return 0

    def _exit(self, pid: int, call: Call | bool, code: int) -> None:
        if not isinstance(call, Call):
            return
        if code:
            _ptrace(_POKEUSER, pid, _RAX, -code)
        if self.disk and not code and call.name in ("fsync", "fdatasync"):
            self.disk.synced(f"/proc/{pid}/fd/{call.descriptor}")
        call.result = -code or ctypes.c_int64(_info(pid).number).value
        if call.spoiled and self.how in ("after", "torn"):
            os.kill(pid, signal.SIGKILL)

    def _seen(self, pid: int, name: str, arguments: list[int]) -> Call | None:
        """The call, if it is one that matters."""
        if not name:
            return None
        if name in NO_FILES:
            data = _bytes(pid, arguments[1], min(arguments[2], MOST_SEEN)) if name == "sendto" else b""
            return Call(0, name, "", data.decode("latin-1"))
        flags = arguments[2] if name == "openat" else arguments[1] if name == "open" else os.O_CREAT
        if not flags & (os.O_CREAT | os.O_TRUNC):
            return None
        path = _path(pid, name, arguments)
        if path is None or not (path == self.below or path.startswith(self.below + "/")):
            return Call(0, name, "")
        data = _bytes(pid, arguments[1], min(arguments[2], MOST_SEEN)) if name in LENGTH else b""
        self.count += 1
        descriptor = ctypes.c_int(arguments[0]).value if name in ON_DESCRIPTOR else -1
        return Call(self.count, name, os.path.relpath(path, self.below), data.decode("latin-1"), descriptor)


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, pid, ctypes.c_void_p(address), ctypes.c_void_p(data)) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request}): {os.strerror(ctypes.get_errno())}")


def _info(pid: int) -> _Info:
    info = _Info()
    size = ctypes.c_void_p(ctypes.sizeof(info))
    if _libc.ptrace(_SYSCALL_INFO, pid, size, ctypes.byref(info)) < 0:
        raise OSError(ctypes.get_errno(), "ptrace(PTRACE_GET_SYSCALL_INFO)")
    return info


def _bytes(pid: int, address: int, size: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)


def _text(pid: int, address: int) -> str:
    """A path; it may end just before a page that is not there."""
    found = b""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        while b"\0" not in found and len(found) < 4096:
            memory.seek(address + len(found))
            found += memory.read(256 - (address + len(found)) % 256)
    return os.fsdecode(found.split(b"\0", 1)[0])


def _path(pid: int, name: str, arguments: list[int]) -> str | None:
    """Absolute, of the file that the call changes or makes. None: no file of the file system."""
    if name in ON_DESCRIPTOR:
        found = _link(f"/proc/{pid}/fd/{ctypes.c_int(arguments[0]).value}")
        return found if found.startswith("/") else None
    if name == "copy_file_range":
        return _link(f"/proc/{pid}/fd/{arguments[2]}")
    if name == "bind":
        data = _bytes(pid, arguments[1], min(arguments[2], 110))
        if int.from_bytes(data[:2], sys.byteorder) != 1 or data[2:3] in (b"", b"\0"):
            return None
        text, folder = os.fsdecode(data[2:].split(b"\0", 1)[0]), _link(f"/proc/{pid}/cwd")
    elif name in AT_FOLDER:
        place = AT_FOLDER[name]
        descriptor = ctypes.c_int(arguments[place]).value
        folder = _link(f"/proc/{pid}/cwd" if descriptor == -100 else f"/proc/{pid}/fd/{descriptor}")
        text = _text(pid, arguments[place + 1]) if arguments[place + 1] else ""
    else:
        folder, text = _link(f"/proc/{pid}/cwd"), _text(pid, arguments[PATH.get(name, 0)])
    whole = os.path.normpath(os.path.join(folder, text))
    if whole.startswith("/proc/self/fd/"):
        _, _, _, _, number, *rest = whole.split("/")
        whole = os.path.join(_link(f"/proc/{pid}/fd/{number}"), *rest)
    return whole


def _link(path: str) -> str:
    try:
        return os.readlink(path).removesuffix(" (deleted)")
    except OSError:
        return ""


def main(arguments: list[str]) -> int:
    spec: dict[str, Any] = json.loads(arguments[0])
    report = Path(spec.pop("report"))
    watcher = Watcher(**spec, disk=Disk(spec["below"]) if spec.get("how") == "cut" else None)
    status = watcher.run(arguments[1:])
    if watcher.disk and (not watcher.at or any(call.spoiled for call in watcher.calls)):
        watcher.disk.lose(f"{report}.lost")
    report.write_text("".join(json.dumps(asdict(call)) + "\n" for call in watcher.calls))
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
