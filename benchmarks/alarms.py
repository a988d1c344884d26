"""Do the alarms keep their stated false-alarm rates, and how soon do they find what is planted?

    python benchmarks/alarms.py [--streams 40] [--nulls 1000]

Numbers: streams of 4,000 steps, Gaussian, heavy-tailed (t with 4 degrees of freedom) and autocorrelated (AR(1), 0.3),
with nothing in them, with one spike, with a burst of +2.5 deviations for 40 steps and one of +1 for 400. Counts: runs
of audits and of coins where the null holds at its very edge, so that an alarm is false; and runs where it does not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from record import Record, options, quantile

from tenth.alarms import Coin, Drift, Rate, Spike

STEPS, BURST_AT = 4_000, 2_000
AUDITS, COINS, LEVEL, ALLOWED = 6_000, 2_000, 0.01, 0.001
Stream = NDArray[np.float64]


def gaussian(random: np.random.Generator) -> Stream:
    return random.standard_normal(STEPS)


def heavy(random: np.random.Generator) -> Stream:
    return random.standard_t(4, STEPS) / math.sqrt(2)  # variance 1


def correlated(random: np.random.Generator) -> Stream:
    noise, values = random.standard_normal(STEPS) * math.sqrt(1 - 0.3**2), np.zeros(STEPS)
    for step in range(1, STEPS):
        values[step] = 0.3 * values[step - 1] + noise[step]
    return values


KINDS: dict[str, Callable[[np.random.Generator], Stream]] = {
    "Gaussian": gaussian, "t4": heavy, "AR(0.3)": correlated,
}  # fmt: skip
BURSTS = {"+12 for 1 step": (12.0, 1), "+2.5 for 40 steps": (2.5, 40), "+1 for 400 steps": (1.0, 400)}
MUST = {"+2.5 for 40 steps": 10, "+1 for 400 steps": 25}


def main() -> None:
    chosen = options(__doc__, streams=(40, "streams of each kind"), nulls=(1_000, "runs of each guaranteed test"))
    record = Record(
        "alarms", "Do the alarms keep their stated false-alarm rates, and how soon do they find things?", chosen
    )
    false_alarms(record, chosen.streams)
    bursts(record, chosen.streams)
    counts(record, chosen.nulls)
    record.finish()


def steps_of(detector: Spike | Drift, stream: Stream) -> list[int]:
    return [alarm.step for value in stream.tolist() if (alarm := detector.see(value))]


def false_alarms(record: Record, streams: int) -> None:
    for kind, make in KINDS.items():
        for name, detector in (("spike rule", Spike), ("drift e-detector", Drift)):
            found = sum(len(steps_of(detector(), make(np.random.default_rng(i)))) for i in range(streams))
            rate = 10_000 * found / (streams * STEPS)
            about = f"{name} (nominal), {kind} noise, nothing planted: false alarms in 10,000 steps"
            must = {"mean": ("<=", 1.0)} if detector is Drift and kind != "AR(0.3)" else None
            record.figure(about, "alarms", {"n": streams, "mean": round(rate, 2)}, must)


def bursts(record: Record, streams: int) -> None:
    """Found: an alarm while it lasts. A spike rule and an e-detector stand side by side, so either may find it."""
    for name, (height, length) in BURSTS.items():
        found: dict[str, list[int]] = {"spike rule": [], "drift e-detector": [], "both together": []}
        for i in range(streams):
            stream = gaussian(np.random.default_rng(10_000 + i))
            stream[BURST_AT : BURST_AT + length] += height
            first = []
            for rule, detector in (("spike rule", Spike()), ("drift e-detector", Drift())):
                hits = [step - BURST_AT for step in steps_of(detector, stream) if 0 <= step - BURST_AT < length]
                found[rule] += hits[:1]
                first += hits[:1]
            found["both together"] += [min(first)] if first else []
        for rule, delays in found.items():
            measured = {"n": streams, "found_percent": round(100 * len(delays) / streams, 1)}
            measured |= {"delay_p50": statistics.median(delays), "delay_max": max(delays)} if delays else {}
            must = None
            if name in MUST and rule == "both together":
                must = {"found_percent": (">=", 100.0), "delay_p50": ("<=", float(MUST[name]))}
            record.figure(f"{rule}: {name}, deviations of Gaussian noise", "% found; steps", measured, must)


def counts(record: Record, nulls: int) -> None:
    levels = {"share": ("<=", LEVEL)}
    judged = [audit(ALLOWED, i, AUDITS) for i in range(nulls)]
    share = sum(at is not None for at in judged) / nulls
    record.figure(
        f"audit (guaranteed, {LEVEL:.0%}): runs of {AUDITS:,} samples with {ALLOWED:.1%} bad, as allowed: false alarms",
        "share of runs", {"n": nulls, "share": share}, levels,
    )  # fmt: skip
    thrown = [coin(0.5, i) for i in range(nulls)]
    share = sum(at is not None for at in thrown) / nulls
    record.figure(
        f"coin (guaranteed, {LEVEL:.0%}): runs of {COINS:,} throws that nothing foretells: false alarms",
        "share of runs", {"n": nulls, "share": share}, levels,
    )  # fmt: skip
    missed = sum(not bounded(ALLOWED * 10, i) for i in range(nulls)) / nulls
    record.figure(
        f"audit's bound on the rate (guaranteed, {LEVEL:.0%}): runs in which it was ever below the truth",
        "share of runs", {"n": nulls, "share": missed}, levels,
    )  # fmt: skip
    few = max(20, nulls // 10)
    for rate in (0.01, 0.03):
        delays = [at + 1 for i in range(few) if (at := audit(rate, 50_000 + i, AUDITS)) is not None]
        measured = {"n": few, "found": len(delays), "p50": statistics.median(delays), "p99": quantile(delays, 0.99)}
        record.figure(f"audit: samples judged until it is known that {rate:.0%} are bad", "samples", measured)
    for share in (0.6, 0.9):
        delays = [at + 1 for i in range(few) if (at := coin(share, 50_000 + i)) is not None]
        measured = {"n": few, "found": len(delays)} | ({"p50": statistics.median(delays)} if delays else {})
        record.figure(f"coin: throws until it is known that {share:.0%} are foretold", "throws", measured)


def audit(rate: float, seed: int, most: int) -> int | None:
    """The step of the alarm."""
    test = Rate(ALLOWED, LEVEL)
    for bad in (np.random.default_rng(seed).random(most) < rate).tolist():
        if alarm := test.see(bad):
            return alarm.step
    return None


def coin(share: float, seed: int) -> int | None:
    test, random = Coin(LEVEL), np.random.default_rng(seed)
    for fell, agrees in zip(
        (random.random(COINS) < 0.5).tolist(), (random.random(COINS) < share).tolist(), strict=True
    ):
        if alarm := test.see(fell, fell == agrees):
            return alarm.step
    return None


def bounded(rate: float, seed: int) -> bool:
    """The bound, looked at twenty times, never lies below the true rate."""
    test = Rate(ALLOWED, LEVEL)
    for number, bad in enumerate((np.random.default_rng(seed).random(1_000) < rate).tolist()):
        test.see(bad)
        if number % 50 == 49 and test.bound() < rate:
            return False
    return True


if __name__ == "__main__":
    main()
