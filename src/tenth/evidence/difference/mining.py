"""Which tokens two checkpoints disagree about, on the same contexts: logits, activations and KL, in one reading.

Diff mining counts how often a token is among those whose logit rose (or fell) most, over contexts (ICLR 2026). The
activation-difference lens reads the mean difference of the residual stream through the unembedding (arXiv:2510.13900).
Letters as in trainer/model.py: B contexts, T tokens, D width, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenth.trainer.model import Transformer, rotary_table

TOP = 10  # tokens of each context that count as gained, and as lost
PLAUSIBLE = 1e-4  # a token that both models think rarer than this is noise of the unembedding
LOGIT_BYTES = 64 << 20  # of one model's logits at a time


@dataclass(frozen=True)
class Change:
    """One model against another on the same contexts."""

    gained: NDArray[np.float64]  # (V,): share of positions where the token is among the TOP that rose
    lost: NDArray[np.float64]
    lens: NDArray[np.float64]  # (L, V): the mean activation difference after each block, through the unembedding
    kl: NDArray[np.float64]  # (contexts, T), nats: KL(now || before)
    nats: tuple[float, float]  # mean loss on the contexts' own tokens, now and before


@torch.inference_mode()
def compare(now: Transformer, before: Transformer, windows: NDArray[np.int64]) -> Change:
    """Both on (n, T + 1) windows."""
    shape, models = now.shape, (now, before)
    at_once = max(1, LOGIT_BYTES // (4 * (windows.shape[1] - 1) * shape.vocabulary))
    total = _Sums(shape.vocabulary, shape.layers, shape.width)
    for start in range(0, len(windows), at_once):
        ids = torch.from_numpy(windows[start : start + at_once])
        read = [_read(model, ids[:, :-1]) for model in models]
        logs = [model.logits(normed).float().log_softmax(-1) for model, (_, normed) in zip(models, read, strict=True)]
        moved = [a.float() - b.float() for a, b in zip(read[0][0], read[1][0], strict=True)]
        total.add(logs[0], logs[1], moved, ids[:, 1:])
    return total.change(now)


@dataclass(frozen=True)
class Parting:
    """A place where two models expect different things: after tokens [0, position] of a context."""

    context: int
    position: int
    kl: float
    gained: tuple[int, ...]
    lost: tuple[int, ...]


@torch.inference_mode()
def partings(
    now: Transformer, before: Transformer, windows: NDArray[np.int64], change: Change, most: int, tokens: int = 3
) -> list[Parting]:
    """The contexts with the greatest KL, each at its greatest place, with the probabilities that moved most there."""
    places = change.kl.argmax(1)
    greatest = change.kl[np.arange(len(places)), places]
    chosen = np.argsort(-greatest, kind="stable")[:most]
    ids = torch.from_numpy(windows[chosen, :-1])
    at = torch.arange(len(ids)), torch.from_numpy(places[chosen])
    a, b = (model.logits(_read(model, ids)[1][at]).float().softmax(-1) for model in (now, before))
    gained, lost = ((a - b).topk(tokens, largest=largest).indices.tolist() for largest in (True, False))
    return [
        Parting(context, int(places[context]), float(greatest[context]), tuple(more), tuple(less))
        for context, more, less in zip(chosen.tolist(), gained, lost, strict=True)
    ]


def _read(model: Transformer, ids: Tensor) -> tuple[list[Tensor], Tensor]:
    """The residual stream after each block, (B, T, D), and the last one normed."""
    x = model.model.embed_tokens(ids)
    table = rotary_table(model.shape.head_width, model.shape.rope_base, ids.shape[1])  # the model's own is for training
    cos, sin = (one.to(x.dtype) for one in table)
    found = []
    for block in model.model.layers:
        x = block(x, cos, sin)
        found.append(x)
    return found, model.model.norm(x)


class _Sums:
    """What is added up over batches of contexts."""

    def __init__(self, vocabulary: int, layers: int, width: int) -> None:
        self._rose, self._fell = torch.zeros(vocabulary), torch.zeros(vocabulary)
        self._moved = torch.zeros(layers, width, dtype=torch.float64)
        self._kl: list[Tensor] = []
        self._nats = [0.0, 0.0]
        self._positions = 0

    def add(self, now: Tensor, before: Tensor, moved: Sequence[Tensor], targets: Tensor) -> None:
        """Log-probabilities (B, T, V) of both, activation differences (B, T, D) by layer, true tokens (B, T)."""
        difference = now - before
        noise = torch.maximum(now, before) < float(np.log(PLAUSIBLE))
        self._kl.append((now.exp() * difference).sum(-1).clamp(min=0))
        difference = difference.masked_fill(noise, 0.0)
        for counts, sign in ((self._rose, 1), (self._fell, -1)):
            values, places = difference.topk(TOP, dim=-1, largest=sign > 0, sorted=False)
            counts.scatter_add_(0, places.flatten(), (sign * values > 0).float().flatten())
        for layer, difference in enumerate(moved):
            self._moved[layer] += difference.sum((0, 1)).double()
        for i, log in enumerate((now, before)):
            self._nats[i] -= float(log.gather(-1, targets[..., None]).sum())
        self._positions += targets.numel()

    def change(self, model: Transformer) -> Change:
        count = self._positions
        mean = (self._moved / count).float()
        mean = mean / mean.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        lens = model.logits((mean * model.model.norm.weight).to(model.lm_head.weight.dtype)).float()
        return Change(
            (self._rose / count).double().numpy(), (self._fell / count).double().numpy(), lens.double().numpy(),
            torch.cat(self._kl).double().numpy(), (self._nats[0] / count, self._nats[1] / count),
        )  # fmt: skip
