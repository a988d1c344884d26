"""Muon: momentum whose matrices are made orthogonal before they are applied.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the coefficients of the matrix sign iteration are Polar Express
(arXiv:2505.16932, eight digits are enough in bfloat16). Matrices of one shape are stacked and iterated together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

POLAR_EXPRESS = (
    (8.156554525, -22.483292926, 15.878769915),
    (4.042929935, -2.808917466, 0.500017845),
    (3.891667802, -2.772484153, 0.506064818),
    (3.285753658, -2.368129493, 0.464490242),
    (2.346541326, -1.709782838, 0.423235512),
)
WARM_STEPS = 200  # momentum rises from 0.85 to 0.95 over them
SAFETY = 1.02  # the iteration needs singular values of at most 1, whatever rounding does


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """(n, rows, columns) to the nearest (semi-)orthogonal matrices, singular values about 1."""
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-2, -1)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) * SAFETY + 1e-7).to(dtype)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.transpose(-2, -1)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    result: Tensor = x.transpose(-2, -1) if tall else x
    return result


class Muon:
    """The rule for the matrices of the blocks."""

    def __init__(self, names: Sequence[str], weights: Sequence[Tensor], lr: float, decay: float) -> None:
        self._names, self._lr, self._decay = list(names), lr, decay
        self._momentum = [torch.zeros_like(w) for w in weights]
        self._steps = torch.zeros(1, dtype=torch.int64)
        self._stacks: dict[tuple[int, ...], list[int]] = {}
        for index, weight in enumerate(weights):
            self._stacks.setdefault(tuple(weight.shape), []).append(index)
        self._dtype = torch.bfloat16 if weights and weights[0].shape[0] >= 128 else torch.float32

    def update(self, weights: list[Tensor], gradients: list[Tensor], scale: float) -> None:
        self._steps += 1
        beta = 0.85 + 0.10 * min(1.0, int(self._steps) / WARM_STEPS)
        torch._foreach_lerp_(self._momentum, gradients, 1.0 - beta)
        ahead = torch._foreach_lerp(gradients, self._momentum, beta)  # Nesterov
        lr = self._lr * scale
        if self._decay:
            torch._foreach_mul_(weights, 1.0 - lr * self._decay)
        for (rows, columns), members in self._stacks.items():
            steps = orthogonalise(torch.stack([ahead[i] for i in members]), self._dtype).float()
            rate = lr * max(1.0, rows / columns) ** 0.5
            for i, step in zip(members, steps, strict=True):
                weights[i].add_(step, alpha=-rate)

    def tensors(self) -> dict[str, Tensor]:
        named = {f"{n}.momentum": t for n, t in zip(self._names, self._momentum, strict=True)}
        return named | {"steps": self._steps}
