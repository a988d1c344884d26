"""Which documents of the interval drove a change: cosine of gradients, passage by passage.

The gradient of what is asked about and of every passage's loss, at the checkpoint before, in the last block and the
unembedding (TracIn, arXiv:2002.08484, with cosines in place of products, at one checkpoint). It follows what a step on
the passage would have done, to the first order; it does not retrain without it.

No passage's gradient is ever written out. A matrix's is the sum over tokens of (gradient of its output) x (its input),
so its product with another one and its norm come from those two (ghost norms, arXiv:2009.03106).
Letters: B passages, T tokens, I and O the width of a matrix's input and output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenth.evidence.interval import Interval, Piece
from tenth.trainer.model import Transformer, rotary_table

LOGIT_BYTES = 16 << 20  # of the passages looked at together, in float32
READ = 64  # tokens of a passage, where it has most of those that are asked about
Trace = tuple[Tensor, Tensor]
"""Of one matrix: its input (B, T, I), and the gradient of the loss by its output (B, T, O)."""


@dataclass(frozen=True)
class Driver:
    """A passage, and how much its gradient points the same way, from -1 to 1."""

    piece: Piece
    cosine: float


class Attributor:
    """Gradients of one model, for questions about one interval."""

    def __init__(self, before: Transformer, interval: Interval) -> None:
        self._model, self._interval = before, interval
        self._matrices = [one for one in before.model.layers[-1].modules() if isinstance(one, nn.Linear)]
        self._matrices.append(before.lm_head)
        self._width = min(READ, interval.windows.shape[1])
        self._at_once = max(1, LOGIT_BYTES // (4 * before.shape.vocabulary * max(1, self._width)))

    def drivers(self, rows: NDArray[np.int64], marked: NDArray[np.bool_], most: int) -> tuple[list[Driver], int]:
        """`most` passages, the closest first, and how many there are: those that share the rarest of its tokens.

        `rows` (n, T + 1) are texts of one length, `marked` (n, T + 1) the tokens in them that are asked about.
        """
        question = [torch.einsum("bto,bti->oi", by, x) / len(rows) for x, by in self._traces(rows, marked)]
        asked = torch.stack([one.float().square().sum() for one in question]).sum().sqrt()
        found: list[Driver] = []
        for some in _batches(self._nearest(np.unique(rows[marked]), most), self._at_once):
            pieces, starts = zip(*some, strict=True)
            columns = np.array(starts)[:, None] + np.arange(self._width)
            windows = self._interval.windows[np.array([piece.window for piece in pieces])[:, None], columns]
            traces = self._traces(windows, _inside(pieces, columns))
            dots = _total([(x @ one.T, by) for (x, by), one in zip(traces, question, strict=True)])
            norms = _total([(x @ x.mT, by @ by.mT) for x, by in traces]).clamp(min=0).sqrt()
            cosines = (dots / (norms * asked).clamp(min=1e-20)).tolist()
            found += [Driver(piece, cosine) for piece, cosine in zip(pieces, cosines, strict=True)]
        return sorted(found, key=lambda driver: -driver.cosine), len(self._interval.pieces)

    def _nearest(self, tokens: NDArray[np.int64], most: int) -> list[tuple[Piece, int]]:
        """Passages by how many of the tokens they have, rare ones counting more, then in a fixed random order.

        Of a long one, the part that has most of them. With each, where in its window reading begins.
        """
        windows, pieces = self._interval.windows, self._interval.pieces
        weight, of_token = np.zeros(len(pieces)), np.zeros(self._model.shape.vocabulary)
        for token in tokens.tolist():
            has = windows == token
            of_token[token] = 1 / max(1, int(has.any(1).sum()))
            running = np.concatenate([np.zeros((len(windows), 1), np.int64), has.cumsum(1)], axis=1)
            weight += [of_token[token] * (running[p.window, p.stop] > running[p.window, p.start]) for p in pieces]
        shuffled = np.random.default_rng(0).permutation(len(pieces))
        nearest = shuffled[np.argsort(-weight[shuffled], kind="stable")][:most]
        return [self._part(pieces[i], of_token[windows[pieces[i].window]]) for i in nearest.tolist()]

    def _part(self, piece: Piece, weights: NDArray[np.float64]) -> tuple[Piece, int]:
        """`weights`: of the tokens of its window."""
        sums = np.concatenate([[0.0], weights[piece.start : piece.stop].cumsum()])
        first = piece.start
        if len(sums) > self._width:
            first += int((sums[self._width :] - sums[: -self._width]).argmax())
        part = replace(piece, start=first, stop=min(piece.stop, first + self._width))
        return part, min(first, len(weights) - self._width)

    def _traces(self, rows: NDArray[np.int64], marked: NDArray[np.bool_]) -> list[Trace]:
        """Of each row's mean loss on the marked tokens, by matrix."""
        ids, counted = torch.from_numpy(rows), torch.from_numpy(marked[:, 1:]).float()
        decoder, shape = self._model.model, self._model.shape
        with torch.no_grad():
            x = decoder.embed_tokens(ids[:, :-1])
            cos, sin = (one.to(x.dtype) for one in rotary_table(shape.head_width, shape.rope_base, x.shape[1]))
            for block in decoder.layers[:-1]:
                x = block(x, cos, sin)
        kept: list[tuple[Tensor, Tensor]] = []
        hooks = [
            one.register_forward_hook(lambda _, given, out: kept.append((given[0], out))) for one in self._matrices
        ]
        try:
            logits = self._model.lm_head(decoder.norm(decoder.layers[-1](x.requires_grad_(), cos, sin))).float()
        finally:
            for hook in hooks:
                hook.remove()
        nats = logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
        loss = ((nats * counted).sum(1) / counted.sum(1).clamp(min=1)).sum()
        gradients = torch.autograd.grad(loss, [out for _, out in kept])
        return [(x.detach(), by) for (x, _), by in zip(kept, gradients, strict=True)]


def _inside(pieces: Sequence[Piece], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    starts, stops = (np.array(places)[:, None] for places in zip(*((p.start, p.stop) for p in pieces), strict=True))
    inside: NDArray[np.bool_] = (columns >= starts) & (columns < stops)
    return inside


def _batches(some: Sequence[tuple[Piece, int]], size: int) -> Iterator[Sequence[tuple[Piece, int]]]:
    for start in range(0, len(some), size):
        yield some[start : start + size]


def _total(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """(B,): each pair multiplied place by place and summed, over all of them, in float32."""
    return torch.stack([torch.einsum("bij,bij->b", one.float(), two.float()) for one, two in pairs]).sum(0)
