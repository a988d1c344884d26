"""The sandbox: how every untrusted child is kept in, and how much of that this machine can hold.

Back-end A is bubblewrap: namespaces, and a world in which only what is listed here exists. Back-end B needs no
package: Landlock allows the same paths, and nothing else. Both run under one system-call filter, without capabilities,
behind one launcher. Does not protect against: kernel bugs; in back-end B, `stat` of any path.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tenth.charter import LEVELS, Quarantine
from tenth.errors import RunRefused
from tenth.quarantine import landlock, seccomp

LAUNCHER = Path(__file__).with_name("launch.py")
WORLD: dict[str, list[str]] = tomllib.loads(Path(__file__).with_name("world.toml").read_text("utf-8"))
FENCE = 6
"""From this version of Landlock on, the launcher can stop its whole tree at once (launch.py)."""
DEVICES = Path("/dev")
SCRATCH_BYTES = 1 << 28
"""Of /tmp and /dev/shm, which lie in memory and end with the child."""


@dataclass(frozen=True)
class Cell:
    """What one child may see and touch."""

    writable: Path
    """The one folder it may write to."""
    readable: Sequence[Path]
    """Shown besides the programs of the system, wherever they lie."""
    hidden: Sequence[Path]
    """Not shown although they lie below something readable."""
    sealed: Sequence[Path]
    """Shown although they lie below something hidden."""
    cwd: Path
    env: Mapping[str, str]
    gpus: Sequence[int] = ()
    """The accelerators it may use; it sees the nodes of no other."""
    loopback: bool = False
    """May its processes talk over the network interface that leads nowhere? Back-end A only."""
    processes: int = 1000
    memory_bytes: float = float("inf")
    output_bytes: float = 1e11
    """Of one file, by the kernel; of all, by whoever looks on."""


@cache
def bubblewrap() -> str | None:
    """Path of a bubblewrap that works here, by trying it: on some systems it is installed and forbidden."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    trial = [program, *_namespaces(), "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    try:
        return program if subprocess.run(trial, capture_output=True, timeout=10, check=False).returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def level() -> str:
    """``full``: bubblewrap and the filter. ``partial``: Landlock and the filter. Else ``none``."""
    if not seccomp.supported():
        return "none"
    return "full" if bubblewrap() else "partial" if landlock.version() else "none"


def means(cgroup: bool) -> list[dict[str, Any]]:
    """What there is here; part of every dossier, so it is signed. What follows from it, 'tenth check' says."""
    walls, rules, screen = bubblewrap(), landlock.version(), seccomp.supported()
    rows = (
        ("namespaces", walls, walls or "bubblewrap is not installed or not allowed here"),
        ("rules for files", walls or rules, "bubblewrap" if walls else f"Landlock {rules}"),
        ("filter of system calls", screen, "seccomp" if screen else "not built for this processor"),
        ("groups of processes", cgroup, "cgroup v2" if cgroup else "no cgroup of ours: children may go unmetered"),
        ("a stop for all at once", cgroup or rules >= FENCE, "cgroup v2" if cgroup else f"Landlock {rules}"),
    )
    return [{"name": name, "holds": bool(holds), "how": how} for name, holds, how in rows]


def require(asked: Quarantine) -> None:
    """Refuse to start where the machine cannot hold the charter's level (promise 5)."""
    if asked.loopback and not bubblewrap():
        raise RunRefused(
            "'loopback = true' cannot be held",
            "bubblewrap is not installed or not allowed here, and without it an open loopback is an open network",
            "install bubblewrap ('tenth check' says how), or train with one rank and leave 'loopback' out",
        )
    if missing := [str(node) for node in gpu_nodes(asked.gpus) if not node.exists()]:
        found = f"{', '.join(missing)}: not on this machine"
        raise RunRefused("'gpus' cannot be granted", found, "agree on those that it has, or install their driver")
    if LEVELS.index(level()) < LEVELS.index(asked.level):
        raise RunRefused(
            f"quarantine level '{asked.level}' cannot be held",
            f"this machine holds '{level()}'; 'tenth check' says what is missing",
            f'do what it says there, or agree on level = "{level()}"',
        )


@contextlib.contextmanager
def entering(command: Sequence[str], cell: Cell, door: int = -1) -> Iterator[tuple[list[str], list[int]]]:
    """The argument vector that runs ``command`` inside ``cell``, and the descriptors that it must inherit.

    ``door`` is a descriptor of a cgroup's procs file, or -1: the launcher stays outside and puts its child in.
    """
    with contextlib.ExitStack() as stack:

        def hold(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        program = bubblewrap()
        families = (seccomp.LOOPBACK if cell.loopback else (seccomp.UNIX,)) if program else ()
        screen = hold(_filter(families)) if seccomp.supported() else -1
        ruleset = hold(_ruleset(cell)) if landlock.version() and not program else -1
        bounds = ["-1", "-1"] if program else [str(ruleset), str(screen)]
        filtered = ["--seccomp", str(screen)] if screen >= 0 else []
        walls = [program, *_walls(cell), *filtered, "--"] if program else []
        line = [
            sys.executable,
            "-I",
            "-S",
            str(LAUNCHER),
            str(door),
            *bounds,
            str(int(cell.output_bytes)),
            *walls,
            *command,
        ]
        yield line, [descriptor for descriptor in (ruleset, screen) if descriptor >= 0]


def _filter(families: tuple[int, ...]) -> int:
    """A descriptor from which the filter can be read."""
    descriptor = os.memfd_create("tenth-filter", 0)
    os.write(descriptor, seccomp.program(families))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _namespaces() -> list[str]:
    return [f"--unshare-{name}" for name in WORLD["namespaces"]]


def _walls(cell: Cell) -> list[str]:
    """bubblewrap's options: later ones lie on top of earlier ones."""
    line = [*_namespaces(), "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "tenth"]
    line += ["--proc", "/proc", "--dev", "/dev"]
    for scratch in ("/tmp", "/dev/shm"):  # noqa: S108 (made here, empty)
        line += ["--size", str(SCRATCH_BYTES), "--tmpfs", scratch]
    for node in gpu_nodes(cell.gpus):
        line += ["--dev-bind", str(node), str(node)]
    shown = _shown(cell)
    for path in shown:
        line += ["--ro-bind", str(path), str(path)]
    for path in (one for one in cell.hidden if any(one.is_relative_to(above) for above in shown)):
        line += ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]
    for path in cell.sealed:
        line += ["--ro-bind", str(path), str(path)]
    line += ["--bind", str(cell.writable), str(cell.writable)]
    covers = [str(path) for path in cell.hidden if path.is_dir() and any(path.is_relative_to(one) for one in shown)]
    for made in ("/proc", *covers, "/"):  # root could set the kernel's switches through /proc/sys
        line += ["--remount-ro", made]
    return [*line, "--chdir", str(cell.cwd)]


def _ruleset(cell: Cell) -> int:
    """Landlock's rules for the same world. What is hidden below something readable cannot be taken out again: such a
    folder is opened entry by entry instead."""
    readable = [*_without(_shown(cell), cell.hidden), *cell.sealed, *(Path("/proc") / name for name in WORLD["proc"])]
    return landlock.rules(
        readable, [cell.writable, *(Path("/dev") / name for name in WORLD["devices"]), *gpu_nodes(cell.gpus)]
    )


def _without(paths: Iterable[Path], hidden: Sequence[Path]) -> Iterator[Path]:
    """The same paths, with those that lead to something hidden replaced by what else lies in them."""
    for path in paths:
        if any(path.is_relative_to(one) for one in hidden):
            continue
        if any(one.is_relative_to(path) for one in hidden):
            yield from _without(sorted(path.iterdir()), hidden)
        else:
            yield path


def _shown(cell: Cell) -> list[Path]:
    """What may be read, outermost first, nothing twice."""
    system = [*WORLD["programs"], *WORLD["settings"], *WORLD["system"], *(WORLD["system_of_gpus"] if cell.gpus else ())]
    given = [path for one in (*cell.readable, *_interpreter()) for path in (one, one.resolve())]
    found: list[Path] = []
    for path in sorted({*map(Path, system), *given}):
        if path.exists() and not any(path.is_relative_to(above) for above in found):
            found.append(path)
    return found


def gpu_nodes(granted: Sequence[int]) -> list[Path]:
    """Of NVIDIA's driver: a node for each device, and those that all devices share (nvidiactl, nvidia-uvm, ...)."""
    shared = [node for node in DEVICES.glob("nvidia*") if not node.name.removeprefix("nvidia").isdigit()]
    return sorted([*(DEVICES / f"nvidia{number}" for number in granted), *shared]) if granted else []


def absolute(words: Sequence[str]) -> list[Path]:
    """What a charter's data and commands name by absolute path: shown wherever it lies."""
    return [Path(word) for word in words if word.startswith("/") and Path(word).exists()]


def _interpreter() -> set[Path]:
    """Where Python and this package lie."""
    places = (Path(place) for place in sys.path if os.path.isabs(place) and os.path.isdir(place))
    return {Path(sys.prefix), Path(sys.base_prefix), *places}


def hidden_from_everyone() -> list[Path]:
    """The keys and logins of the person who runs the supervisor."""
    home = Path.home()
    found = [home / name for name in WORLD["secrets"]]
    if state := os.environ.get("TENTH_HOME"):
        found.append(Path(state))
    return [path for path in found if path.exists()]


def environment(cell: Cell) -> dict[str, str]:
    """An environment that tells nothing about the person who started the run."""
    path = f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    fixed = {"PATH": path, "HOME": str(cell.writable), "LANG": "C.UTF-8", "TMPDIR": str(cell.writable)}
    return {**fixed, **cell.env}
