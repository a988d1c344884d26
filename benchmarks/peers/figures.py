"""What the legs come to: pure arithmetic from a process's JSON lines to the figures of the table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Json = Any
WARM_STEPS = 3
"""Left out of a leg's median: they compile, and fill caches."""
DISTURBED_SHARE, PEAK_LOST = 0.1, 0.9
"""A leg is disturbed when others used more of the processors, or the peak fell below this share of the best."""


def summary(lines: Iterable[Json], tokens_a_step: int) -> Json:
    """One leg: seconds, tokens/s (median step), losses, memory. Raises ValueError for a leg that has no end."""
    rows = list(lines)
    ended = [row for row in rows if row["what"] == "ended"]
    steps = [row for row in rows if row["what"] == "step"]
    if not ended or len(steps) < WARM_STEPS + 2:
        raise ValueError(f"a leg of {len(steps)} steps, {'ended' if ended else 'not ended'}")
    began = next(row for row in rows if row["what"] == "began")
    times = [b["seconds"] - a["seconds"] for a, b in pairwise(steps)][WARM_STEPS - 1 :]
    looks = [{key: row[key] for key in ("step", "seconds", "nats", "bits_per_byte")} for row in rows
             if row["what"] == "look"]  # fmt: skip
    step_seconds = statistics.median(times)
    work = [b["processor_seconds"] - a["processor_seconds"] for a, b in pairwise(steps)][WARM_STEPS - 1 :]
    losses = [row["loss"] for row in steps if row["loss"] is not None]
    return {
        "steps": ended[0]["steps"], "planned": ended[0]["planned"],
        "training_seconds": round(steps[-1]["seconds"], 3),
        "seconds_before_training": round(began["since_start"], 3),
        "first_step_seconds": round(steps[0]["seconds"], 3),
        "step_seconds": round(step_seconds, 5), "step_processor_seconds": round(statistics.median(work), 5),
        "tokens_per_second": round(tokens_a_step / step_seconds, 1),
        "train_loss": round(statistics.mean(losses[-50:]), 4) if losses else None, "looks": looks,
        "peak_mib": round(ended[0]["peak_kib"] / 1024, 1), "children_mib": round(ended[0]["children_kib"] / 1024, 1),
        "gpu_mib": ended[0].get("gpu_mib"), "parameters": began["parameters"], "precision": began.get("precision"),
    }  # fmt: skip


def steps_that_fit(legs: Sequence[Json], seconds: float) -> int:
    """How long the schedule of a run of `seconds` is, by a contender's own measured rate: the same rule for all.

    Two in a hundred are kept in reserve, so that the schedule ends before the clock does.
    """
    first = statistics.median(leg["first_step_seconds"] for leg in legs)
    step = statistics.median(leg["step_seconds"] for leg in legs)
    return max(1, int(0.98 * (seconds - first) / step))


def mfu(leg: Json, flop_per_token: float) -> float:
    """Share of the matrix-product peak, as measured just before and just after the leg (the mean of both)."""
    return float(leg["tokens_per_second"] * flop_per_token / statistics.mean(leg["peak_flop"]))


def disturbed(leg: Json, best_peak: float) -> bool:
    busy, peak = max(leg["busy_before"], leg["others"]), min(leg["peak_flop"])
    return bool(busy > DISTURBED_SHARE or peak < PEAK_LOST * best_peak)


def time_to(looks: Sequence[Json], nats: float) -> float | None:
    """Seconds of training until the held-out loss first was at most `nats`, linear between two looks; None: never."""
    before = None
    for look in looks:
        if look["nats"] <= nats:
            if before is None:
                return float(look["seconds"])
            share = (before["nats"] - nats) / (before["nats"] - look["nats"])
            return float(before["seconds"] + share * (look["seconds"] - before["seconds"]))
        before = look
    return None


def ratios(legs: Mapping[str, Mapping[int, Json]], a: str, b: str, what: str = "tokens_per_second") -> list[float]:
    """`a` over `b`, round by round: both were measured one after the other."""
    both = sorted(legs.get(a, {}).keys() & legs.get(b, {}).keys())
    return [legs[a][number][what] / legs[b][number][what] for number in both]
