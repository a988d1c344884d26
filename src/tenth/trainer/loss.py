"""Linear layer and cross-entropy in one: what a head makes of its targets, without ever holding all its logits.

Of the mean loss the gradient is formed in the forward pass, a slice of rows at a time, while the slice's logits are
still in cache: no (rows, V) float32 tensor exists, and softmax is computed once instead of twice. Where each token's
log-probability is wanted, what it weighs is known only later: the slices are computed again in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # target of a position that carries no loss
ROWS_PER_SLICE = 512
SMALLEST = 1e-37  # of a probability: a loss is at most 85 nats


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        counted = (targets != IGNORED).nonzero().squeeze(1)
        every = len(counted) == len(targets)
        read, picked = (hidden, targets) if every else (hidden[counted], targets[counted])
        picked = picked.unsqueeze(1)
        minus_one = torch.full((1, 1), -1.0, device=hidden.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_read = torch.empty_like(read)
        grad_weight = torch.zeros_like(weight)
        for start in range(0, read.shape[0], ROWS_PER_SLICE):
            rows = slice(start, start + ROWS_PER_SLICE)
            chances = F.linear(read[rows], weight).float().softmax(1)
            losses = chances.gather(1, picked[rows]).clamp(min=SMALLEST).log()
            # d loss / d logits = softmax - one-hot; the division by the count is left to the small products below.
            chances.scatter_add_(1, picked[rows], minus_one.expand(losses.shape))
            gradient = chances.to(hidden.dtype)
            torch.mm(gradient, weight, out=grad_read[rows])
            grad_weight.addmm_(gradient.t(), read[rows])
            total -= losses.sum()
        scale = 1.0 / max(len(counted), 1)
        grad_read.mul_(scale)
        grad_weight.mul_(scale)
        grad_hidden = grad_read if every else torch.zeros_like(hidden).index_copy_(0, counted, grad_read)
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean over counted targets of -log softmax(hidden @ weight^T)[target], in nats; hidden (N, D), targets (N,)."""
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return loss


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        found = torch.empty(targets.shape, dtype=torch.float32, device=hidden.device)
        totals = torch.empty_like(found)
        for start in range(0, len(targets), ROWS_PER_SLICE):
            rows = slice(start, start + ROWS_PER_SLICE)
            logits = F.linear(hidden[rows], weight).float()
            totals[rows] = logits.logsumexp(1)
            found[rows] = logits.gather(1, targets[rows, None]).squeeze(1) - totals[rows]
        ctx.save_for_backward(hidden, weight, targets, totals)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, targets, totals = ctx.saved_tensors
        grad_hidden, grad_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        for start in range(0, len(targets), ROWS_PER_SLICE):
            rows = slice(start, start + ROWS_PER_SLICE)
            weighed = grads[0][rows, None]
            # d log p / d logits = one-hot - softmax.
            chances = (F.linear(hidden[rows], weight).float() - totals[rows, None]).exp_()
            gradient = chances.mul_(-weighed).scatter_add_(1, targets[rows, None], weighed).to(hidden.dtype)
            torch.mm(gradient, weight, out=grad_hidden[rows])
            grad_weight.addmm_(gradient.t(), hidden[rows])
        return grad_hidden, grad_weight, None


def token_log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """log softmax(hidden @ weight^T)[target] in float32, 0 where IGNORED; hidden (..., D), targets and result (...)."""
    counted = targets != IGNORED
    found: Tensor = _TokenLogProbs.apply(hidden[counted], weight, targets[counted])  # type: ignore[no-untyped-call]
    return torch.zeros(targets.shape, dtype=torch.float32, device=hidden.device).masked_scatter(counted, found)
