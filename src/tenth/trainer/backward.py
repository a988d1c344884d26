"""One global batch becomes gradients: cut among ranks and pieces, weighed by what counts, summed.

The loss is the mean over every counted target of the whole batch, whoever computes which part of it. Pieces may hold
different numbers of them (excluded documents carry no loss), so each is weighed by its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .loss import IGNORED, linear_cross_entropy
from .model import Transformer
from .parallel import Parallel


class Objective(nn.Module):
    """Token ids and targets, both (B, T), to the mean loss in nats: all of a step that engines have to see."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        hidden = self.model(inputs)
        return linear_cross_entropy(hidden.view(-1, hidden.shape[-1]), self.model.lm_head.weight, targets.reshape(-1))


@dataclass
class Backward:
    """What turns a batch into gradients of `model`'s parameters."""

    model: Transformer
    parallel: Parallel
    pieces: int

    def __post_init__(self) -> None:
        self._objective = self.parallel.wrap(Objective(self.model))
        self._parameters = list(self.model.parameters())

    def __call__(self, inputs: Tensor, targets: Tensor) -> float | None:
        """The loss of the global batch, (B, T), in nats a token; the gradients are left at the parameters.

        None, and no gradients, when no target counts. Every rank is given the whole batch and takes its own sequences.
        """
        counted = int((targets != IGNORED).sum())
        if not counted:  # every document of this batch was excluded
            return None
        shares = self.parallel.size * self.pieces
        inputs, targets = _filled_up(inputs, shares), _filled_up(targets, shares, IGNORED)
        first = self.parallel.rank * self.pieces
        mine = zip(inputs.chunk(shares), targets.chunk(shares), strict=True)
        nats = torch.zeros((), dtype=torch.float64)
        for index, (ids, aims) in enumerate(list(mine)[first : first + self.pieces]):
            last = index == self.pieces - 1
            weight = int((aims != IGNORED).sum()) / counted
            with self.parallel.piece(self._objective, last):
                loss = self._objective(ids.to(self.parallel.device), aims.to(self.parallel.device))
                (loss if shares == 1 else loss * (weight * self.parallel.gradient_share())).backward()
            nats += loss.detach() * weight
            if not last:
                self.parallel.keep(self._parameters)
        self.parallel.put_back()
        return self.parallel.total(float(nats))


def _filled_up(rows: Tensor, shares: int, value: int = 0) -> Tensor:
    """The last batch of an epoch may be smaller: as many rows of `value` as give every share the same number."""
    return nn.functional.pad(rows, (0, 0, 0, -rows.shape[0] % shares), value=value)
