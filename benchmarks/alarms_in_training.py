"""How often do the rules that are nominal raise an alarm while an ordinary model trains as it should?

    python benchmarks/alarms_in_training.py [--runs 3] [--steps 1200]

Small models on the source of this Python's standard library, by the default schedule: nothing is planted and nothing
goes wrong, so every alarm is false. Judged are the two reports that `tenth alarms` looks at by default: the loss, and
the norm of the gradient. It measures no time, and may run beside other work.
"""

from __future__ import annotations

import os

import torch
import training
from record import Record, options, workplace
from transfer import standard_library

from tenth.alarms import Drift, Spike
from tenth.trainer import schedule
from tenth.trainer.data import Corpus
from tenth.trainer.epoch import Epoch
from tenth.trainer.precision import set_threads
from tenth.trainer.recipe import Recipe, recipe_from

RULES = {"spike rule": Spike, "drift e-detector": Drift}


def main() -> None:
    chosen = options(__doc__, runs=(3, "trainings, each with a seed of its own"), steps=(1_200, "of each training"))
    record = Record("alarms_in_training", "How often do nominal rules alarm while a model trains as it should?", chosen)
    recipe = recipe_from({
        "model": {"depth": 1, "width": 32, "head_width": 32, "context": 64}, "data": {"vocabulary": 1024},
        "train": {"batch": 8, "threads": 1},
    })  # fmt: skip
    set_threads(recipe.train)
    found: dict[tuple[str, str], list[int]] = {}
    with workplace() as place:
        corpus = standard_library(place, recipe)
        for seed in range(chosen.runs):
            reports = train(corpus, recipe, chosen.steps, seed)
            for series, values in reports.items():
                for name, rule in RULES.items():
                    detector = rule()
                    alarms = [alarm.step for value in values if (alarm := detector.see(value))]
                    found.setdefault((series, name), []).append(len(alarms))
    steps = chosen.runs * chosen.steps
    for (series, name), counts in found.items():
        measured = {"n": steps, "alarms": sum(counts), "in_10000": round(10_000 * sum(counts) / steps, 1)}
        record.figure(
            f"{name} (nominal) on the {series} of sound trainings: alarms", "alarms; in 10,000 steps", measured
        )
    record.detail(alarms_by_run={f"{name}, {series}": counts for (series, name), counts in found.items()})
    record.finish()


def train(corpus: Corpus, recipe: Recipe, steps: int, seed: int) -> dict[str, list[float]]:
    """What each step reports."""
    model, optimizer = training.with_optimizer(training.new_model(recipe, corpus.vocabulary, seed), recipe)
    epoch, s = Epoch(corpus, recipe.model.context, recipe.train.batch, seed, 1), recipe.schedule
    losses, norms = [], []
    for step in range(steps):
        inputs, targets = (torch.from_numpy(array) for array in epoch.batch(step % epoch.steps))
        loss = training.own_loss(model, inputs, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        norms.append(optimizer.gradient_norm())
        optimizer.step(schedule.scale(step, steps, s.warmup, s.decay, s.floor), norms[-1])
        optimizer.clear()
        losses.append(loss.item())
    return {"loss": losses, "gradient's norm": norms}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
