"""Muon: momentum whose matrices are made orthogonal before they are applied.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the coefficients of the matrix sign iteration are Polar Express
(arXiv:2505.16932, eight digits are enough in bfloat16), without its first step: rows scaled by what they have in common
with the others (arXiv:2208.03160) begin nearer to orthogonal than a matrix scaled as a whole. Matrices of one shape are
stacked and iterated together, and may be cut into blocks along their shorter side: a block costs less than its share of
the whole, and its entries have the same size, so that a learning rate means the same with and without blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .pieces import pieces, scaled

POLAR_EXPRESS = (
    (4.042929935, -2.808917466, 0.500017845),
    (3.891667802, -2.772484153, 0.506064818),
    (3.285753658, -2.368129493, 0.464490242),
    (2.346541326, -1.709782838, 0.423235512),
)
WARM_STEPS = 200  # momentum rises from 0.85 to 0.95 over them
SAFETY = 1.02  # the iteration needs singular values of at most 1, whatever rounding does


def orthogonalise(matrices: Tensor, dtype: torch.dtype, block: int = 0) -> Tensor:
    """(n, rows, columns) to the nearest (semi-)orthogonal matrices, singular values about 1.

    With `block`, each run of that many rows (columns, of a tall matrix) is made orthogonal by itself; 0: the whole.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    upright = (matrices.transpose(-2, -1) if tall else matrices).to(dtype)
    count, short, long = upright.shape
    x = upright.reshape(-1, block_size(short, block), long)
    for number, (a, b, c) in enumerate(POLAR_EXPRESS):
        gram = torch.bmm(x, x.transpose(-2, -1))
        if number == 0:  # no singular value is above 1 then
            scale = (SAFETY * gram.float().abs().sum(-1, keepdim=True)).clamp(min=1e-30).rsqrt()
            x, gram = x * scale.to(dtype), gram * (scale * scale.transpose(-2, -1)).to(dtype)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.view(count, short, long)
    return x.transpose(-2, -1) if tall else x


def block_size(short: int, block: int) -> int:
    """The largest divisor of `short` up to `block`; `short` itself where that is less than half of what was asked."""
    if not 0 < block < short:
        return short
    size = next(size for size in range(block, 0, -1) if short % size == 0)
    return size if 2 * size > block else short


class Muon:
    """The rule for the matrices of the blocks."""

    def __init__(
        self, names: Sequence[str], weights: Sequence[Tensor], lr: float, decay: float, block: int = 0
    ) -> None:
        self._names, self._lr, self._decay, self._block = list(names), lr, decay, block
        self._momentum = [torch.zeros_like(w) for w in weights]
        self._steps = torch.zeros(1, dtype=torch.int64)
        self._stacks: dict[tuple[int, ...], list[int]] = {}
        for index, weight in enumerate(weights):
            self._stacks.setdefault(tuple(weight.shape), []).append(index)

    def update(self, weights: list[Tensor], gradients: list[Tensor], scale: float, factor: float = 1.0) -> None:
        self._steps += 1
        beta = 0.85 + 0.10 * min(1.0, int(self._steps) / WARM_STEPS)
        lr = self._lr * scale
        for (rows, columns), members in self._stacks.items():
            ahead = self._advance(members, gradients, beta, factor)
            steps = orthogonalise(ahead, ahead.dtype, self._block)
            rate = lr * max(1.0, rows / columns) ** 0.5
            for i, step in zip(members, steps, strict=True):
                if self._decay:
                    weights[i].mul_(1.0 - lr * self._decay)
                weights[i].add_(step, alpha=-rate)

    def _advance(self, members: list[int], gradients: list[Tensor], beta: float, factor: float) -> Tensor:
        """Take the gradients into the momentum; the members' Nesterov momentum as one stack (n, rows, columns)."""
        first = gradients[members[0]]
        small = first.shape[0] < 128  # rounding would show, and nothing is to be gained
        dtype = torch.float32 if small else first.dtype
        stack = torch.empty((len(members), *first.shape), dtype=dtype, device=first.device)
        momenta = [self._momentum[i] for i in members]
        for momentum, gradient, out in pieces(momenta, [gradients[i] for i in members], list(stack)):
            taken = scaled(gradient, factor)
            torch._foreach_lerp_(momentum, taken, 1.0 - beta)
            torch._foreach_copy_(out, torch._foreach_lerp(taken, momentum, beta))
        return stack

    def tensors(self) -> dict[str, Tensor]:
        named = {f"{n}.momentum": t for n, t in zip(self._names, self._momentum, strict=True)}
        return named | {"steps": self._steps}
