"""Inside the sandbox: one process that has Python ready, and forks once for each program. Standard library only.

Run as ``python -P -s -S -B zygote.py DESCRIPTOR SETTINGS``, in the sandbox, by __main__.py; the other end is wire.py.

A program finds nothing of any other program in its memory: its source and inputs are read by its own process, after the
fork, from a socket that keeps records apart; what it answers passes through two buffers that are wiped before the next.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import resource
import signal
import sys
import time
import warnings

TYPE_CHECKING = False  # every module here lies in every program's memory: its pages are what a fork costs
if TYPE_CHECKING:
    from typing import Any

NULL, SAID_TO, ERRORS_TO, ANSWER_TO, LINK = range(5)
MAX_HEAD, MAX_BODY = 256, 1 << 17
PR_SET_CHILD_SUBREAPER, PR_SET_SECCOMP, MODE_FILTER = 36, 22, 2
MOST_SAID = 4_096
START_SECONDS = 15.0
"""For a forked process to come as far as the program."""
FIRST_SECONDS, TICK_SECONDS = 0.02, 0.25
"""How long a program is left alone before it is looked at, at first, and at most."""
ENDED = (int(signal.SIGCHLD),)
POOL, POOL_HEAD, BYTES_HEAD = 1 << 14, 48, 33
"""Bytes of a pool, in it before its first object, and in an object of bytes besides them (Objects/obmalloc.c). Where
they are others, programs cost more, and that is all."""
BEGUN = b" "
"""Its first word in the pipe of answers: from here on the program's time counts."""
NOT_SEALED = 70
OUT_OF_MEMORY = b'[["raised","MemoryError"]]'
WARM = rb'["def f(x):\n    return [one * 2 for one in x]\n", "f", [[[1, 2]], [1]]]'
"""Run a few times before the first fork: what Python makes ready once, it need not make ready in every child."""

_spell = json.JSONEncoder(allow_nan=False).encode
_read = json.JSONDecoder().raw_decode
_prctl = ctypes.CDLL(None, use_errno=True).prctl
_fork = ctypes.PyDLL(None, use_errno=True).fork
"""The C library's. Python's own also makes locks anew for threads, of which there are none here, and calls what modules
have asked for: random numbers would begin anew in each process, which is done before the fork here, for less."""
_seed = super(random.Random, random.seed.__self__).seed  # type: ignore[attr-defined]
"""All that ``random.seed()`` comes to."""


class _Instructions(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def main(descriptor: int, settings: dict[str, Any]) -> None:
    os.dup2(descriptor, LINK)
    os.dup2(NULL, ANSWER_TO)  # until its pipe is made
    os.closerange(LINK + 1, 4096)
    code = bytes.fromhex(settings["filter"])
    screen = _Instructions(len(code) // 8, code)
    for name in settings["modules"]:
        __import__(name)
    for name in [one for one in sys.modules if one.partition(".")[0] in ("ctypes", "_ctypes")]:
        del sys.modules[name]
    sys.meta_path.clear()  # what is not here by now cannot be had; the filter is what forbids it
    sys.path_importer_cache.clear()
    warnings.simplefilter("ignore")  # a warning would read its source line from a file
    time.localtime()  # reads its table once
    if _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "orphans cannot be adopted")
    for _ in range(20):
        _answers(WARM)
    answer, said = _Pipe(settings["answer_bytes"], ANSWER_TO), _Pipe(settings["answer_bytes"], SAID_TO)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDED)
    gc.collect()
    kept = _filled()  # noqa: F841 - for as long as there are programs
    gc.freeze()
    try:
        os.write(LINK, b'{"ready":1}')
        while head := os.read(LINK, MAX_HEAD):
            number, seconds, cpu, memory = head.split()
            _one(screen, int(number), float(seconds), float(cpu), int(memory), answer, said)
    except ConnectionError:  # whoever was given the jail left without a word, or without hearing that it is ready
        pass


def _filled() -> list[object]:
    """An object in each gap of Python's memory: what is made from here on lies together, on fewer pages.

    Python keeps objects of one size in pools, and begins a new pool only where no other has room.
    """
    kept: list[object] = []
    for size in range(16, 513, 16):
        for _ in range(4 * POOL // size):
            kept.append(object() if size == 16 else complex(size) if size == 32 else bytes(size - BYTES_HEAD))
            if id(kept[-1]) % POOL == POOL_HEAD:
                break
    return kept


class _Pipe:
    """What programs write, one after the other, into the same pipe: empty before each, and its buffer wiped."""

    def __init__(self, most: int, target: int) -> None:
        self.source, end = os.pipe()
        os.dup2(end, target)
        os.close(end)
        os.set_blocking(self.source, False)
        self.buffer, self.length = bytearray(most + 1), 0

    def drained(self) -> bool:
        """Take what is there; is it no more than it may be?"""
        try:
            self.length += os.readv(self.source, [memoryview(self.buffer)[self.length :]])
        except BlockingIOError:  # nothing
            pass
        return self.length < len(self.buffer)

    def empty(self) -> None:
        """Nobody writes any more, and what there was is taken, or as much as may be: forget it, and the rest."""
        while True:
            full = self.length == len(self.buffer)
            self.buffer[: self.length] = bytes(self.length)
            self.length = 0
            if not full:
                return
            self.drained()


def _one(
    screen: _Instructions, number: int, seconds: float, cpu: float, memory: int, answer: _Pipe, said: _Pipe
) -> None:
    began = time.perf_counter()
    _seed()  # or all programs would draw the same random numbers
    pid = _fork()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "no process can be forked")
    if pid == 0:
        try:
            _become(screen, cpu, memory)
        finally:
            os._exit(NOT_SEALED)
    end, status, used = _watch(pid, answer, said, seconds)
    inside = [answer.drained(), said.drained()]
    if not end and not all(inside):
        end = "flooded"
    if not end:
        code = os.waitstatus_to_exitcode(status)
        end = f"exit {code}" if code >= 0 else f"signal {-code}"
    if answer.length == 0:
        sys.exit("tenth: a program could not be begun")  # it may not have taken its body from the socket
    answered, heard = 1 if end == "flooded" else answer.length, min(said.length, MOST_SAID)
    taken, cpu = time.perf_counter() - began, used.ru_utime + used.ru_stime
    facts = f'"id":{number},"end":"{end}","answer":{answered - len(BEGUN)},"said":{heard}'
    line = f'{{{facts},"seconds":{taken},"cpu_seconds":{cpu}}}\n'.encode()
    os.writev(LINK, [line, memoryview(answer.buffer)[len(BEGUN) : answered], memoryview(said.buffer)[:heard]])
    answer.empty()
    said.empty()
    _nobody_is_left()


def _watch(pid: int, answer: _Pipe, said: _Pipe, seconds: float) -> tuple[str, int, resource.struct_rusage]:
    """Wait until the program's process has ended, or kill it: how we ended it, if we did; its status; what it used.

    Most programs end within the first tick, and wake us once. What a longer one writes is taken tick by tick.
    """
    left, begun, end, tick = START_SECONDS, False, "", FIRST_SECONDS
    while not end:
        before, most = time.monotonic(), max(0.0, min(left, tick))
        signal.sigtimedwait(ENDED, most)  # of an earlier program it may be, or of one that a pull has frozen
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:
            return "", status, used
        left -= min(time.monotonic() - before, most)  # whoever is frozen in between loses a tick and no more
        tick = min(2 * tick, TICK_SECONDS)
        if not answer.drained() or not said.drained():
            end = "flooded"
        elif not begun and answer.length:
            left, begun = seconds, True
        elif left <= 0:
            end = "timeout"
    os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    return end, status, used


def _nobody_is_left() -> None:
    """A program cannot fork. Were there a child of one, it would be ours now: then we end, and all with us."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    sys.exit("tenth: a program has left a process behind")


# --- in the program's own process -------------------------------------------------------------------------------------


def _become(screen: _Instructions, cpu: float, memory: int) -> None:
    """Take the program from the socket, let go of everything, close the door, read it and run it."""
    body = os.read(LINK, MAX_BODY)
    os.dup2(SAID_TO, ERRORS_TO)
    os.closerange(LINK, 64)
    bounds = (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(cpu) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, ANSWER_TO + 1),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in bounds:
        resource.setrlimit(kind, (most, most))
    os.write(ANSWER_TO, BEGUN)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    if _prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(screen), 0, 0) != 0:
        os._exit(NOT_SEALED)
    text = _answers(body)
    while text:
        text = text[os.write(ANSWER_TO, text) :]
    os._exit(0)


def _answers(body: bytes) -> bytes:
    """From here on nothing in this process can be trusted: what comes of it is the program's word."""
    try:
        (source, entry, inputs), _ = _read(body.decode())
        names: dict[str, Any] = {"__name__": "program"}
        exec(compile(source, "<program>", "exec"), names)  # noqa: S102 - this is what the jail is for
        function = names[entry]
        rows = [_row(function, given) for given in inputs]
        sys.stdout.flush()
        sys.stderr.flush()
        return f"[{','.join(rows)}]".encode()
    except MemoryError:
        return OUT_OF_MEMORY
    except Exception as error:  # noqa: BLE001 - whatever it raises is what became of it
        return f"[{_raised(error)}]".encode()


def _row(function: Any, given: list[Any]) -> str:
    try:
        return f"[{_spell(function(*given))}]"
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001
        return _raised(error)


def _raised(error: Exception) -> str:
    try:
        what = str(error)
    except Exception:  # noqa: BLE001
        what = ""
    return _spell(["raised", f"{type(error).__name__}: {what}"[:300]])


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
