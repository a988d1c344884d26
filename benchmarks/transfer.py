"""Does a learning rate tuned on a narrow model serve wider ones? A sweep of multipliers on every rate, width by width.

    python benchmarks/transfer.py [--short 1]

Two ladders share their last rung: width 64, 128, 256 at four layers, and the dial `depth` 1, 2, 4, which brings the
same widths. On each rung all learning rates of the recipe are multiplied by one number. Reported is how much higher the
held-out loss is than the best of that rung when the multiplier is the one that is best on the first rung, and how many
steps of the grid the best one moves. Corpus: the source of this Python's standard library, through the trainer's own
data path. Losses do not depend on what else the machine does, so it may run beside other work: some fifteen minutes
of one core.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import training
from record import Record, options, workplace

from tenth.cli.demo.folder import LEFT_OUT
from tenth.trainer import data
from tenth.trainer.data import Corpus
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.precision import set_threads
from tenth.trainer.recipe import Recipe, recipe_from
from tenth.trainer.shards import open_prepared

LAYERS = 4
WIDTHS = (64, 128, 256)
DEPTHS = (1, 2, 4)
FACTOR = 2.0
POWERS = range(-2, 4)  # of FACTOR: from a quarter of the recipe's own rates to eight times
EXCESS = 10.0  # per cent: how much worse than the best a transferred rate may be
HELD_OUT_CHUNKS = 192

Rung = tuple[int, int]
"""Layers, width."""


def main() -> None:
    chosen = options(
        __doc__, steps=(160, "optimizer steps of each training"), seeds=(1, "trainings of each kind"),
        batch=(16, "sequences of 128 tokens a step"), short=(0, "1: a few steps of narrow models, to try the script"),
    )  # fmt: skip
    if chosen.short:
        chosen.steps, chosen.batch = min(chosen.steps, 12), 4
    widths = [width // (4 if chosen.short else 1) for width in WIDTHS]
    ladders: dict[str, list[Rung]] = {
        f"width {', '.join(map(str, widths))} at {LAYERS} layers": [(LAYERS, width) for width in widths],
        f"depth {', '.join(map(str, DEPTHS))}": list(zip(DEPTHS, widths, strict=True)),
    }
    multipliers = [FACTOR**power for power in POWERS]
    record = Record("transfer", "Does a learning rate tuned on a narrow model serve wider ones?", chosen)
    losses: dict[Rung, dict[float, list[float]]] = {}
    with workplace() as place:
        corpus = standard_library(place, recipe_for(next(iter(ladders.values()))[0], chosen.batch))
        for rung in sorted({rung for ladder in ladders.values() for rung in ladder}, key=lambda r: r[0] * r[1] ** 2):
            recipe = recipe_for(rung, chosen.batch)
            for multiplier in multipliers:
                began = time.monotonic()
                found = [train(corpus, recipe, chosen.steps, multiplier, seed) for seed in range(chosen.seeds)]
                losses.setdefault(rung, {})[multiplier] = found
                seconds = time.monotonic() - began
                print(rung, multiplier, [round(loss, 4) for loss in found], f"{seconds:.0f} s", file=sys.stderr)
    for name, ladder in ladders.items():
        judge(record, name, [(rung, losses[rung]) for rung in ladder], still=name.startswith("width"))
    record.detail(
        multipliers=multipliers, tokens_a_step=chosen.batch * 128,
        held_out_nats=[{"layers": r[0], "width": r[1], "by_multiplier": list(by.values())} for r, by in losses.items()],
        rates={f"{r[0]} x {r[1]}": rates(recipe_for(r, chosen.batch)) for r in losses},
    )  # fmt: skip
    record.finish()


def judge(record: Record, ladder: str, rungs: list[tuple[Rung, dict[float, list[float]]]], *, still: bool) -> None:
    """How far the multiplier that is best on the first rung is from the best of each other rung.

    `still`: the best multiplier must stay where it is, within a step of the grid.
    """
    means = [{m: statistics.mean(found) for m, found in by.items()} for _, by in rungs]
    best = [min(by, key=by.__getitem__) for by in means]
    excess = [100 * (by[best[0]] / min(by.values()) - 1) for by in means]
    moved = [round(math.log(b / best[0], FACTOR)) for b in best]
    own = [100 * (by[1.0] / min(by.values()) - 1) for by in means]
    about = f"{ladder}, rates tuned at the first"
    record.figure(
        f"{about}: held-out loss at those rates, above the best at that width", "%",
        {"n": len(rungs) - 1, "max": round(max(excess[1:]), 2)}, {"max": ("<=", EXCESS)},
    )  # fmt: skip
    record.figure(
        f"{about}: how far the best multiplier moves", f"steps of a factor {FACTOR:g}",
        {"n": len(rungs) - 1, "max": max(abs(m) for m in moved[1:])}, {"max": ("<=", 1)} if still else None,
    )  # fmt: skip
    record.figure(
        f"{ladder}, the recipe's own rates: held-out loss above the best multiplier's", "%",
        {"n": len(rungs), "max": round(max(own), 2)},
    )  # fmt: skip
    record.detail(**{ladder: {"best_multiplier": best, "excess_percent": [round(e, 2) for e in excess],
                              "own_excess_percent": [round(e, 2) for e in own]}})  # fmt: skip


def recipe_for(rung: Rung, batch: int) -> Recipe:
    layers, width = rung
    model = {"depth": layers, "width": width, "context": 128}
    vocabulary = {"vocabulary": 2048}
    return recipe_from({"model": model, "data": vocabulary, "train": {"batch": batch, "threads": 1}})


def rates(recipe: Recipe) -> dict[str, float]:
    o = recipe.optim
    return {"matrix": o.matrix_lr, "embedding": o.embedding_lr, "head": o.head_lr, "vector": o.vector_lr}


def standard_library(place: Path, recipe: Recipe) -> Corpus:
    """The library's own modules, without tests, tables and what is installed beside it."""
    return python_source(place, recipe, Path(sysconfig.get_paths()["stdlib"]))


def python_source(place: Path, recipe: Recipe, root: Path, folders: Sequence[str] = (".",)) -> Corpus:
    """Python files below these folders of `root`, prepared in `place`."""
    rows = []
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        name = path.relative_to(root)
        if not LEFT_OUT & set(name.parts):
            content = path.read_bytes()
            rows.append({"path": str(name), "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})
    listing = place / "data.jsonl"
    listing.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data.open_fresh(listing, root, place, recipe.data)


def train(corpus: Corpus, recipe: Recipe, steps: int, multiplier: float, seed: int) -> float:
    """Held-out nats a token after `steps` steps with every learning rate times `multiplier`; inf if it diverged."""
    set_threads(recipe.train)
    model, optimizer = training.with_optimizer(training.new_model(recipe, corpus.vocabulary, seed), recipe)
    if not all(map(math.isfinite, training.steps(model, optimizer, corpus, recipe, steps, seed, multiplier))):
        return math.inf
    return held_out_loss(corpus, model, recipe)


@torch.no_grad()
def held_out_loss(corpus: Corpus, model: Transformer, recipe: Recipe) -> float:
    """Nats a token over chunks spread evenly over the documents that were never trained on."""
    held_out = open_prepared(corpus.folder).held_out
    tokens = held_out.read(0, len(held_out))
    context = recipe.model.context
    chunks = np.linspace(0, (len(tokens) - 1) // context - 1, HELD_OUT_CHUNKS).astype(np.int64)
    ids = torch.from_numpy(tokens[chunks[:, None] * context + np.arange(context + 1)].astype(np.int64))
    losses = []
    for rows in torch.split(ids, 16):
        hidden = model(rows[:, :-1]).flatten(0, 1)
        losses.append(linear_cross_entropy(hidden, model.lm_head.weight, rows[:, 1:].reshape(-1)).item())
    return statistics.mean(losses)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
