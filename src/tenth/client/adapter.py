"""What adapters to other people's trainers have in common: an epoch's length, and random numbers left alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import LoopError


def steps_per_epoch(total: int, passes: int, epochs: int) -> int:
    """Optimizer steps of one epoch of the charter.

    `total` steps of the phase as the trainer knows it, 0 if it does not; `passes` over the data likewise; `epochs` of
    the charter's phase. Raises LoopError when trainer and charter disagree about how long the phase is.
    """
    if total <= 0:
        raise refused("the trainer does not know its number of steps", "give max_steps: the data has no length")
    known = 0 < passes < 1 << 31  # a trainer may count 2**63 - 1 passes of data that has no length
    if known and passes != epochs:
        raise refused(
            f"the trainer goes {passes} times through its data, the charter's phase {epochs} times",
            "let the trainer go through it run.lease.epochs times, and change the number in the charter",
        )
    if total % epochs:
        raise refused(f"{total} steps in {epochs} epochs", "give a max_steps that the number of epochs divides")
    return total // epochs


def refused(found: str, do: str) -> LoopError:
    return LoopError("The trainer's arguments were refused.", found, do)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Give back the random numbers of torch (on every device), NumPy and Python as they were."""
    import numpy
    import torch

    python, array = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    numpy.random.set_state(array)


@contextmanager
def quiet(model: Any, seed: int) -> Iterator[None]:
    """For samples: evaluation mode, no gradients, random numbers of their own; afterwards all is as it was."""
    import torch

    training = bool(model.training)
    model.eval()
    try:
        with kept_random_state(), torch.no_grad():
            torch.manual_seed(seed)
            yield
    finally:
        model.train(training)
