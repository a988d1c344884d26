"""How long from consent to the trainer's first step?

The built-in trainer at the demo's size, resumed from its checkpoint at one gate after the other: from the ``leased``
entry, and from the spawn of the process, to the first ``progress`` frame (sent when the first step is done).
"""

from __future__ import annotations

import calendar
import os
import re
import time
from typing import Any

from live import Live, back_ends
from record import Others, Record, options, spread, workplace

from tenth.cli.demo.folder import LEFT_OUT

EVERY = 60
"""Leases of an epoch: short ones, since only their beginning is measured."""
MUST = {"p50": ("<=", 4.0), "max": ("<=", 4.0)}
COMMAND = ["tenth-trainer", "pretrain", "recipe.toml"]
OWN_WORDS = re.compile(r"first step ([0-9.]+) s after the process began")

Json = Any


def begin_lease(run: Live) -> Json:
    """Everyone consents; seconds until the first frame."""
    others = Others(run.process.pid if run.process else None)
    with run.told() as messages:
        run.consent()
        at, spawned = "", 0.0
        for message in messages:
            if message["on"] == "entry" and message["entry"]["event"] == "leased":
                at = message["entry"]["time"]
            if message["on"] == "status" and message["status"]["trainer"] and not spawned:
                spawned = born(message["status"]["trainer"])
            if message["on"] == "progress":
                first = time.time()
                break
    found = {"from_leased": first - stamp(at), "from_spawn": first - spawned}
    run.until("GATE")
    said = OWN_WORDS.findall((run.path / "trainer.log").read_text())
    found["own_words"] = float(said[-1])
    return {name: round(value, 3) for name, value in found.items()} | {"others": others.share()}


def stamp(text: str) -> float:
    """RFC 3339 with milliseconds, as seconds since 1970."""
    whole, _, milliseconds = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + int(milliseconds) / 1000


def born(pid: int) -> float:
    """When a process began, in seconds since 1970, to a hundredth."""
    with open(f"/proc/{pid}/stat") as file:
        ticks = int(file.read().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK") + time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def main() -> None:
    chosen = options(__doc__, n=(12, "gates"))
    if chosen.n >= EVERY:
        raise SystemExit(f"at most {EVERY - 1} gates: a run has no more leases")
    record = Record("resume", (__doc__ or "").partition("\n")[0], chosen)
    env, best = {"OMP_WAIT_POLICY": "PASSIVE"}, back_ends()[0]
    with workplace() as folder, Live(folder, COMMAND, env, EVERY, back_end=best, standard_library=LEFT_OUT) as run:
        run.start()
        fresh = begin_lease(run)
        rows = []
        for _ in range(chosen.n):
            rows.append(begin_lease(run))
            print(rows[-1], flush=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    record.figure("`leased` entry → first step of a resumed trainer done", "s", spread(columns["from_leased"]), MUST)
    record.figure("spawn of the trainer → its first step done", "s", spread(columns["from_spawn"]), MUST)
    record.detail(back_end=best, fresh=fresh, **columns)
    record.finish()


if __name__ == "__main__":
    main()
