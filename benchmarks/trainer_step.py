"""Where a training step's time goes: forward, backward, gradient norm and optimizer at a recipe's shape.

    python benchmarks/trainer_step.py [--recipe FILE] [--steps 30] [--short]

Random tokens. The blocks compiled and not, step by step in turn, so that a disturbance meets both; medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from record import ROOT, Record

from tenth.trainer import recipe as recipes
from tenth.trainer.__main__ import ARENAS
from tenth.trainer.compiled import compile_blocks
from tenth.trainer.flops import flop_per_token
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.optim import Optimizer, make_optimizer
from tenth.trainer.peak import measure_peak
from tenth.trainer.precision import choose_precision, set_threads
from tenth.trainer.session import working_copy

PARTS = ("forward", "backward", "norm", "optimizer")


def step(model: Transformer, optimizer: Optimizer, inputs: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Seconds of each part."""
    marks = [time.perf_counter()]
    loss = linear_cross_entropy(model(inputs).flatten(0, 1), model.lm_head.weight, targets)
    marks.append(time.perf_counter())
    loss.backward()  # type: ignore[no-untyped-call]
    marks.append(time.perf_counter())
    norm = optimizer.gradient_norm()
    marks.append(time.perf_counter())
    optimizer.step(1.0, norm)
    optimizer.clear()
    marks.append(time.perf_counter())
    return [b - a for a, b in pairwise(marks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default=str((ROOT / "recipes" / "benchmark.toml").relative_to(ROOT)))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--short", action="store_true", help="three steps, to see that it works")
    options = parser.parse_args()
    record = Record("trainer_step", "Where does a training step's time go?", options)
    recipe = recipes.load_recipe(ROOT / options.recipe)
    set_threads(recipe.train)
    device = torch.device("cpu")
    precision = choose_precision(recipe.train, device)
    master = Transformer(recipes.shape(recipe, recipe.data.vocabulary))
    master.initialise(torch.Generator().manual_seed(0))
    model = master if precision == "float32" else working_copy(master)
    optimizer = make_optimizer(master, model, recipe.optim)
    batch, context = recipe.train.batch, recipe.model.context
    inputs = torch.randint(0, recipe.data.vocabulary, (batch, context))
    targets = torch.randint(0, recipe.data.vocabulary, (batch * context,))
    with tempfile.TemporaryDirectory() as work:
        began = time.perf_counter()
        done = compile_blocks(model, batch, Path(work))
        compiling = time.perf_counter() - began
        ways = {"compiled": model.compiled, "not compiled": None} if done else {"not compiled": None}
        times: dict[str, list[list[float]]] = {way: [] for way in ways}
        peaks = []
        for _ in range(3 if options.short else options.steps):
            peaks.append(measure_peak(getattr(torch, precision), device))
            for way, blocks in ways.items():
                model.compiled = blocks
                times[way].append(step(model, optimizer, inputs, targets))
    peak = statistics.median(peaks)
    for way, rows in times.items():
        medians = [statistics.median(row[i] for row in rows) for i in range(len(PARTS))]
        rate = batch * context / statistics.median(map(sum, rows))
        for part, seconds in zip(PARTS, medians, strict=True):
            record.figure(f"{part}, {way}", "ms", {"p50": round(1e3 * seconds, 1)})
        record.figure(f"speed, {way}", "tokens/s", {"p50": round(rate)})
        share = rate * flop_per_token(master.shape) / peak
        must = {"p50": (">=", 0.6)} if way == "compiled" else None
        record.figure(f"MFU against the measured product, {way}", "1", {"p50": round(share, 3)}, must)
    record.figure("measured product, 2048 cubed", "GFLOP/s", {"p50": round(peak / 1e9)})
    record.figure("compiling, nothing in the cache", "s", {"once": round(compiling, 1)})
    record.detail(parameters=sum(p.numel() for p in master.parameters()), precision=precision, tokens=batch * context)
    record.finish()


if __name__ == "__main__":
    if "GLIBC_TUNABLES" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": ARENAS})
    main()
