"""What does the quarantine cost: how long until a program runs in it, and how much slower does it train there?

In each back-end, against the same without any. The start: ``true``, from its spawn to its end, in turn inside and bare;
the launcher is part of it. Training: two processes do the same few steps in turn, one inside and one bare, so that a
disturbance meets both; a pair's ratio is of processor time and of wall time, inside over bare.
"""

from __future__ import annotations

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from live import HERE
from record import ROOT, Record, options, spread, workplace

from tenth.quarantine import landlock, sandbox
from tenth.trainer import recipe as recipes

RECIPE = Path(recipes.__file__).parent / "recipes" / "demo.toml"
STEPS = 1
"""Of one turn."""

found = sandbox.bubblewrap()


def back_ends() -> dict[str, str | None]:
    """Name -> the bubblewrap to use, if any."""
    walls: dict[str, str | None] = {"bubblewrap": found} if found else {}
    return walls | ({"Landlock": None} if landlock.version() else {})


@contextlib.contextmanager
def command(program: Sequence[str], folder: Path, name: str | None) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The words that start it, inside or (``name`` is None) bare, and Popen's options."""
    cell = sandbox.Cell(writable=folder, readable=[ROOT], hidden=[], sealed=[], cwd=folder, env={})
    common = {"cwd": folder, "env": sandbox.environment(cell)}
    if name is None:
        yield list(program), common
        return
    walls = back_ends()[name]
    sandbox.bubblewrap = lambda: walls  # type: ignore[assignment]
    with sandbox.entering(program, cell) as (line, descriptors):
        yield line, {**common, "pass_fds": descriptors}


def start_up(name: str, times: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds from spawn to end; and of the processor, which others on a busy machine do not lengthen."""
    columns: dict[str, list[float]] = {"bare": [], "inside": [], "bare, processor": [], "inside, processor": []}
    for _ in range(times):
        for way in ("bare", "inside"):
            began, used = time.perf_counter(), _used()
            with command(["/bin/true"], folder, name if way == "inside" else None) as (line, settings):
                subprocess.run(line, check=True, stdin=subprocess.DEVNULL, **settings)
            columns[f"{way}, processor"].append(round(1000 * (_used() - used), 3))
            columns[way].append(round(1000 * (time.perf_counter() - began), 3))
    return columns


def _used() -> float:
    """Processor seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def training(name: str, turns: int, folder: Path) -> dict[str, list[float]]:
    """Ratios of time, inside over bare, a pair of turns each."""
    program = [sys.executable, str(HERE / "trainers" / "steps.py"), str(RECIPE)]
    with contextlib.ExitStack() as stack:
        workers = {}
        for way in ("bare", "inside"):
            (place := folder / way).mkdir()
            with command(program, place, name if way == "inside" else None) as (line, settings):
                # Each in a session of its own: the scheduler treats sessions alike.
                one = subprocess.Popen(
                    line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, **settings
                )
            stack.callback(one.wait)
            stack.callback(one.kill)
            workers[way] = one

        def turn(way: str) -> tuple[int, int]:
            one = workers[way]
            assert one.stdin
            assert one.stdout
            one.stdin.write(f"{STEPS}\n".encode())
            one.stdin.flush()
            wall, processor = one.stdout.readline().split()
            return int(wall), int(processor)

        for way in workers:
            for _ in range(5):
                turn(way)
        ratios: dict[str, list[float]] = {"wall": [], "processor": []}
        for number in range(turns):
            order = ("bare", "inside") if number % 2 else ("inside", "bare")
            taken = {way: turn(way) for way in order}
            for at, kind in enumerate(ratios):
                ratios[kind].append(round(taken["inside"][at] / taken["bare"][at], 4))
        return ratios


def main() -> None:
    chosen = options(__doc__, starts=(100, "starts in each back-end"), turns=(60, "pairs of turns"))
    record = Record("quarantine", (__doc__ or "").partition("\n")[0], chosen)
    for name in back_ends():
        with workplace() as folder:
            starts = start_up(name, chosen.starts, folder)
        more = [inside - bare for inside, bare in zip(starts["inside"], starts["bare"], strict=True)]
        record.figure(
            f"start inside the quarantine, more than bare ({name})", "ms", spread(more), {"p50": ("<=", 50.0)}
        )
        with workplace() as folder, tempfile.TemporaryDirectory(dir=folder) as place:
            ratios = training(name, chosen.turns, Path(place))
        for kind, must in (("processor", {"p50": ("<=", 1.01)}), ("wall", {"p50": ("<=", 1.01)})):
            what = f"training inside the quarantine over bare, {kind} time of a step ({name})"
            record.figure(what, "", spread(ratios[kind], 4), must)
        record.detail(**{name: {"starts": starts, "ratios": ratios}})
        shown = {kind: statistics.median(column) for kind, column in ratios.items()}
        print(name, json.dumps({"start": statistics.median(more), **shown}), flush=True)
    record.finish()


if __name__ == "__main__":
    main()
