"""Training with the built-in trainer's parts and without a run, for benchmarks that change one of the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tenth.trainer import schedule
from tenth.trainer.data import Corpus
from tenth.trainer.epoch import Epoch
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.optim import Optimizer, make_optimizer
from tenth.trainer.precision import choose_precision
from tenth.trainer.recipe import Recipe, shape
from tenth.trainer.session import working_copy

Losses = Callable[[Transformer, Tensor, Tensor], Tensor]
"""Model, inputs (B, T) and targets (B, T) to the mean loss in nats a token."""


def new_model(recipe: Recipe, vocabulary: int, seed: int) -> Transformer:
    """The recipe's model with fresh float32 weights."""
    master = Transformer(shape(recipe, vocabulary))
    master.initialise(torch.Generator().manual_seed(seed))
    return master


def with_optimizer(master: Transformer, recipe: Recipe) -> tuple[Transformer, Optimizer]:
    """What runs on this processor, which is `master` or a bfloat16 copy of it, and the optimizer of both."""
    precision = choose_precision(recipe.train, torch.device("cpu"))
    model = master if precision == "float32" else working_copy(master)
    return model, make_optimizer(master, model, recipe.optim)


def own_loss(model: Transformer, inputs: Tensor, targets: Tensor) -> Tensor:
    return linear_cross_entropy(model(inputs).flatten(0, 1), model.lm_head.weight, targets.reshape(-1))


def step(
    model: Transformer, optimizer: Optimizer, inputs: Tensor, targets: Tensor, factor: float, losses: Losses = own_loss
) -> float:
    """One step with every learning rate times `factor`; the gradient's norm."""
    losses(model, inputs, targets).backward()  # type: ignore[no-untyped-call]
    norm = optimizer.gradient_norm()
    optimizer.step(factor, norm)
    optimizer.clear()
    return norm


def steps(
    model: Transformer, optimizer: Optimizer, corpus: Corpus, recipe: Recipe, count: int, seed: int,
    multiplier: float = 1.0, losses: Losses = own_loss,
) -> Iterator[float]:  # fmt: skip
    """`count` steps over the corpus, by the recipe's schedule; yields each gradient's norm."""
    epoch = Epoch(corpus, recipe.model.context, recipe.train.batch, seed, 1)
    s = recipe.schedule
    for number in range(count):
        inputs, targets = (torch.from_numpy(array) for array in epoch.batch(number % epoch.steps))
        factor = multiplier * schedule.scale(number, count, s.warmup, s.decay, s.floor)
        yield step(model, optimizer, inputs, targets, factor, losses)
