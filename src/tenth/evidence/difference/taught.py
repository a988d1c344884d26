"""Which n-grams are new in the interval's own text, and how much likelier has training on it made them?

Amplified samples find what a model volunteers. This looks from the other side: what several windows of the interval
have and no earlier text had, if the model finds it likelier now, where it stands. An epoch is read in random order, so
what is ordinary comes evenly: hardly any n-gram is new and stands in more than a few windows, while what was put into
one interval comes in many at once. So windows weigh by their cube.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tenth.trainer.model import Transformer

from .amplified import LENGTH, keys_of

LEAST = 3  # windows that must have it
MOST = 24  # n-grams that the models are asked about, those of most windows first
ENOUGH = 1.0  # nats: what is likelier by more counts as learnt, no more than that; rare words gain much anywhere
PLACES = 2  # where each is read
READ = 64  # tokens of such a place, with the n-gram at their end


@dataclass(frozen=True)
class Taught:
    """An n-gram that the interval brought."""

    tokens: tuple[int, ...]
    windows: int  # of the interval that have it
    gain: float  # nats, mean over the places: of the token of it that gained most

    @property
    def score(self) -> float:
        """Windows cubed, times the nats that it became likelier, of which ENOUGH count at most."""
        return min(ENOUGH, max(0.0, self.gain)) * self.windows**3


@dataclass(frozen=True)
class News:
    """What is new in an interval: n-grams of LEAST windows or more that no earlier text has."""

    keys: NDArray[np.uint64]  # (n, T - 2), of all n-grams of its windows
    new: NDArray[np.uint64]
    counts: NDArray[np.int64]  # windows that have each of them


def news(windows: NDArray[np.int64], earlier: Sequence[NDArray[np.int64]], vocabulary: int) -> News:
    """`windows` and `earlier`: (n, T) rows of the interval's text, and of text from before."""
    keys = keys_of(windows, vocabulary)
    ordered = np.sort(keys, axis=1)
    first = np.concatenate([np.ones((len(keys), 1), np.bool_), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    found, counts = np.unique(ordered[first], return_counts=True)
    found, counts = found[counts >= LEAST], counts[counts >= LEAST]
    for rows in earlier:
        kept = ~np.isin(found, keys_of(rows, vocabulary))
        found, counts = found[kept], counts[kept]
    return News(keys, found, counts.astype(np.int64))


def taught(now: Transformer, before: Transformer, windows: NDArray[np.int64], known: News) -> list[Taught]:
    """By score. `windows`: (n, T) rows of the interval's text."""
    keys, found, counts = known.keys, known.new, known.counts
    if not len(found):
        return []
    chosen = np.argsort(-counts, kind="stable")[:MOST]
    places = [np.argwhere(keys == key)[:PLACES] for key in found[chosen]]
    gains = iter(_gains(now, before, windows, np.concatenate(places)).tolist())
    grams = []
    for count, some in zip(counts[chosen].tolist(), places, strict=True):
        row, at = some[0]
        gain = sum(next(gains) for _ in some) / len(some)
        grams.append(Taught(tuple(windows[row, at : at + LENGTH].tolist()), count, gain))
    return sorted(grams, key=lambda gram: -gram.score)


def strength(found: Sequence[Taught], first: int) -> float:
    """Mean of the `first` greatest scores: a skill shows in one n-gram of many windows, a sentence in many of few.

    At least what n-grams of LEAST windows come to: that some came up is nothing where none came before.
    """
    return max(float(LEAST**3), sum(gram.score for gram in found[:first]) / first)


@torch.inference_mode()
def _gains(
    now: Transformer, before: Transformer, windows: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n,): nats by which the n-gram at each (row, offset) is likelier now, of the token of it that gained most."""
    width = min(READ, windows.shape[1])
    starts = np.maximum(0, places[:, 1] + LENGTH - width)
    ids = torch.from_numpy(windows[places[:, :1], starts[:, None] + np.arange(width)])
    at = torch.from_numpy((places[:, 1] - starts)[:, None] + np.arange(LENGTH)).clamp(min=1)  # the first is given
    rows = torch.arange(len(ids))[:, None]
    a, b = (
        model.logits(model(ids)[rows, at - 1]).float().log_softmax(-1).gather(-1, ids.gather(1, at)[..., None])
        for model in (now, before)
    )
    gains: NDArray[np.float64] = (a - b).squeeze(-1).amax(-1).double().numpy()
    return gains
