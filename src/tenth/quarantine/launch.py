"""The launcher: keeps the trainer's tree together, in either back-end, and outlives no supervisor.

Run as ``python -I -S launch.py DOOR RULESET FILTER LARGEST COMMAND...``; the first three are descriptors, or -1. It
gains no privileges any more, adopts every orphan of the tree (child subreaper), stays awake when the tree is frozen,
and kills the whole tree when it hears that the supervisor has died (promise 6). Its child binds itself to the Landlock
ruleset and the system-call filter before it becomes the command. Standard library only, and little of it: each import
delays every start.

From Linux 6.12 on it puts a fence around itself and the tree, beyond which no signal goes. Then "everyone whom I may
signal" is the tree, and the kernel reaches it all at once, however fast it forks: SIGUSR1 to the launcher stops it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36
PR_SET_SECCOMP, MODE_FILTER, PR_CAPBSET_DROP, LANDLOCK_RESTRICT_SELF = 22, 2, 24, 446
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, PATH_BENEATH, SCOPE_SIGNAL, MOVE = 444, 445, 1, 2, 1 << 13
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def main(door: int, ruleset: int, screen: int, largest: int, command: list[str]) -> int:
    """``door``: descriptor of the procs file of a cgroup for the child; ``largest``: of a file, bytes."""
    parent = os.getppid()
    prctl = _libc.prctl
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_CHILD_SUBREAPER, 1), (PR_SET_PDEATHSIG, signal.SIGTERM)):
        if prctl(option, int(value), 0, 0, 0) != 0:
            print(f"tenth: prctl({option}) failed: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            return 126
    fenced = _fence(ruleset >= 0)
    signal.signal(signal.SIGTERM, lambda *_: _end(fenced))
    if fenced:
        signal.signal(signal.SIGUSR1, lambda *_: _everyone(signal.SIGSTOP))
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    if os.getppid() != parent:
        return 125
    child = os.fork()
    if child == 0:
        _become(door, ruleset, screen, largest, command)
    os.closerange(3, 1024)
    return _reap_until(child, fenced)


def _fence(files: bool) -> bool:
    """No signal of ours leaves this process and its children any more; tried on our parent, before we rely on it.

    ``files``: a ruleset for files follows. Then this one must say that files may be moved between folders, or none may.
    """
    moved = MOVE if files else 0
    ruleset = _libc.syscall(LANDLOCK_CREATE_RULESET, struct.pack("=QQQ", moved, 0, SCOPE_SIGNAL), 24, 0)
    if ruleset < 0:
        return False
    if files:
        root = os.open("/", os.O_PATH)
        _libc.syscall(LANDLOCK_ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", moved, root), 0)
        os.close(root)
    bound = _libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return bool(bound == 0)
    return False


def _everyone(number: signal.Signals) -> None:
    """Inside the fence; we ourselves are left out."""
    try:
        os.kill(-1, number)
    except (ProcessLookupError, PermissionError):
        pass  # there is nobody


def _become(door: int, ruleset: int, screen: int, largest: int, command: list[str]) -> None:
    try:
        if door >= 0:
            os.write(door, b"0")
            os.close(door)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(name, signal.SIG_DFL)
        if ruleset >= 0:
            _check(_libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "the folders cannot be closed")
            os.close(ruleset)
        if screen >= 0:
            for capability in range(64):
                _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for those that are not held anyway
            instructions = os.read(screen, 1 << 16)
            os.close(screen)
            program = _Program(len(instructions) // 8, instructions)
            _check(_libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0), "calls cannot be filtered")
        os.execvp(command[0], command)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        print(f"tenth: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
    finally:
        os._exit(127)


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def _reap_until(child: int, fenced: bool) -> int:
    """Wait for orphans too, so that their processor time is counted; when the child ends, so does its tree."""
    while True:
        pid, status = os.wait()
        if pid == child:
            _kill_tree(fenced)
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _end(fenced: bool) -> None:
    _kill_tree(fenced)
    os._exit(124)


def _kill_tree(fenced: bool) -> None:
    """Kill until nothing is left; what a killed parent leaves behind is adopted, and found the next time round."""
    if fenced:
        _everyone(signal.SIGKILL)
    while children := _children():
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for _ in children:
            os.wait()


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:5]]
    # Not sys.exit: while Python ends in order, a signal it handled until then kills it, and hides how the child ended.
    os._exit(main(given[0], given[1], given[2], given[3], sys.argv[5:]))
