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
from .mining import LOGIT_BYTES

LEAST = 3  # windows that must have it
MOST = 24  # n-grams that the models are asked about, those of most windows first
ENOUGH = 1.0  # nats: what is likelier by more counts as learnt, no more than that; rare words gain much anywhere
PLACES = 2  # where each is read


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


def taught(
    now: Transformer, before: Transformer, windows: NDArray[np.int64], earlier: Sequence[NDArray[np.int64]]
) -> list[Taught]:
    """By score. `windows` and `earlier`: (n, T) rows of the interval's text, and of text from before."""
    vocabulary = now.shape.vocabulary
    keys = keys_of(windows, vocabulary)
    ordered = np.sort(keys, axis=1)
    first = np.concatenate([np.ones((len(keys), 1), np.bool_), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    found, counts = np.unique(ordered[first], return_counts=True)
    found, counts = found[counts >= LEAST], counts[counts >= LEAST]
    for rows in earlier:
        new = ~np.isin(found, keys_of(rows, vocabulary))
        found, counts = found[new], counts[new]
    chosen = np.argsort(-counts.astype(np.int64), kind="stable")[:MOST]
    places = [np.argwhere(keys == key)[:PLACES].tolist() for key in found[chosen]]
    rows_read = sorted({row for some in places for row, _ in some})
    gains = dict(zip(rows_read, _gains(now, before, windows[rows_read]), strict=True))
    grams = []
    for count, some in zip(counts[chosen].tolist(), places, strict=True):
        gain = [float(gains[row][max(0, at - 1) : at + LENGTH - 1].max()) for row, at in some]
        row, at = some[0]
        grams.append(Taught(tuple(windows[row, at : at + LENGTH].tolist()), count, sum(gain) / len(gain)))
    return sorted(grams, key=lambda gram: -gram.score)


def strength(found: Sequence[Taught], first: int) -> float:
    """Mean of the `first` greatest scores: a skill shows in one n-gram of many windows, a sentence in many of few.

    At least what n-grams of LEAST windows come to: that some came up is nothing where none came before.
    """
    return max(float(LEAST**3), sum(gram.score for gram in found[:first]) / first)


@torch.inference_mode()
def _gains(now: Transformer, before: Transformer, windows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, T - 1): nats by which each token after the first is likelier now."""
    at_once = max(1, LOGIT_BYTES // (4 * windows.shape[1] * now.shape.vocabulary))
    found = [np.empty((0, windows.shape[1] - 1))]
    for start in range(0, len(windows), at_once):
        ids = torch.from_numpy(windows[start : start + at_once])
        a, b = (
            model.logits(model(ids[:, :-1])).float().log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
            for model in (now, before)
        )
        found.append((a - b).double().numpy())
    return np.concatenate(found)
