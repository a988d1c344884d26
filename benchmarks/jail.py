"""How many programs a second does the jail run, how long does one take, and what does the first one wait for?

In each back-end, with one zygote and with one per core: one function, three inputs, JSON back; many at a time for the
rate, and for how long each takes while every core is busy; one at a time for the latency. Beside it, in turn in every
round, what a program costs in an interpreter of its own, with no walls at all but limits; and EvalPlus' checker, where
it is installed (that needs little of what it asks for: ``pip install --no-deps evalplus tempdir wget appdirs
multipledispatch``). Processor time is the programs' own, which a busy machine changes less than the clock.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from record import Record, options, spread

from tenth.jail import keeper, probes
from tenth.jail.wire import RETURNED, Jail, Program
from tenth.quarantine import landlock, sandbox

SOURCE = "def f(x):\n    x = sorted(x)\n    return [n * 2 for n in x if n % 2]\n"
INPUTS: list[list[list[int]]] = [[[3, 1, 2]], [[5, 4]], [[]]]
EXPECTED = [[2, 6], [10], []]
PROGRAM = Program(SOURCE, "f", INPUTS)
FRESH = f"import json\n{SOURCE}print(json.dumps([f(*one) for one in {INPUTS}]))"
WALLS = sandbox.bubblewrap()


def back_ends() -> dict[str, str | None]:
    """Name -> the bubblewrap to use, if any."""
    found: dict[str, str | None] = {"bubblewrap": WALLS} if WALLS else {}
    return found | ({"Landlock": None} if landlock.version() else {})


def fresh() -> None:
    """One program in an interpreter of its own."""

    def limit() -> None:
        for kind, most in ((resource.RLIMIT_AS, 256 << 20), (resource.RLIMIT_CPU, 2), (resource.RLIMIT_FSIZE, 0)):
            resource.setrlimit(kind, (most, most))

    command = [sys.executable, "-I", "-S", "-c", FRESH]
    done = subprocess.run(command, stdout=subprocess.PIPE, preexec_fn=limit, check=True)
    assert json.loads(done.stdout) == EXPECTED


def evalplus() -> Callable[[], None] | None:
    """One program through EvalPlus' checker, which is no sandbox and says so."""
    if importlib.util.find_spec("evalplus") is None:
        return None
    from evalplus.eval import PASS, untrusted_check

    def check() -> None:
        said, _ = untrusted_check("humaneval", SOURCE, INPUTS, "f", EXPECTED, 0, [0.1] * len(INPUTS))
        assert said == PASS

    return check


def rate(jail: Jail, programs: int) -> tuple[float, float, list[float]]:
    """``(programs a second, milliseconds of processor time that a program itself took, milliseconds of each)``."""
    began = time.perf_counter()
    outcomes = list(jail.run_all(PROGRAM for _ in range(programs)))
    taken = time.perf_counter() - began
    assert all(one.verdict == RETURNED and all(one.right(EXPECTED)) for one in outcomes)
    cpu = 1000 * sum(one.cpu_seconds for one in outcomes) / programs
    return programs / taken, cpu, [1000 * one.seconds for one in outcomes]


def latency(jail: Jail) -> float:
    """Milliseconds from the question to the outcome."""
    began = time.perf_counter()
    jail.run(PROGRAM)
    return 1000 * (time.perf_counter() - began)


def timed(what: Callable[[], None], times: int) -> float:
    """How many a second."""
    began = time.perf_counter()
    for _ in range(times):
        what()
    return times / (time.perf_counter() - began)


@contextlib.contextmanager
def opened(name: str, workers: int) -> Iterator[Jail]:
    sandbox.bubblewrap = lambda: back_ends()[name]  # type: ignore[assignment]
    with keeper.opened(workers) as jail:
        yield jail


def start_up(name: str, times: int) -> list[float]:
    """Milliseconds until a jail is ready, every probe held."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        with opened(name, 1):
            found.append(1000 * (time.perf_counter() - began))
    return found


def contained(name: str) -> int:
    """How many of the probes are held."""
    sandbox.bubblewrap = lambda: back_ends()[name]  # type: ignore[assignment]
    return sum(row["contained"] for row in keeper.report())


def main() -> None:
    chosen = options(
        __doc__, rounds=(10, "rounds"), programs=(200, "programs in a round"), starts=(5, "starts of a jail"),
        singles=(500, "programs run one at a time"),
    )  # fmt: skip
    record = Record("jail", (__doc__ or "").partition("\n")[0], chosen)
    checker = evalplus()
    columns: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}

    def add(what: str, value: float) -> None:
        columns.setdefault(what, []).append(value)

    cores = len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        jails = {
            (name, workers): stack.enter_context(opened(name, workers))
            for name in back_ends()
            for workers in (1, cores)
        }
        for _ in range(chosen.rounds):
            for (name, workers), jail in jails.items():
                speed, cpu, each = rate(jail, chosen.programs)
                add(f"rate {name} {workers}", speed)
                if workers == cores:
                    busy.setdefault(name, []).extend(each)
                add(f"cpu {name} {workers}", cpu)
            add("fresh", timed(fresh, max(1, chosen.programs // 20)))
            if checker:
                add("evalplus", timed(checker, max(1, chosen.programs // 20)))
        for name in back_ends():
            for _ in range(chosen.singles):
                add(f"latency {name}", latency(jails[name, 1]))
    for name in back_ends():
        must: Any = {"p50": (">=", 1200.0)}
        record.figure(f"programs run ({name}, 1 zygote)", "/s", spread(columns[f"rate {name} 1"], 0))
        record.figure(f"programs run ({name}, {cores} zygotes)", "/s", spread(columns[f"rate {name} {cores}"], 0), must)
        record.figure(
            f"one of these programs, from fork to end ({name})", "ms", spread(busy[name]), {"p99": ("<=", 5.0)}
        )
        record.figure(f"processor time of a program ({name})", "ms", spread(columns[f"cpu {name} 1"]))
        found = spread(columns[f"latency {name}"])
        record.figure(f"one program, from question to outcome ({name})", "ms", found, {"p99": ("<=", 5.0)})
        record.figure(f"a jail started and every probe held ({name})", "ms", spread(start_up(name, chosen.starts), 0))
        held = contained(name)
        count = len(probes.PROBES)
        record.figure(f"probes held ({name})", f"of {count}", {"n": count, "p50": held}, {"p50": (">=", count)})
    record.figure("programs in a fresh interpreter each, no walls, for comparison", "/s", spread(columns["fresh"], 0))
    if checker:
        what = "programs through EvalPlus' checker, no sandbox, for comparison"
        record.figure(what, "/s", spread(columns["evalplus"], 0))
    record.detail(**columns)
    record.finish()


if __name__ == "__main__":
    main()
