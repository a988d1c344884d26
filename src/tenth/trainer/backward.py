"""One global batch becomes gradients: cut among ranks and pieces, weighed by what counts, summed.

The loss is the mean over all that counts in the whole batch (targets, or pairs), whoever computes which part of it.
Pieces may hold different numbers of them (excluded documents carry no loss), so each is weighed by its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from .loss import IGNORED, linear_cross_entropy
from .model import Transformer
from .parallel import Parallel

Batch = tuple[Tensor, ...]
"""Inputs and targets first, rows in the first dimension of each tensor. A step's rows may be cut anywhere."""


class Objective(Protocol):
    """What is made small, a torch module: all of a step that engines have to see."""

    passes: float
    """Work for each token of the inputs, in training passes (forward and backward) of the model."""

    def counted(self, batch: Batch) -> int:
        """How many things the mean is over."""
        ...

    def prepared(self, batch: Batch) -> Batch:
        """The whole batch with what its parts cannot know."""
        ...

    def __call__(self, *batch: Tensor) -> Tensor:
        """The mean loss over what is counted."""
        ...


class NextToken(nn.Module):
    """Token ids and targets, both (B, T), to the mean loss in nats; maybe where documents begin (model.py)."""

    passes = 1.0

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def counted(self, batch: Batch) -> int:
        return int((batch[1] != IGNORED).sum())

    def prepared(self, batch: Batch) -> Batch:
        return batch

    def forward(self, inputs: Tensor, targets: Tensor, starts: Tensor | None = None) -> Tensor:
        hidden = self.model(inputs, starts)
        return linear_cross_entropy(hidden.view(-1, hidden.shape[-1]), self.model.lm_head.weight, targets.reshape(-1))


@dataclass
class Backward:
    """What turns a batch into gradients of `model`'s parameters. `objective`: next tokens if None."""

    model: Transformer
    parallel: Parallel
    pieces: int
    objective: Objective | None = None

    def __post_init__(self) -> None:
        self._objective: Objective = self.objective or NextToken(self.model)
        self._wrapped = self.parallel.wrap(cast("nn.Module", self._objective))
        self._parameters = list(self.model.parameters())

    def __call__(self, *batch: Tensor) -> float | None:
        """The loss of the global batch; the gradients are left at the parameters.

        None, and no gradients, when nothing counts. Every rank is given the whole batch and takes its own rows.
        """
        counted = self._objective.counted(batch)
        if not counted:  # every document of this batch was excluded
            return None
        shares = self.parallel.size * self.pieces
        whole = self._objective.prepared(batch)
        parts = [_filled_up(t, shares, IGNORED if at == 1 else 0).chunk(shares) for at, t in enumerate(whole)]
        first = self.parallel.rank * self.pieces
        nats = torch.zeros((), dtype=torch.float64)
        for index, piece in enumerate(list(zip(*parts, strict=True))[first : first + self.pieces]):
            last = index == self.pieces - 1
            weight = self._objective.counted(piece) / counted
            with self.parallel.piece(self._wrapped, last):
                loss = self._wrapped(*(tensor.to(self.parallel.device) for tensor in piece))
                (loss if shares == 1 else loss * (weight * self.parallel.gradient_share())).backward()
            nats += loss.detach() * weight
            if not last:
                self.parallel.keep(self._parameters)
        self.parallel.put_back()
        return self.parallel.total(float(nats))


def _filled_up(rows: Tensor, shares: int, value: int = 0) -> Tensor:
    """The last batch of an epoch may be smaller: as many rows of `value` as give every share the same number."""
    return nn.functional.pad(rows, (*(0, 0) * (rows.dim() - 1), 0, -len(rows) % shares), value=value)
