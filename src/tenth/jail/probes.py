"""The attacks that a jail must hold before anything runs in it: hostile programs, and how each has to end.

Each is harmless by itself: it attacks only its own process, a process number that cannot exist, or the null device, so
that nothing happens even where no wall stands. A probe that reaches the end of its attack returns: then it got through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenth.jail.wire import (
    CRASHED,
    DENIED,
    FLOODED,
    GARBLED,
    LEFT,
    MEMORY,
    RAISED,
    RETURNED,
    TIMEOUT,
    Limits,
    Outcome,
    Program,
)

QUICK = Limits(cpu_seconds=0.1, seconds=5.0, memory_bytes=96 << 20)
NO_ONE = 2**22 + 1
"""Above every process number there can be (pid_max is at most 2^22)."""


@dataclass(frozen=True)
class Probe:
    """One attack."""

    name: str
    source: str
    """Defines ``attack()``."""
    held: tuple[str, ...]
    """The verdicts that mean that it was held."""
    limits: Limits = QUICK
    value: Any = None
    """Where ``returned`` is among them: what it must have returned."""

    def program(self) -> Program:
        return Program(self.source, "attack", [[]], self.limits)

    def record(self, outcome: Outcome) -> dict[str, Any]:
        """A row for a log."""
        contained = outcome.verdict in self.held
        if contained and outcome.verdict == RETURNED:
            contained = all(outcome.right([self.value]))
        return {"name": self.name, "contained": contained, "verdict": outcome.verdict, "said": outcome.said}


def _call(name: str, statement: str, *held: str, module: str = "os") -> Probe:
    return Probe(name, f"import {module}\ndef attack():\n    return repr({statement})\n", held or (DENIED,))


def _body(name: str, body: str, *held: str, **more: Any) -> Probe:
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return Probe(name, f"import os, sys\ndef attack():\n{lines}", held, **more)


CTYPES = """
frame = sys._getframe()
while 'ctypes' not in frame.f_globals: frame = frame.f_back
libc = frame.f_globals['ctypes'].CDLL(None)
"""
"""A program that looks for it finds the zygote's own way to the C library: the kernel has to hold it, not Python."""

FIND = """
for number in range(4, 1024):
    try: os.write(number, b'')
    except OSError: continue
    return number
return 0
"""

PROBES = (
    _body("an honest program runs", "return [1, 'a', None]", RETURNED, value=[1, "a", None], limits=Limits()),
    _body("allocate 16 MiB, as it may", "return len(bytearray(1 << 24))", RETURNED, value=1 << 24, limits=Limits()),
    # time
    _body("loop for ever", "while True: pass", TIMEOUT),
    _body("sleep for ever", "import time\ntime.sleep(3600)", TIMEOUT, RAISED, limits=Limits(0.1, 0.2)),
    _body("never finish one operation", "return len(str(7 ** (7 ** 9)))", TIMEOUT, MEMORY),
    _body("ignore the signal of its timer", "import signal\nsignal.signal(27, signal.SIG_IGN)", RAISED, DENIED),
    _body("block the signal of its timer", "import signal\nsignal.pthread_sigmask(0, {27})", RAISED, DENIED),
    _body("stop its timer", "import signal\nreturn signal.setitimer(2, 0)", RAISED, DENIED),
    # memory, recursion
    _body("take a gibibyte", "return len(bytearray(1 << 30))", MEMORY),
    _body("take memory piece by piece", "held = []\nwhile True: held.append(bytearray(1 << 20))", MEMORY, TIMEOUT),
    _body("make a giant integer", "return (1 << (1 << 31)).bit_length()", MEMORY, TIMEOUT),
    _body("make a giant text", "return len('x' * (1 << 33))", MEMORY),
    _body("answer with an integer of a million digits", "return 1 << 4_000_000", RAISED, TIMEOUT),
    _body("recur for ever", "def down(): return down()\nreturn down()", RAISED),
    _body("overflow the C stack", "sys.setrecursionlimit(1 << 30)\nx = []\nfor _ in range(10**6): x = [x]\nreturn x",
          RAISED, CRASHED, MEMORY, TIMEOUT),
    # output
    _body("print for ever", "while True: print('x' * 1000)", FLOODED),
    _body("print errors for ever", "while True: os.write(2, b'x' * 1000)", FLOODED),
    _body("answer with a mebibyte", "return 'x' * (1 << 20)", FLOODED),
    _body("write to the channel of answers for ever", "while True: os.write(3, b'x' * 1000)", FLOODED),
    _body("answer nonsense", "os.write(3, b'[[[[')\nos._exit(0)", GARBLED),
    _body("answer with a tower of brackets", "os.write(3, b'[' * 60000)\nos._exit(0)", GARBLED),
    # leaving
    _body("leave", "sys.exit(0)", LEFT),
    _body("leave at once", "os._exit(0)", LEFT),
    _body("leave by abort", "os.abort()", CRASHED),
    # processes
    _call("fork", "os.fork()"),
    _body("fork again and again", "for _ in range(3): os.fork()", DENIED),
    _body("start a thread", "import _thread\nreturn _thread.start_new_thread(print, ())", DENIED),
    _call("run a program", "os.execv('/bin/true', ['true'])"),
    _call("spawn a program", "os.posix_spawn('/bin/true', ['true'], {})"),
    _call("signal its parent", "os.kill(os.getppid(), 0)"),
    _call("signal another process", f"os.kill({NO_ONE}, 0)"),
    _call("signal everyone", "os.killpg(os.getpgid(0), 0)"),
    _call("hold on to another process", f"os.pidfd_open({NO_ONE})"),
    _call("leave its session", "os.setsid()"),
    # files and sockets
    _call("read a file", "open('/etc/passwd').read()", module="io"),
    _call("list a folder", "os.listdir('/')"),
    _call("look at a file", "os.stat('/')"),
    _call("write a file", "os.open('/dev/null', os.O_WRONLY)"),
    _call("make a folder", "os.mkdir('/nowhere/tenth-probe')"),
    _call("make a pipe", "os.pipe()"),
    _call("make a file in memory", "os.memfd_create('x')"),
    _body("read its own memory", "return repr(open('/proc/self/mem', 'rb'))", DENIED),
    # the same through the C library, which Python cannot take away
    _body("make a socket", CTYPES + "return libc.socket(2, 1, 0)", DENIED),
    _body("make a pair of sockets", CTYPES + "return libc.socketpair(1, 1, 0, bytes(8))", DENIED),
    _body("trace a process", CTYPES + f"return libc.ptrace(16, {NO_ONE}, 0, 0)", DENIED),
    _body("make namespaces", CTYPES + "return libc.unshare(0x10000000)", DENIED),
    _body("load a filter of its own", CTYPES + "return libc.prctl(22, 2, 0, 0, 0)", DENIED),
    _body("raise its limits", CTYPES + "return libc.setrlimit(9, bytes(16))", DENIED),
    _body("use the other numbering of calls", CTYPES + "return libc.syscall(0x40000000 + 39)", DENIED),
    _body("submit to io_uring", CTYPES + "return libc.syscall(425, 1, bytes(120))", DENIED),
    # what is not there
    _body("import what was not given", "import ctypes", RAISED),
    _body("find an open descriptor", FIND, RETURNED, value=0),
)  # fmt: skip
"""The control comes first: a jail in which nothing runs would hold every attack."""
