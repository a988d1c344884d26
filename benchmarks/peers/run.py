"""How fast does tenth train beside Hugging Face `Trainer`, litgpt and Lightning, and how far in eight minutes?

    python benchmarks/peers/run.py                # speed and memory, rounds of one leg each; minutes
    python benchmarks/peers/run.py --minutes 8    # and what tenth and Trainer at its best learn in that time
    python benchmarks/peers/run.py --short        # a minute in all: does it still work?

Every leg is a process of its own, one at a time. Legs are kept one by one in results/peers/legs; `--resume` goes on
with those that are missing. README.md gives every setting and its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from record import BUILD, RESULTS, Others, Record, burden, spread, wait_for_quiet  # noqa: E402

from peers import contenders, data, figures  # noqa: E402
from peers.contenders import Contender  # noqa: E402
from peers.meter import Plan  # noqa: E402
from peers.recipe import recipe  # noqa: E402
from tenth.trainer.__main__ import ARENAS  # noqa: E402
from tenth.trainer.flops import flop_per_token  # noqa: E402
from tenth.trainer.model import Shape  # noqa: E402

LEGS = RESULTS / "peers" / "legs"
PLACE = BUILD / "peers"
"""Corpus, logs, litgpt's environment: ignored by git, and not below this folder, whose files are all looked at."""
LOOK_EVERY = 20.0
SPEED, LOSS = "speed", "loss"

Json = Any


class Legs:
    """The legs that were measured, in memory and on disk."""

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        self.found: dict[str, dict[str, dict[int, Json]]] = {SPEED: {}, LOSS: {}}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.json")):
            if resume:
                leg = json.loads(path.read_text())
                self.found[leg["kind"]].setdefault(leg["contender"], {})[leg["round"]] = leg
            else:
                path.unlink()

    def keep(self, leg: Json) -> None:
        path = self.folder / f"{leg['kind']}-{leg['round']}-{leg['contender']}.json"
        path.write_text(json.dumps(leg, indent=1) + "\n")
        self.found[leg["kind"]].setdefault(leg["contender"], {})[leg["round"]] = leg

    def has(self, kind: str, name: str, number: int) -> bool:
        return number in self.found[kind].get(name, {})


class Bench:
    """One machine, one corpus, contenders one after the other."""

    def __init__(
        self,
        place: Path,
        shared: data.Shared,
        chosen: argparse.Namespace,
        legs: Legs,
        peak: Callable[[], float] | None = None,
    ) -> None:
        self._peak = peak or self._measured_peak
        self.place, self.shared, self.chosen, self.legs = place, shared, chosen, legs
        shape = Shape(**shared.facts["shape"])
        self.flop_per_token = flop_per_token(shape)
        self.tokens_a_step = shared.facts["batch"] * shape.context
        self.failed: dict[str, str] = {}

    def leg(self, who: Contender, kind: str, number: int, steps: int, seconds: float = 0.0, look: float = 0.0) -> None:
        """Measure and keep one leg, unless it is there or the contender failed before."""
        if self.legs.has(kind, who.name, number) or who.name in self.failed:
            return
        if self.chosen.wait:
            wait_for_quiet(self.chosen.wait)
        before, peaks, others = burden(0.5), [self._peak()], Others()
        lines, trouble, wall = self._process(who, f"{kind}-{number}-{who.name}", steps, seconds, look)
        share = others.share()
        peaks.append(self._peak())
        try:
            found = figures.summary(lines, self.tokens_a_step)
        except ValueError as error:
            self.failed[who.name] = f"{error}: {trouble}"
            print(f"{who.name}: {self.failed[who.name]}", flush=True)
            return
        leg = {"contender": who.name, "kind": kind, "round": number, **found, "wall_seconds": round(wall, 2)}
        leg |= {"peak_flop": peaks, "busy_before": before["busy"], "load1": before["load1"], "others": share}
        leg["mfu"] = round(figures.mfu(leg, self.flop_per_token), 4)
        self.legs.keep(leg)
        said = f"{leg['tokens_per_second']:,.0f} tokens/s, MFU {leg['mfu']:.2f}, {leg['peak_mib']:,.0f} MiB"
        said += f", first step {leg['first_step_seconds']:.1f} s, others {share:.0%}"
        last = leg["looks"][-1] if leg["looks"] else None
        said += f", {last['nats']:.3f} nats after {last['seconds']:.0f} s" if last else ""
        print(f"{kind} {number} {who.name}: {said}", flush=True)

    def _measured_peak(self) -> float:
        done = subprocess.run(
            [sys.executable, str(HERE / "peak.py")], capture_output=True, text=True, check=True, env=self._environment()
        )
        return float(done.stdout)

    def _environment(self) -> dict[str, str]:
        threads = str(len(os.sched_getaffinity(0)))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GLIBC_", "GOMP_"))}
        passive = {"OMP_WAIT_POLICY": "PASSIVE"} if self.chosen.passive else {}
        return kept | {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"} | passive

    def _process(
        self, who: Contender, name: str, steps: int, seconds: float, look: float
    ) -> tuple[list[Json], str, float]:
        work = self.place / "legs" / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        out = work / "steps.jsonl"
        environment = self._environment()
        if who.arenas:
            environment["GLIBC_TUNABLES"] = ARENAS
        # A loss leg compiles cold, as a user's first run does; speed legs share what they compiled.
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(work / "compiled" if seconds else self.place / "compiled")
        python = self.place / "venv" / "bin" / "python" if who.own_environment else Path(sys.executable)
        settings = self.chosen.recipe if who.name == "tenth" else dict(who.settings)
        start = time.monotonic()
        plan = Plan(
            who.name, str(self.shared.folder), str(self.shared.root), str(out), str(work), steps, seconds, look, start,
            settings,
        )  # fmt: skip
        plan.write(work / "plan.json")
        limit = 600 + 3 * seconds
        with (work / "said").open("wb") as said:
            try:
                subprocess.run(
                    [str(python), str(HERE / "contenders" / who.script), str(work / "plan.json")],
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, cwd=work, timeout=limit,
                    check=False,
                )  # fmt: skip
            except (subprocess.TimeoutExpired, OSError) as error:
                said.write(str(error).encode())
        wall = time.monotonic() - start
        lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        last = (work / "said").read_text(errors="replace").strip().splitlines()[-1:]
        shutil.rmtree(work / "compiled", ignore_errors=True)
        return lines, "".join(last)[:300], wall


def make_litgpt_environment(place: Path) -> str:
    """A virtual environment with litgpt alone, which takes torch and the rest from ours; what went wrong, or ""."""
    environment = place / "venv"
    ready = environment / ".ready"
    if ready.exists():
        return ""
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    inner = next((environment / "lib").glob("python*/site-packages"))
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (inner / "parent.pth").write_text("\n".join([*ours, str(HERE.parents[1] / "src")]) + "\n")
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q"]
    for words in (["--no-deps", "-r", str(HERE / "requirements-litgpt.txt")], ["-r", str(HERE / "requirements.txt")]):
        done = subprocess.run([*pip, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed"
    ready.touch()
    return ""


def measure(bench: Bench, chosen: argparse.Namespace) -> None:
    """Speed legs round by round, A B A B; then the long ones."""
    names = chosen.only or list(chosen.contenders)
    who = [contenders.ALL[name] for name in names]
    if any(one.own_environment for one in who) and (trouble := make_litgpt_environment(PLACE)):
        bench.failed["litgpt"] = trouble
    for number in range(1, chosen.rounds + 1):
        for one in who:
            bench.leg(one, SPEED, number, chosen.steps)
    if not chosen.minutes:
        return
    seconds = 60.0 * chosen.minutes
    for name in chosen.only or ["tenth", "trainer"]:
        rate = bench.legs.found[SPEED].get(name)
        if rate:
            steps = figures.steps_that_fit(list(rate.values()), seconds)
            bench.leg(contenders.ALL[name], LOSS, 1, steps, seconds, LOOK_EVERY)


def tell(bench: Bench, record: Record, minutes: float) -> None:
    """Turn the legs into figures with their bounds."""
    speed, loss = bench.legs.found[SPEED], bench.legs.found[LOSS]
    for name, least in (
        ("trainer", 1.4),
        ("trainer-plain", 3.4),
        ("trainer-arenas", 0),
        ("lightning", 0),
        ("litgpt", 0),
    ):
        if found := figures.ratios(speed, "tenth", name):
            must = {"p50": (">=", least)} if least else None
            title = contenders.ALL[name].title
            record.figure(f"tokens/s, tenth / {title}, round by round", "", spread(found), must)
    for name, legs in speed.items():
        title = contenders.ALL[name].title
        rows = list(legs.values())
        record.figure(f"tokens/s, {title}", "", spread([row["tokens_per_second"] for row in rows], 0))
        must = {"p50": (">=", 0.6)} if name == "tenth" else None
        record.figure(
            f"MFU against the measured bfloat16 peak, {title}", "", spread([row["mfu"] for row in rows]), must
        )
        record.figure(f"peak memory, {title}", "MiB", spread([row["peak_mib"] for row in rows], 0))
    if found := figures.ratios(speed, "tenth", "trainer", "peak_mib"):
        bound = {"p50": ("<=", 1.0)}
        record.figure(f"peak memory, tenth / {contenders.ALL['trainer'].title}", "", spread(found), bound)
    for name, legs in loss.items():
        last = legs[1]["looks"][-1]
        what = f"held-out loss after {minutes:g} minutes, {contenders.ALL[name].title}"
        must = {"min": ("<=", 2.5)} if name == "tenth" and minutes == 8 else None
        record.figure(what, "nats per token", spread([last["nats"]]), must)
        record.figure(what, "bits per byte", spread([last["bits_per_byte"]]))
    if "tenth" in loss and "trainer" in loss:
        reached = figures.time_to(loss["tenth"][1]["looks"], loss["trainer"][1]["looks"][-1]["nats"])
        share = round(reached / (60 * minutes), 3) if reached is not None else 99.0
        what = f"time to the loss that Trainer has after {minutes:g} minutes, as a share of them"
        record.figure(what, "", spread([share]), {"min": ("<=", 0.4)})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="one round of a few steps of tenth and Trainer; no record")
    parser.add_argument("--rounds", type=int, default=3, help="speed legs of each contender (default 3)")
    parser.add_argument("--steps", type=int, default=40, help="steps of a speed leg (default 40)")
    parser.add_argument("--minutes", type=float, default=0, help="of training, for the loss; the figures ask for 8")
    parser.add_argument("--only", nargs="+", choices=list(contenders.ALL), help="these contenders only")
    parser.add_argument("--resume", action="store_true", help="keep the legs that are there, measure the missing ones")
    parser.add_argument("--wait", type=float, default=0, metavar="MINUTES", help="for a quiet machine, before each leg")
    parser.add_argument("--passive", action="store_true", help="threads that wait do not spin: for a busy machine")
    chosen = parser.parse_args()
    chosen.recipe, chosen.contenders = {}, list(contenders.ALL)
    if chosen.short:
        chosen.rounds, chosen.steps, chosen.minutes, chosen.contenders = 1, 8, 0, ["tenth", "trainer"]
    return chosen


def main() -> None:
    chosen = parse()
    settings: Mapping[str, Any] = chosen.recipe
    PLACE.mkdir(parents=True, exist_ok=True)
    shared = data.prepare(PLACE / "data", data.standard_library(PLACE / "source"), recipe(settings))
    legs = Legs(PLACE / "short" if chosen.short else LEGS, chosen.resume)
    bench = Bench(PLACE, shared, chosen, legs)
    record = Record("peers/run", (__doc__ or "").partition("\n")[0], chosen)
    measure(bench, chosen)
    if chosen.short:
        for ratio in figures.ratios(legs.found[SPEED], "tenth", "trainer"):
            print(f"tokens/s, tenth / Trainer at its best: {ratio:.2f} (a few steps: not a measurement)")
        raise SystemExit(1 if bench.failed else 0)
    every = [leg for kind in legs.found.values() for found in kind.values() for leg in found.values()]
    best = max((max(leg["peak_flop"]) for leg in every), default=0.0)
    marked = [f"{leg['kind']}-{leg['round']}-{leg['contender']}" for leg in every if figures.disturbed(leg, best)]
    tell(bench, record, chosen.minutes or 8)
    record.detail(corpus=shared.facts, flop_per_token=bench.flop_per_token, best_peak=best, disturbed=marked)
    record.detail(legs=len(every), failed=bench.failed, median_peak=median_peak(every))
    record.finish()


def median_peak(legs: list[Json]) -> float:
    return float(statistics.median([value for leg in legs for value in leg["peak_flop"]] or [0.0]))


if __name__ == "__main__":
    main()
