"""Next-token pretraining: one lease from resume to checkpoint. Read it from `pretrain` downwards."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from tenth.client import Run

from . import schedule, tokenizer
from .errors import DivergenceError
from .flops import flop_per_token
from .generate import complete
from .parallel import joined
from .peak import known_peak
from .precision import choose_device, count_ranks
from .ranks import started
from .recipe import load_recipe
from .session import Training, bytes_held, restore, save


def pretrain(run: Run, began: float) -> bool:
    """Train one tenth; was it alone? `began` is the process's start on the monotonic clock, for the report only."""
    recipe = load_recipe(run.lease.recipe)
    device = choose_device(recipe.train)
    count = count_ranks(recipe.train, device)
    with started(run, count) as place, joined(place, recipe.train.parallel, device) as parallel:
        training = restore(run, recipe, parallel)
        if count > 1:
            held = bytes_held(training)
            print(f"rank {place.rank} of {count} holds {held} bytes of weights and optimizer memory", flush=True)
        train(run, training, began)
    return count == 1


def train(run: Run, training: Training, began: float) -> None:
    """From the first step of the tenth to its checkpoint. Every rank makes the same steps."""
    total = training.epoch.steps
    cost = flop_per_token(training.model.shape)
    peak = known_peak(training.precision, training.device, run.work) * training.parallel.size
    last = time.monotonic()
    first = True
    for inputs, targets in run.steps(training.epoch.batches(run.position), total=total):
        step = (run.lease.epoch - 1) * total + run.position
        loss, norm, lr = train_step(training, torch.from_numpy(inputs), torch.from_numpy(targets), step)
        if first and training.parallel.rank == 0:
            print(f"first step {time.monotonic() - began:.2f} s after the process began", flush=True)
            first = False
        now = time.monotonic()
        rate = inputs.size / (now - last)
        run.report(
            loss=loss, tokens=inputs.size, flop=cost * inputs.size, grad_norm=norm, lr_scale=lr,
            tokens_per_second=rate, mfu=rate * cost / peak, skipped=training.skipped,
            bits_per_byte=loss / math.log(2) / training.corpus.bytes_per_token,
        )  # fmt: skip
        last = now
        if training.parallel.agree(run.wants_samples):
            send_samples(training, run)
            last = time.monotonic()
    folder = save(training, run)
    if training.parallel.rank == 0:
        run.checkpoint(folder)


def train_step(training: Training, inputs: Tensor, targets: Tensor, step: int) -> tuple[float, float, float]:
    """Forward, backward, update; returns loss (nats a token), gradient norm and learning-rate scale.

    A step whose loss or gradient is not finite changes nothing; too many in a row raise DivergenceError.
    """
    s = training.recipe.schedule
    lr = schedule.scale(step, training.steps, s.warmup, s.decay, s.floor, s.warmup_steps, s.decay_steps)
    nats = training.backward(inputs, targets)
    if nats is None:  # every document of this batch was excluded
        return math.nan, 0.0, lr
    if training.shards:
        training.shards.take_gradients()
    norm = training.parallel.norm(training.optimizer.gradient_norm())
    if math.isfinite(nats) and math.isfinite(norm):
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
    return nats, norm, lr


def send_samples(training: Training, run: Run) -> None:
    """Show the watchers what the master weights write now, without touching the training's random numbers."""
    sampling = training.recipe.sample
    prompts = list(run.prompts) or [""]
    text = tokenizer.from_file(training.corpus.folder / "tokenizer.json")
    seed = training.seed + run.position
    model = training.shards.whole(training.master.shape, training.parallel) if training.shards else training.master
    if model is None:  # another rank than 0 of a sharded run
        return
    texts = complete(model, text, prompts, sampling.tokens, sampling.temperature, sampling.top_k, seed)
    for prompt, written in zip(prompts, texts, strict=True):
        run.sample(prompt, written, sampling.temperature)
