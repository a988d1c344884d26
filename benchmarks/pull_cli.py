"""How long does ``tenth pull``, typed at a shell prompt, take until everything stands still?

The console script is started as a shell starts it, against a busy trainer of five processes that takes every core, in
the back-end that this machine prefers. And ``tenth pull`` where there is nothing to pull: pure start-up.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from live import Live, back_ends
from pulled import COMMAND, begin, go_on, pull
from record import Record, options, spread, workplace

TENTH = str(Path(sys.executable).with_name("tenth"))


def stops(times: int) -> dict[str, list[float]]:
    """Milliseconds from the start of the command: to the last step of any process, and to the command's end."""
    found: dict[str, list[float]] = {"stopped": [], "returned": [], "supervisor": []}
    with workplace() as folder, Live(folder, COMMAND, back_end=back_ends()[0]) as run:
        clock = begin(run)

        def ask() -> Any:
            sent = time.monotonic_ns()
            done = subprocess.run([TENTH, "pull", "--json"], cwd=folder, capture_output=True, text=True, check=True)
            return sent, json.loads(done.stdout)

        for _ in range(times):
            time.sleep(random.uniform(0.01, 0.04))
            one = pull(clock, ask)
            if not one["answer"]["stopped"] or one["answer"]["killed"] or one["answer"]["processes"] < 5:
                raise SystemExit(f"the pull was not what it should be: {one['answer']}")
            go_on(run, clock, one["last"])
            found["stopped"].append(round(one["outside"], 2))
            found["returned"].append(round(one["answered"], 2))
            found["supervisor"].append(one["answer"]["stopped_ms"])
    return found


def starts(times: int) -> list[float]:
    """Milliseconds of ``tenth pull`` in an empty folder."""
    found = []
    with workplace() as folder:
        for _ in range(times):
            began = time.monotonic()
            done = subprocess.run([TENTH, "pull"], cwd=folder, capture_output=True, text=True, check=False)
            found.append(round(1000 * (time.monotonic() - began), 2))
            if "nothing was stopped" not in done.stderr:
                raise SystemExit(f"there was something to pull: {done}")
    return found


def main() -> None:
    chosen = options(__doc__, n=(50, "pulls, and starts with nothing to pull"))
    record = Record("pull_cli", (__doc__ or "").partition("\n")[0], chosen)
    idle, columns = starts(chosen.n), stops(chosen.n)
    within = {"p50": ("<=", 200.0), "p99": ("<=", 200.0)}
    record.figure(
        "`tenth pull` from shell prompt to every process stopped", "ms", spread(columns["stopped"], 1), within
    )
    record.figure("`tenth pull` from shell prompt to its last word", "ms", spread(columns["returned"], 1))
    record.figure("`tenth pull` with nothing to pull (start-up)", "ms", spread(idle, 1), {"p50": ("<=", 100.0)})
    record.detail(back_end=back_ends()[0], idle=idle, **columns)
    record.finish()


if __name__ == "__main__":
    main()
