"""The sandbox: how every untrusted child is kept in, and which protections this machine can hold.

Back-end A is bubblewrap: namespaces, a read-only world, one writable folder. Back-end B needs no package: a launcher
that gains no privileges and keeps the tree together; it stands before bubblewrap, too. Does not protect against:
reading files that are not hidden below; in back-end B, the network and anything that ordinary file permissions allow.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tenth.charter import LEVELS
from tenth.errors import RunRefused

LAUNCHER = Path(__file__).with_name("launch.py")
SECRETS = (".ssh", ".gnupg", ".aws", ".config", ".netrc", ".kube", ".docker")
"""In the home folder: hidden from the trainer."""
NAMESPACES = (
    "--unshare-user-try",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-uts",
    "--unshare-cgroup-try",
)


@dataclass(frozen=True)
class Protection:
    """One thing that the trainer cannot do here, or can."""

    name: str
    holds: bool
    how: str

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "holds": self.holds, "how": self.how}


@dataclass(frozen=True)
class Cell:
    """What one child may see and touch."""

    writable: Path
    """The one folder it may write to."""
    readable: Sequence[Path]
    """Shown even if they lie below /tmp, which is otherwise empty."""
    hidden: Sequence[Path]
    sealed: Sequence[Path]
    """Shown although they lie below something hidden."""
    cwd: Path
    env: Mapping[str, str]


@cache
def bubblewrap() -> str | None:
    """Path of a bubblewrap that works here, by trying it: on some systems it is installed and forbidden."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    trial = [program, *NAMESPACES, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    try:
        return program if subprocess.run(trial, capture_output=True, timeout=10, check=False).returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def level() -> str:
    """``full`` with bubblewrap, else ``partial``: the highest level that this machine holds."""
    return "full" if bubblewrap() else "partial"


def require(wanted: str) -> None:
    """Refuse to start where the machine cannot hold the charter's level (promise 5)."""
    if LEVELS.index(level()) < LEVELS.index(wanted):
        raise RunRefused(
            f"quarantine level '{wanted}' cannot be held",
            "bubblewrap is not installed or not allowed here; 'tenth check' says what holds",
            "install it ('apt install bubblewrap'), or agree on level = \"partial\"",
        )


def protections(cgroup: bool) -> list[Protection]:
    """What holds on this machine; part of every dossier, so it is signed."""
    walls = bubblewrap() is not None
    how = "namespaces of bubblewrap" if walls else "not held: bubblewrap is not installed or not allowed here"
    return [
        Protection("no network", walls, how),
        Protection("read-only world but for the work folder", walls, how),
        Protection("keys, log and control socket hidden", walls, how),
        Protection("cannot see or signal other processes", walls, how),
        Protection("gains no privileges", True, "no_new_privs"),
        Protection("dies with the supervisor", True, "parent-death signal and end-of-file on its channel"),
        Protection("whole tree stopped at once", True, "cgroup freezer" if cgroup else "SIGSTOP until all are still"),
        Protection("dead children metered", True, "cgroup cpu.stat" if cgroup else "processor time of waited children"),
        Protection("no core dumps", True, "resource limit"),
        Protection("system calls filtered", False, "not built yet"),
        Protection("memory and process count limited", False, "not built yet"),
    ]


def command_line(command: Sequence[str], cell: Cell, door: int) -> list[str]:
    """The argument vector that runs ``command`` inside ``cell``. The command may be a name or a path.

    ``door`` is a descriptor of the cgroup's procs file, or -1: the launcher stays outside and puts its child in.
    """
    launcher, program = [sys.executable, "-I", "-S", str(LAUNCHER), str(door)], bubblewrap()
    if program is None:
        return [*launcher, *command]
    line = [
        *launcher,
        program,
        *NAMESPACES,
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--hostname",
        "tenth",
    ]
    line += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for scratch in ("/tmp", "/var/tmp", "/run"):  # noqa: S108 (hidden, not used), and with them the sockets of other services
        line += ["--tmpfs", scratch]
    for node in sorted(Path("/dev").glob("nvidia*")):
        line += ["--dev-bind", str(node), str(node)]
    shown: list[Path] = []
    for path in sorted({*cell.readable, *_interpreter()}):
        if not any(path.is_relative_to(above) for above in shown):
            shown.append(path)
            line += ["--ro-bind", str(path), str(path)]
    for path in cell.hidden:
        line += ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]
    for path in cell.sealed:
        line += ["--ro-bind", str(path), str(path)]
    return [*line, "--bind", str(cell.writable), str(cell.writable), "--chdir", str(cell.cwd), "--", *command]


def absolute(words: Sequence[str]) -> list[Path]:
    """What a charter's data and commands name by absolute path: shown wherever it lies."""
    return [Path(word) for word in words if word.startswith("/") and Path(word).exists()]


def _interpreter() -> set[Path]:
    """Where Python and this package lie, which may be below a folder that is hidden, such as /tmp."""
    here = Path(__file__).resolve().parents[2]
    return {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path(sys.prefix), here}


def hidden_from_everyone() -> list[Path]:
    """The keys and logins of the person who runs the supervisor."""
    home = Path.home()
    found = [home / name for name in SECRETS]
    if state := os.environ.get("TENTH_HOME"):
        found.append(Path(state))
    return [path for path in found if path.exists()]


def environment(cell: Cell) -> dict[str, str]:
    """An environment that tells nothing about the person who started the run."""
    path = f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    fixed = {"PATH": path, "HOME": str(cell.writable), "LANG": "C.UTF-8", "TMPDIR": str(cell.writable)}
    return {**fixed, **cell.env}


def limit_resources() -> None:
    """In the child, before it runs: no core dumps."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
