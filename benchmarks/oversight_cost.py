"""What share of training throughput is left under oversight?

The built-in trainer at the demo's size, the same number of steps a leg, in three ways that take turns:

- overseen: the real supervisor, the sandbox, samples, and ``tenth watch`` connected
- alone: the same process under a stand-in that hands it its lease over a socket pair and reads what it says; no
  supervisor, no sandbox, no watcher, but the same samples
- silent: like alone, and without samples: training and nothing else

Throughput is steps a second, from the first steady step to the last, samples included; the start is left out. A leg
during which others used more than a twentieth of the processors is taken again, as often as ``--retakes`` allows. On a
busy machine the steadier figure is the share of all processors that supervisor and watcher take while it trains.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from live import DEMO_ENV, Live, back_ends
from record import Others, Record, options, processor_seconds, spread, workplace

from tenth.cli.demo.folder import LEFT_OUT
from tenth.encoding import canonical

TENTH = Path(sys.executable).with_name("tenth")
EVERY = 10
"""Leases of an epoch: one to warm up, the others to measure."""
MORE = LEFT_OUT - {"idlelib", "lib2to3", "encodings", "pydoc_data"}
"""A corpus somewhat larger than the demo's, so that a leg takes more than twenty seconds."""
DISTURBED = 0.05
"""A leg is disturbed when others used more than this share of the processors."""
STEADY = 10
"""Steps of each leg that are left out."""
MUST = {"ratio_of_medians": (">=", 0.99), "pairs_p50": (">=", 0.99)}

Json = Any


class Bench:
    """One run for the overseen legs, and a folder in which the trainer works alone on the same corpus."""

    def __init__(self, live: Live, folder: Path) -> None:
        self.live, self.alone_in = live, folder / "alone"

    def overseen(self) -> Json:
        """One lease of the run, from a supervisor's start to its end, so that none sits beside the other legs."""
        live, others = self.live, Others()
        live.start()
        gate = live.until("GATE")["gate"]
        watch = [str(TENTH), "watch", str(live.path), "--name", "lin", "--json"]
        with subprocess.Popen(watch, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as watcher:
            live.consent()
            assert live.process is not None
            marks: list[tuple[float, float]] = []
            while True:  # a look every second, like somebody at "tenth status"; "tenth watch" hears the rest
                status = live.status()
                if status["stance"] == "RUNNING" and status["claims"]:
                    used = processor_seconds(live.process.pid)[0] + processor_seconds(watcher.pid)[0]
                    marks.append((time.monotonic(), used))
                if status["stance"] == "GATE" and status["gate"] == gate + 1:
                    break
                if status["stance"] == "HALTED":
                    raise SystemExit(f"the run tripped\n{live.said()}")
                time.sleep(1)
            trained = processor_seconds(live.process.pid)[1]
            live.stop()
            watcher.wait(20)
        (began, before), (ended, after) = marks[0], marks[-1]
        return leg(live.path / "work", others, trained) | {"overseers": round((after - before) / (ended - began), 5)}

    def alone(self, samples_per_minute: float) -> Json:
        """The same trainer, told the same, and nobody behind it."""
        others, work, before = Others(), self.alone_in, sum(os.times()[2:4])
        if not work.exists():
            work.mkdir()
            shutil.copytree(self.live.path / "work" / "cache", work / "cache")
        ours, theirs = socket.socketpair()
        number = theirs.fileno()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"PATH": path, "HOME": str(work), "LANG": "C.UTF-8", "TMPDIR": str(work), "TENTH_FD": str(number)}
        words = [sys.executable, *self.live.command[1:]]
        with (work / "log").open("ab") as log:
            process = subprocess.Popen(
                words, cwd=self.live.root, env=env | DEMO_ENV, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[number], start_new_session=True,
            )  # fmt: skip
        theirs.close()
        with ours, ours.makefile("rb") as lines:
            lines.readline()
            ours.sendall(canonical(self._lease(samples_per_minute)) + b"\n")
            while lines.readline():
                pass
            if process.wait(60):
                raise SystemExit((work / "log").read_text(errors="replace")[-2000:])
        return leg(work, others, sum(os.times()[2:4]) - before)

    def _lease(self, samples_per_minute: float) -> Json:
        live = self.live
        where = {"resume": None, "position": None, "work": str(self.alone_in), "root": str(live.root)}
        where |= {"recipe": str(live.path / "recipe.toml"), "data": str(live.path / "data.pretrain.jsonl")}
        place = {"run": live.path.name, "gate": 1, "phase": "pretrain", "epoch": 1, "tenth": 1, "of": EVERY}
        shown = {"samples_per_minute": samples_per_minute, "prompts": list(live.prompts)}
        return {"frame": "lease", **place, **where, **shown, "device_seconds": 1e6, "flop": 1e17, "seed": 1}


def leg(work: Path, others: Others, trained: float) -> Json:
    """What one lease came to, from the times of its steps."""
    share = others.share()
    times = [one / 1e9 for (one,) in struct.iter_unpack("<q", (work / "steps").read_bytes())][STEADY:]
    took = times[-1] - times[0]
    step = statistics.median(b - a for a, b in pairwise(times))
    rate = (len(times) - 1) / took
    found = {"rate": round(rate, 4), "step_ms": round(1000 * step, 2), "seconds": round(took, 1)}
    return found | {"trainer_cpu": round(trained, 2), "others": share}


def compare(record: Record, what: str, these: list[float], those: list[float], must: Any = None) -> None:
    ratios = [a / b for a, b in zip(these, those, strict=True)]
    middle = round(statistics.median(these) / statistics.median(those), 4)
    pairs = {"pairs_p50": round(statistics.median(ratios), 4), "pairs_min": round(min(ratios), 4)}
    pairs["pairs_max"] = round(max(ratios), 4)
    record.figure(what, "", {"n": len(ratios), "ratio_of_medians": middle, **pairs}, must)


def main() -> None:
    chosen = options(__doc__, n=(5, "rounds of the three ways"), retakes=(3, "legs taken again on a busy machine"))
    if chosen.n + chosen.retakes >= EVERY:
        raise SystemExit(f"at most {EVERY - 1} rounds and retakes: a run has no more leases to measure")
    record = Record("oversight_cost", (__doc__ or "").partition("\n")[0], chosen)
    legs: dict[str, list[Json]] = {"overseen": [], "alone": [], "silent": []}
    command, best = ["python3", "code/timed.py", "recipe.toml"], back_ends()[0]
    with (
        workplace() as folder,
        Live(folder, command, DEMO_ENV, every=EVERY, back_end=best, standard_library=MORE) as live,
    ):
        bench = Bench(live, folder)
        bench.overseen()  # makes the corpus, and warms up
        ways: dict[str, Callable[[], Json]] = {
            "overseen": bench.overseen,
            "alone": lambda: bench.alone(live.samples_per_minute),
            "silent": lambda: bench.alone(0),
        }
        retaken = 0
        for number in range(chosen.n):
            order = list(ways) if number % 2 == 0 else list(reversed(ways))
            for way in order:
                one = ways[way]()
                while one["others"] > DISTURBED and retaken < chosen.retakes:
                    print(number, way, one, "is taken again", flush=True)
                    one, retaken = ways[way](), retaken + 1
                legs[way].append(one)
                print(number, way, one, flush=True)
    rates = {way: [one["rate"] for one in rows] for way, rows in legs.items()}
    steps = {way: [1 / one["step_ms"] for one in rows] for way, rows in legs.items()}
    what = "training throughput, with oversight / without, same loop"
    record.figure("training alone", "steps/s", spread(rates["silent"]))
    compare(record, f"{what} (samples in both)", rates["overseen"], rates["alone"], MUST)
    compare(record, f"{what} (no samples without)", rates["overseen"], rates["silent"], MUST)
    compare(record, "the same by the median step (samples left out)", steps["overseen"], steps["silent"])
    compare(record, "samples alone: training with them / without", rates["alone"], rates["silent"])
    shares = [100 * one["overseers"] / len(os.sched_getaffinity(0)) for one in legs["overseen"]]
    record.figure("processor time of supervisor and watcher between gates, of all processors", "%", spread(shares))
    most = {way: max(one["others"] for one in rows) for way, rows in legs.items()}
    record.detail(back_end=best, samples_per_minute=12, prompts=3, retaken=retaken, most_of_others=most, **legs)
    record.finish()


if __name__ == "__main__":
    main()
