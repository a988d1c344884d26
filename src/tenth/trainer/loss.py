"""Linear layer and cross-entropy in one: the loss of a head without ever holding all its logits.

The gradient is formed in the forward pass, a slice of rows at a time, while the slice's logits are still in cache: no
(rows, V) float32 tensor exists, and softmax is computed once instead of twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # target of a position that carries no loss
ROWS_PER_SLICE = 512
SMALLEST = 1e-37  # of a probability: a loss is at most 85 nats

Rows = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Logits (n, V), targets (n, 1), which of them are ignored (n, 1) -> gradient (n, V) as the logits, nats (n, 1)."""


def loss_of_rows(logits: Tensor, targets: Tensor, ignored: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax is formed once, and becomes the gradient in place: softmax - one-hot."""
    chances = logits.float().softmax(1)
    losses = chances.gather(1, targets).clamp(min=SMALLEST).log().neg()
    chances.scatter_add_(1, targets, chances.new_full((1, 1), -1.0).expand(losses.shape))
    if bool(ignored.any()):
        losses.masked_fill_(ignored, 0.0)
        chances.masked_fill_(ignored, 0.0)
    return chances.to(logits.dtype), losses


def loss_of_rows_to_compile(logits: Tensor, targets: Tensor, ignored: Tensor) -> tuple[Tensor, Tensor]:
    """The same without anything in place or conditional: the compiler makes three passes over the rows of it."""
    wide = logits.float()
    top = wide.amax(1, keepdim=True)
    powers = (wide - top).exp()
    total = powers.sum(1, keepdim=True)
    one_hot = torch.arange(logits.shape[1], device=logits.device) == targets
    gradient = (powers / total - one_hot.float()).masked_fill(ignored, 0.0).to(logits.dtype)
    losses = (total.log() + top - wide.gather(1, targets)).masked_fill(ignored, 0.0)
    return gradient, losses


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, compiled: Rows | None) -> Tensor:
        ignored = (targets == IGNORED).unsqueeze(1)
        scale = 1.0 / (targets.numel() - ignored.sum()).clamp(min=1).float()
        picked = targets.clamp(min=0).unsqueeze(1)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        for start in range(0, hidden.shape[0], ROWS_PER_SLICE):
            rows = slice(start, start + ROWS_PER_SLICE)
            whole = start + ROWS_PER_SLICE <= hidden.shape[0]
            of_rows = compiled if compiled and whole else loss_of_rows
            # The division by the count is left to the small products below.
            gradient, losses = of_rows(F.linear(hidden[rows], weight), picked[rows], ignored[rows])
            torch.mm(gradient, weight, out=grad_hidden[rows])
            grad_weight.addmm_(gradient.t(), hidden[rows])
            total += losses.sum()
        grad_hidden.mul_(scale)
        grad_weight.mul_(scale)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None, None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, compiled: Rows | None = None) -> Tensor:
    """Mean over counted targets of -log softmax(hidden @ weight^T)[target], in nats; hidden (N, D), targets (N,).

    `compiled` does for slices of ROWS_PER_SLICE what `loss_of_rows` does.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, compiled)  # type: ignore[no-untyped-call]
    return loss
