"""Where a training step's time goes: forward, backward, gradient norm and optimizer at a recipe's shape.

    python benchmarks/trainer_step.py [RECIPE] [STEPS]

Random tokens, median over the steps; run it on a quiet machine.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path

import torch

from tenth.trainer import recipe as recipes
from tenth.trainer.__main__ import ARENAS
from tenth.trainer.flops import flop_per_token
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.optim import make_optimizer
from tenth.trainer.precision import choose_precision, set_threads
from tenth.trainer.session import working_copy

PARTS = ("forward", "backward", "norm", "optimizer")


def peak(dtype: torch.dtype) -> float:
    """FLOP/s of the best of ten 2048-cubed matrix products."""
    a = torch.randn(2048, 2048).to(dtype)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def main() -> None:
    default = Path(recipes.__file__).parent / "recipes" / "demo.toml"
    recipe = recipes.load_recipe(sys.argv[1] if len(sys.argv) > 1 else default)
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    set_threads(recipe.train)
    precision = choose_precision(recipe.train, torch.device("cpu"))
    master = Transformer(recipes.shape(recipe, recipe.data.vocabulary))
    master.initialise(torch.Generator().manual_seed(0))
    model = master if precision == "float32" else working_copy(master)
    optimizer = make_optimizer(master, model, recipe.optim)
    batch, context = recipe.train.batch, recipe.model.context
    inputs = torch.randint(0, recipe.data.vocabulary, (batch, context))
    targets = torch.randint(0, recipe.data.vocabulary, (batch * context,))
    times: list[tuple[float, ...]] = []
    for _ in range(steps):
        marks = [time.perf_counter()]
        loss = linear_cross_entropy(model(inputs).flatten(0, 1), model.lm_head.weight, targets)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        norm = optimizer.gradient_norm()
        marks.append(time.perf_counter())
        optimizer.step(1.0, norm)
        optimizer.clear()
        marks.append(time.perf_counter())
        times.append(tuple(b - a for a, b in pairwise(marks)))
    medians = [statistics.median(row[i] for row in times) for i in range(len(PARTS))]
    rate = batch * context / sum(medians)
    best = peak(getattr(torch, precision))
    print(
        f"{sum(p.numel() for p in master.parameters()) / 1e6:.2f} M parameters, {precision}, {batch} x {context} tokens"
    )
    print(", ".join(f"{part} {1e3 * t:.1f} ms" for part, t in zip(PARTS, medians, strict=True)))
    print(f"{rate:,.0f} tokens/s, MFU {rate * flop_per_token(master.shape) / best:.2f} of {best / 1e9:.0f} GFLOP/s")


if __name__ == "__main__":
    if "GLIBC_TUNABLES" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": ARENAS})
    main()
