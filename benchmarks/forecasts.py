"""Does the automatic forecaster foretell the next gate better than naive ones, and does it know how sure it is?

    python benchmarks/forecasts.py [--runs 30]

Small models are trained on the source of this Python's standard library, each with its own width, length, learning rate
and schedule. Held-out bits per byte are measured after each tenth, and at each gate from the second on the next one is
forecast from the gates so far. Naive forecasters: persistence, and extrapolation of the last change, linear in the
logarithm of the step. The numbers in tenth.forecasts.automatic were chosen on other runs of the same kind (`--first 0
--runs 60`), so these are fresh. It measures no time, and may run beside other work.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
from typing import Any

import numpy as np
import torch
import training
from record import Record, options, workplace
from transfer import standard_library

from tenth.forecasts.automatic import NAIVE, automatic, naive
from tenth.forecasts.told import Told
from tenth.trainer import schedule
from tenth.trainer.data import Corpus
from tenth.trainer.epoch import Epoch
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.precision import set_threads
from tenth.trainer.recipe import recipe_from
from tenth.trainer.shards import open_prepared

CONTEXT, CHUNKS, GATES = 64, 64, 10
SURPRISE = 0.01
SKILL, OFF = 10.0, 5.0  # per cent

Scored = list[tuple[Told, float]]
"""Forecasts, and what came."""


def main() -> None:
    chosen = options(
        __doc__, runs=(30, "trainings"), first=(1_000, "number of the first: what it draws its recipe from")
    )
    record = Record("forecasts", "Does the automatic forecaster foretell the next gate better than naive ones?", chosen)
    with workplace() as place:
        given = recipe_from(recipe(0))
        set_threads(given.train)
        corpus = standard_library(place, given)
        curves = {}
        for number in range(chosen.first, chosen.first + chosen.runs):
            curves[number] = curve(number, corpus)
            print(number, [round(value, 3) for value in curves[number]], file=sys.stderr)
    scored: dict[str, Scored] = {name: [] for name in ("automatic", *NAIVE)}
    for values in curves.values():
        for gate in range(2, GATES):
            told = automatic(values[:gate])
            assert told is not None
            for name, one in {"automatic": told, **naive(values[:gate])}.items():
                scored[name].append((one, values[gate]))
    judge(record, scored)
    record.detail(curves=[[round(value, 5) for value in values] for values in curves.values()])
    record.finish()


def judge(record: Record, scored: dict[str, Scored]) -> None:
    crps = {name: statistics.fmean(told.crps(came) for told, came in rows) for name, rows in scored.items()}
    error = {
        name: statistics.fmean(abs(told.quantile(0.5) - came) for told, came in rows) for name, rows in scored.items()
    }
    count = len(scored["automatic"])
    best = min(NAIVE, key=crps.__getitem__)
    record.figure(
        f"the next gate's bits per byte: skill of the automatic forecaster over the best naive one ({best}), by CRPS",
        "%", {"n": count, "skill": skill(crps, best)}, {"skill": (">=", SKILL)},
    )  # fmt: skip
    inside = 100 * share(told.quantile(0.05) <= came <= told.quantile(0.95) for told, came in scored["automatic"])
    record.figure(
        "outcomes inside the automatic forecaster's 90 % intervals, and how far that is from 90 %", "%",
        {"n": count, "share": round(inside, 1), "off": round(abs(inside - 90), 1)}, {"off": ("<=", OFF)},
    )  # fmt: skip
    record.figure(
        f"the same by the error of the middle, without intervals, over {best}", "%",
        {"n": count, "skill": skill(error, best)},
    )  # fmt: skip
    for name in scored:
        record.figure(f"mean CRPS of {name}", "bits per byte", {"n": count, "mean": round(crps[name], 5)})
    far = 100 * share(told.p_value(came) < SURPRISE for told, came in scored["automatic"])
    record.figure(
        f"gates of ordinary runs that `tenth-evidence forecast --level {SURPRISE}` calls surprised", "%",
        {"n": count, "share": round(far, 1)},
    )  # fmt: skip


def skill(scores: dict[str, float], best: str) -> float:
    return round(100 * (1 - scores["automatic"] / scores[best]), 1)


def share(happened: Any) -> float:
    return statistics.fmean(map(float, happened))


def recipe(number: int) -> dict[str, Any]:
    """The recipe of one run: none like another."""
    draw = np.random.default_rng(number)
    return {
        "model": {"depth": int(draw.choice([1, 2])), "width": int(draw.choice([32, 64])), "head_width": 32,
                  "context": CONTEXT},
        "data": {"vocabulary": 1024},
        "train": {"batch": 8, "threads": 1},
        "schedule": {"warmup": float(draw.choice([0.02, 0.05, 0.1])), "decay": float(draw.choice([0.0, 0.3, 0.6, 0.9])),
                     "floor": float(draw.choice([0.0, 0.1]))},
    }  # fmt: skip


def curve(number: int, corpus: Corpus) -> list[float]:
    """Held-out bits per byte at each gate of one training."""
    given, draw = recipe_from(recipe(number)), np.random.default_rng(1_000 + number)
    steps, rate = int(draw.integers(10, 30)) * GATES, float(draw.choice([0.3, 1.0, 2.0]))
    model, optimizer = training.with_optimizer(training.new_model(given, corpus.vocabulary, number), given)
    epoch, s = Epoch(corpus, CONTEXT, given.train.batch, number, 1), given.schedule
    found = []
    for step in range(steps):
        inputs, targets = (torch.from_numpy(array) for array in epoch.batch(step))
        factor = rate * schedule.scale(step, steps, s.warmup, s.decay, s.floor)
        training.step(model, optimizer, inputs, targets, factor)
        if (step + 1) % (steps // GATES) == 0:
            found.append(held_out(corpus, model))
    return found


@torch.no_grad()
def held_out(corpus: Corpus, model: Transformer) -> float:
    """Bits per byte of documents that were never trained on."""
    tokens = open_prepared(corpus.folder).held_out
    starts = np.linspace(0, len(tokens) - CONTEXT - 2, CHUNKS).astype(np.int64)
    ids = torch.from_numpy(np.stack([tokens.read(s, s + CONTEXT + 1) for s in starts.tolist()]).astype(np.int64))
    nats = linear_cross_entropy(model(ids[:, :-1]).flatten(0, 1), model.lm_head.weight, ids[:, 1:].reshape(-1)).item()
    return nats / math.log(2) / corpus.bytes_per_token


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
