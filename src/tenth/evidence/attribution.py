"""Which documents of the interval drove a change: cosine of gradients, passage by passage.

The gradient of what is asked about and of every passage's loss, at the checkpoint before, in the last block and the
unembedding (TracIn, arXiv:2002.08484, with cosines in place of products, at one checkpoint). It follows what a step on
the passage would have done, to the first order; it does not retrain without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tenth.trainer.model import Transformer, rotary_table

from .interval import Interval, Piece

GRADIENT_BYTES = 192 << 20  # of the passages looked at together
Gradient = dict[str, Tensor]


@dataclass(frozen=True)
class Driver:
    """A passage, and how much its gradient points the same way, from -1 to 1."""

    piece: Piece
    cosine: float


class _Tail(nn.Module):
    """The last block, the norm and the unembedding: residual stream in, summed nats of the marked targets out."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.block, self.norm, self.head = model.model.layers[-1], model.model.norm, model.lm_head

    def forward(self, x: Tensor, targets: Tensor, marked: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x (T, D), targets and marked (T)."""
        logits = self.head(self.norm(self.block(x[None], cos, sin)))[0]
        nats = logits.logsumexp(-1) - logits.gather(-1, targets[:, None]).squeeze(-1)
        mean: Tensor = (nats * marked).sum() / marked.sum().clamp(min=1)
        return mean


class Attributor:
    """Gradients of one model, for questions about one interval."""

    def __init__(self, before: Transformer, interval: Interval, seconds: float) -> None:
        """`seconds` bounds each question; passages that share its tokens come first, the others in a fixed order."""
        self._model, self._interval, self._seconds = before, interval, seconds
        self._tail = _Tail(before)
        self._weights = {name: p.detach() for name, p in self._tail.named_parameters() if p.dim() > 1}
        self._rest = {name: p.detach() for name, p in self._tail.named_parameters() if p.dim() < 2}
        size = sum(p.nbytes for p in self._weights.values())
        self.at_once = max(1, GRADIENT_BYTES // size)

    def drivers(
        self, rows: NDArray[np.int64], marked: NDArray[np.bool_], clock: Callable[[], float] = time.monotonic
    ) -> tuple[list[Driver], int]:
        """The passages looked at, the closest first, and how many there are.

        `rows` (n, T + 1) are texts of one length, `marked` (n, T + 1) the tokens in them that are asked about.
        """
        deadline = clock() + self._seconds
        question = {name: value.mean(0) for name, value in self._gradients(rows, marked).items()}
        asked = _norm(question)
        found: list[Driver] = []
        order = self._order(np.unique(rows[marked]))
        for batch in _batches(order, self.at_once):
            pieces = [self._interval.pieces[i] for i in batch]
            windows = self._interval.windows[[piece.window for piece in pieces]]
            gradients = self._gradients(windows, _inside(pieces, windows.shape[1]))
            norms = _norm(gradients, batched=True)
            dots = torch.stack([
                (gradients[name].flatten(1) @ question[name].flatten()) for name in gradients
            ]).sum(0)  # fmt: skip
            cosines = (dots / (norms * asked).clamp(min=1e-20)).tolist()
            found += [Driver(piece, cosine) for piece, cosine in zip(pieces, cosines, strict=True)]
            if clock() > deadline:
                break
        return sorted(found, key=lambda driver: -driver.cosine), len(order)

    def _order(self, tokens: NDArray[np.int64]) -> list[int]:
        """Passages by how many of the tokens they have, rare ones counting more; then in a fixed random order."""
        windows, pieces = self._interval.windows, self._interval.pieces
        weight = np.zeros(len(pieces))
        for token in tokens.tolist():
            has = windows == token
            rarity = 1 / max(1, int(has.any(1).sum()))
            running = np.concatenate([np.zeros((len(windows), 1), np.int64), has.cumsum(1)], axis=1)
            weight += [rarity * (running[p.window, p.stop] > running[p.window, p.start]) for p in pieces]
        shuffled = np.random.default_rng(0).permutation(len(pieces))
        order: list[int] = shuffled[np.argsort(-weight[shuffled], kind="stable")].tolist()
        return order

    def _gradients(self, rows: NDArray[np.int64], marked: NDArray[np.bool_]) -> Gradient:
        """Of each row's mean loss on the marked tokens, (n, ...) by name."""
        ids = torch.from_numpy(rows)
        length = ids.shape[1] - 1
        cos, sin = rotary_table(self._model.shape.head_width, self._model.shape.rope_base, length)
        with torch.no_grad():
            x = self._model.model.embed_tokens(ids[:, :-1])
            for block in self._model.model.layers[:-1]:
                x = block(x, cos, sin)
        loss = partial(self._loss, cos=cos, sin=sin)
        each = vmap(grad(loss), in_dims=(None, 0, 0, 0))
        found: Gradient = each(self._weights, x, ids[:, 1:], torch.from_numpy(marked[:, 1:]).float())
        return found

    def _loss(
        self, weights: Gradient, x: Tensor, targets: Tensor, marked: Tensor, cos: Tensor, sin: Tensor
    ) -> Tensor:  # fmt: skip
        loss: Tensor = functional_call(self._tail, {**weights, **self._rest}, (x, targets, marked, cos, sin))
        return loss


def _inside(pieces: Sequence[Piece], length: int) -> NDArray[np.bool_]:
    places = np.arange(length)[None]
    starts, stops = (np.array(column)[:, None] for column in zip(*((p.start, p.stop) for p in pieces), strict=True))
    inside: NDArray[np.bool_] = (places >= starts) & (places < stops)
    return inside


def _batches(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _norm(gradient: Gradient, *, batched: bool = False) -> Tensor:
    first = 1 if batched else 0
    return torch.stack([value.flatten(first).square().sum(-1) for value in gradient.values()]).sum(0).sqrt()
