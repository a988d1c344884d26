"""The one training loop: a lease from resume to checkpoint, in every phase. Read it from `train_lease` downwards."""

from __future__ import annotations

import math
import time
from typing import Protocol

from tenth.client import Run

from . import schedule, tokenizer
from .backward import Batch
from .errors import DivergenceError, RecipeError
from .flops import flop_per_token
from .optim import Optimizer
from .parallel import Parallel, joined
from .peak import known_peak
from .precision import choose_device, count_ranks
from .ranks import started
from .recipe import Recipe, load_recipe
from .session import Phase, Training, bytes_held, restore, save
from .sharded import Shards
from .shown import answers, with_surprisal


def train_lease(run: Run, began: float, verb: str, phase: Phase, alone: bool = False) -> bool:
    """Train one tenth; was it alone? `began` is the process's start on the monotonic clock, for the report only.

    `verb`: what this kind of phase is started by. `alone`: it trains with one process. Raises RecipeError where the
    recipe asks for more.
    """
    recipe = load_recipe(run.lease.recipe)
    device = choose_device(recipe.train)
    count = count_ranks(recipe.train, device)
    if alone and count > 1:
        found = f"{count} ranks in a phase that one process trains"
        raise RecipeError("The recipe was refused.", found, "write ranks = 1 in [train]")
    with started(run, count, verb) as place, joined(place, recipe.train.parallel, device) as parallel:
        training = restore(run, recipe, parallel, phase)
        if count > 1:
            held = bytes_held(training)
            print(f"rank {place.rank} of {count} holds {held} bytes of weights and optimizer memory", flush=True)
        train(run, training, began)
    return count == 1


def train(run: Run, training: Training, began: float) -> None:
    """From the first step of the tenth to its checkpoint. Every rank makes the same steps."""
    total = training.data.steps
    cost = training.objective.passes * flop_per_token(training.model.shape)
    peak = known_peak(training.precision, training.device, run.work) * training.parallel.size
    last = time.monotonic()
    first = True
    for batch in run.steps(training.data.batches(run.position), total=total):
        step = (run.lease.epoch - 1) * total + run.position
        loss, norm, lr = train_step(training, batch, step)
        if first and training.parallel.rank == 0:
            print(f"first step {time.monotonic() - began:.2f} s after the process began", flush=True)
            first = False
        now = time.monotonic()
        tokens = batch[0].numel()
        rate = tokens / (now - last)
        run.report(
            loss=loss, tokens=tokens, flop=cost * tokens, grad_norm=norm, lr_scale=lr, tokens_per_second=rate,
            mfu=rate * cost / peak, skipped=training.skipped, **training.data.metrics(loss),
        )  # fmt: skip
        last = now
        if training.parallel.agree(run.wants_samples):
            send_samples(training, run)
            last = time.monotonic()
    folder = save(training, run)
    if training.parallel.rank == 0:
        run.checkpoint(folder)


def train_step(training: Training, batch: Batch, step: int) -> tuple[float, float, float]:
    """Forward, backward, update; returns loss, gradient norm and learning-rate scale."""
    s = training.recipe.schedule
    lr = schedule.scale(step, training.steps, s.warmup, s.decay, s.floor, s.warmup_steps, s.decay_steps)
    loss = training.backward(*batch)
    if loss is None:  # every document of this batch was excluded
        return math.nan, 0.0, lr
    return loss, update(training, loss, lr), lr


class Trained(Protocol):
    """What an update changes, and what it needs."""

    recipe: Recipe
    optimizer: Optimizer
    parallel: Parallel
    shards: Shards | None
    nonfinite: int
    skipped: int


def update(training: Trained, loss: float, lr: float) -> float:
    """Apply the gradients that a backward pass has left, at `lr` times each learning rate; their norm.

    A step whose loss or gradient is not finite changes nothing; too many in a row raise DivergenceError.
    """
    if training.shards:
        training.shards.take_gradients()
    norm = training.parallel.norm(training.optimizer.gradient_norm())
    if math.isfinite(loss) and math.isfinite(norm):
        training.optimizer.step(lr, norm)
        training.nonfinite = 0
    else:
        training.nonfinite += 1
        training.skipped += 1
    training.optimizer.clear()
    if training.nonfinite >= training.recipe.train.skip_nonfinite:
        raise DivergenceError(
            "Training was stopped.", f"{training.nonfinite} steps in a row without a finite loss",
            "lower the learning rates in the recipe, at the next gate",
        )  # fmt: skip
    return norm


def send_samples(training: Training, run: Run) -> None:
    """Show the watchers what the master weights write now, without touching the training's random numbers.

    After the prompts that they wished for, and two answers to one that the phase has itself, which people may compare.
    """
    sampling = training.recipe.sample
    asked = training.data.asked(run.position)
    prompts = list(run.prompts) or ([] if asked else [""])
    text = tokenizer.from_file(training.data.tokenizer)
    seed = training.seed + run.position
    model = training.shards.whole(training.master.shape, training.parallel) if training.shards else training.master
    if model is None:  # another rank than 0 of a sharded run
        return
    for prompt, (one, bits) in zip(prompts, with_surprisal(model, text, prompts, sampling, seed), strict=True):
        run.sample(prompt, one, sampling.temperature, bits)
    for one, bits in answers(model, text, asked, 2, sampling, seed) if asked else []:
        run.sample(text.decode(list(asked)), one, sampling.temperature, bits)
