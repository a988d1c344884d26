"""Which run is meant: a path, a name, an unambiguous beginning of one, or the newest under ./runs. Light to import."""

from __future__ import annotations

import os
import socket
import sys

from tenth.errors import RunRefused

RUNS = "runs"


def is_run(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "log", "entries.jsonl"))


def runs_under(folder: str = RUNS) -> list[str]:
    """Paths of the runs below ``folder``: those with a supervisor first, then the newest first."""
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []
    paths = [os.path.join(folder, name) for name in names]
    return sorted(filter(is_run, paths), key=_freshness, reverse=True)


def _freshness(path: str) -> tuple[bool, int]:
    try:
        written = os.stat(os.path.join(path, "log", "heads")).st_mtime_ns
    except OSError:  # a damaged run: last, but named if it is asked for
        written = 0
    return is_live(path), written


def is_live(path: str) -> bool:
    """A supervisor listens. Only connecting tells: a crash leaves its socket behind."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.setblocking(False)
        try:
            trial.connect(f"/proc/self/fd/{folder}/control.sock")
        except BlockingIOError:  # so busy that its queue is full
            return True
        except OSError:
            return False
        finally:
            os.close(folder)
    return True


def find_run(wanted: str | None, *, folder: str = RUNS, quiet: bool = False) -> str:
    """The absolute path of the run that is meant; says on standard error which one it chose."""
    if wanted is not None:
        return os.path.abspath(_named(wanted, folder))
    if is_run("."):
        return os.path.abspath(".")
    found = runs_under(folder)
    if not found:
        raise RunRefused(
            "no run was named", f"there is none under ./{folder}", "name one: its path, or its name if it lies there"
        )
    if len(found) > 1 and not quiet:
        which = "one that has a supervisor" if is_live(found[0]) and not is_live(found[1]) else "newest"
        print(f"run {os.path.basename(found[0])}: the {which}, of {len(found)} under ./{folder}", file=sys.stderr)
    return os.path.abspath(found[0])


def _named(wanted: str, folder: str) -> str:
    if is_run(wanted):
        return wanted
    found = [path for path in runs_under(folder) if os.path.basename(path).startswith(wanted)]
    exact = [path for path in found if os.path.basename(path) == wanted]
    if len(exact or found) == 1:
        return (exact or found)[0]
    names = [os.path.basename(path) for path in found or runs_under(folder)]
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    if found:
        raise RunRefused(f"'{wanted}' could be several runs", shown, "give more of the name")
    there = f"under ./{folder} there is {shown}" if names else f"there is no run under ./{folder}"
    raise RunRefused(
        f"'{wanted}' is not a run", there, "give the path of a run directory, or the beginning of its name"
    )
