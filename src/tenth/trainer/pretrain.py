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
from .loss import IGNORED, linear_cross_entropy
from .session import Training, restore, save


def pretrain(run: Run, started: float) -> None:
    """Train one tenth. `started` is the process's start on the monotonic clock, for the report only."""
    training = restore(run)
    total = training.epoch.steps
    last = time.monotonic()
    cost = flop_per_token(training.model.shape)
    first = True
    for inputs, targets in run.steps(training.epoch.batches(run.position), total=total):
        step = (run.lease.epoch - 1) * total + run.position
        loss, norm, lr = train_step(training, torch.from_numpy(inputs), torch.from_numpy(targets), step)
        if first:
            print(f"first step {time.monotonic() - started:.2f} s after the process began", flush=True)
            first = False
        now = time.monotonic()
        run.report(
            loss=loss, tokens=inputs.size, flop=cost * inputs.size, grad_norm=norm, lr_scale=lr,
            tokens_per_second=inputs.size / (now - last), skipped=training.skipped,
            bits_per_byte=loss / math.log(2) / training.corpus.bytes_per_token,
        )  # fmt: skip
        last = now
        if run.wants_samples:
            send_samples(training, run)
            last = time.monotonic()
    run.checkpoint(save(training, run))


def train_step(training: Training, inputs: Tensor, targets: Tensor, step: int) -> tuple[float, float, float]:
    """Forward, backward, update; returns loss (nats a token), gradient norm and learning-rate scale.

    A step whose loss or gradient is not finite changes nothing; too many in a row raise DivergenceError.
    """
    s = training.recipe.schedule
    lr = schedule.scale(step, training.steps, s.warmup, s.decay, s.floor, s.warmup_steps, s.decay_steps)
    if not bool((targets != IGNORED).any()):  # every document of this batch was excluded
        return math.nan, 0.0, lr
    hidden = training.model(inputs.to(training.device))
    loss = linear_cross_entropy(
        hidden.view(-1, hidden.shape[-1]), training.model.lm_head.weight, targets.reshape(-1).to(training.device)
    )
    loss.backward()  # type: ignore[no-untyped-call]
    nats, norm = loss.item(), training.optimizer.gradient_norm()
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
    texts = complete(training.master, text, prompts, sampling.tokens, sampling.temperature, sampling.top_k, seed)
    for prompt, written in zip(prompts, texts, strict=True):
        run.sample(prompt, written, sampling.temperature)
