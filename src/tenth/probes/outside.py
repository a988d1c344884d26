"""The other side: things worth reaching, a sandbox as the trainer's, and a look at what arrived."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth.errors import RunRefused
from tenth.jail import keeper
from tenth.jail.wire import JailError
from tenth.probes import attempts
from tenth.quarantine import sandbox

SECONDS = 60.0
PROGRAM = str(Path(attempts.__file__).with_name("__main__.py"))
VICTIM = "import signal, sys; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"


@dataclass(frozen=True)
class Probe:
    """One attempt and how it ended."""

    name: str
    about: str
    contained: bool
    what: str
    """What was answered, or what it got hold of."""

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "about": self.about, "contained": self.contained, "what": self.what}


LEFT_OPEN = {
    "full": frozenset[str](),
    "partial": frozenset({"find a process of the host"}),
    "none": frozenset(attempts.ATTEMPTS),
}
"""What each level is known not to contain (docs/threat-model.md)."""


def held(found: list[Probe]) -> str:
    """The level that the probes bear out: the one of this machine's means, unless something got out that should not."""
    escaped, level = {one.name for one in found if not one.contained}, sandbox.level()
    return level if escaped <= LEFT_OPEN[level] else "none"


def probe() -> list[Probe]:
    """Run every attempt in the sandbox of this machine. Raises OSError if the sandbox itself cannot start."""
    with ExitStack() as stack:
        outside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tenth-outside-")))
        inside = outside / "inside"
        inside.mkdir()
        facts, arrived = stack.enter_context(_temptations(outside))
        cell = sandbox.Cell(
            writable=inside, readable=[], hidden=sandbox.hidden_from_everyone(), sealed=[], cwd=inside, env={}
        )
        command = [sys.executable, "-I", "-S", PROGRAM, json.dumps(facts)]
        with sandbox.entering(command, cell) as (line, descriptors):
            done = subprocess.run(
                line, cwd=inside, env=sandbox.environment(cell), stdin=subprocess.DEVNULL, capture_output=True,
                timeout=SECONDS, check=False, pass_fds=descriptors,
            )  # fmt: skip
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        if len(rows) != len(attempts.ATTEMPTS):
            raise OSError(f"the sandbox ended early: {done.stderr.decode(errors='replace')[-300:]}")
        found = [Probe(row["name"], row["about"], not row["escaped"], row["what"]) for row in rows]
        noticed = arrived()
        return [Probe(one.name, one.about, False, "it arrived") if one.name in noticed else one for one in found]


def probe_jail() -> list[Probe]:
    """Run every attempt that a program can make in a jail of this machine. Raises RunRefused where none starts."""
    try:
        rows = keeper.report()
    except JailError as error:
        raise RunRefused(error.refused, error.found, error.do) from None
    return [Probe(row["name"], "jail", row["contained"], f"{row['verdict']} {row['said']}".strip()) for row in rows]


@contextlib.contextmanager
def _temptations(outside: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    word = secrets.token_hex(8)
    (outside / "host").mkdir()
    (outside / "host" / "secret").write_text(word)
    with ExitStack() as stack:

        def server(family: int, kind: int, address: Any) -> Any:
            one = stack.enter_context(socket.socket(family, kind))
            try:
                one.bind(address)
                if kind == socket.SOCK_STREAM:
                    one.listen()
            except OSError:  # a machine without IPv6
                return None
            return one.getsockname()

        victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", VICTIM, word], stdout=subprocess.PIPE, env={"SECRET": word}
        )
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        assert victim.stdout is not None
        stack.callback(victim.stdout.close)
        victim.stdout.readline()
        heard: list[int] = []
        before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
        stack.callback(signal.signal, signal.SIGUSR1, before)
        six = server(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        facts = {
            "outside": word,
            "secret": str(outside / "host" / "secret"),
            "keys": [str(path) for path in sandbox.hidden_from_everyone() if path.is_dir()],
            "tcp": server(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))[1],
            "tcp6": six[1] if six else 9,
            "udp": server(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))[1],
            "unix": server(socket.AF_UNIX, socket.SOCK_STREAM, str(outside / "stream.sock")),
            "unix_datagram": server(socket.AF_UNIX, socket.SOCK_DGRAM, str(outside / "datagram.sock")),
            "abstract": f"tenth-{word}",
            "victim": victim.pid,
            "supervisor": os.getpid(),
            "shared": _shared_memory(stack),
            "given": [],
        }
        secret = outside / "host" / "secret"
        os.utime(secret, (1e9, 1e9))
        mode = secret.stat().st_mode
        server(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + str(facts["abstract"]))

        def arrived() -> list[str]:
            found = ["climb out of the folder"] if (outside / "planted").exists() else []
            found += ["change the mode of a file"] if secret.stat().st_mode != mode else []
            found += ["change the times of a file"] if secret.stat().st_mtime != 1e9 else []
            found += ["attach something to a file"] if _attached(secret) else []
            if os.getpriority(os.PRIO_PROCESS, victim.pid) != os.getpriority(os.PRIO_PROCESS, 0):
                found += ["slow a process down"]
            if victim.poll() is not None:
                found += ["signal a process of the host"]
            if heard:
                found += ["signal its supervisor"]
            return found

        yield facts, arrived


def _attached(path: Path) -> bool:
    try:
        return bool(os.listxattr(path))
    except OSError:  # a file system without attributes
        return False


def _shared_memory(stack: ExitStack) -> int:
    """A page that programs of this machine can share by its number (shmget(2)); -1 where there is no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = int(libc.shmget(0, 4096, 0o1600))
    if number >= 0:
        stack.callback(libc.shmctl, number, 0, None)
    return number
