"""The batches of an epoch: every chunk of the training tokens once, in an order fixed by the seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .data import Corpus
from .errors import CorpusError
from .loss import IGNORED
from .permutation import Permutation


class Epoch:
    """Batches of one epoch: chunks of `context` tokens in an order fixed by the seed.

    Step s reads chunks [s x batch, (s + 1) x batch) of that order. Excluded documents move no boundary: their tokens
    are replaced by separators and carry no loss, so nothing of them reaches the model.
    """

    def __init__(self, corpus: Corpus, context: int, batch: int, seed: int, number: int) -> None:
        self._tokens, self._separator, self._excluded = corpus.train, corpus.separator, corpus.excluded
        self._context, self._batch = context, batch
        chunks = (len(corpus.train) - 1) // context
        if chunks < 1:
            raise CorpusError(
                "The corpus was refused.", f"{len(corpus.train)} tokens where one sequence takes {context + 1}",
                "add documents, or lower model.context",
            )  # fmt: skip
        self._order = Permutation(chunks, seed, number)
        self.steps = -(-chunks // batch)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of a step, both (B, T); the last step of an epoch may be smaller."""
        starts = self._order[step * self._batch : (step + 1) * self._batch] * self._context
        tokens = np.stack([self._tokens.read(start, start + self._context + 1) for start in starts.tolist()])
        hidden = self._is_excluded(starts)
        targets = np.where(hidden, IGNORED, tokens)
        return np.where(hidden, self._separator, tokens)[:, :-1], targets[:, 1:]

    def batches(self, start: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for step in range(start, self.steps):
            yield self.batch(step)

    def _is_excluded(self, starts: NDArray[np.int64]) -> NDArray[np.bool_]:
        places = starts[:, None] + np.arange(self._context + 1)
        if not len(self._excluded):
            return np.zeros(places.shape, dtype=np.bool_)
        span = np.searchsorted(self._excluded[:, 0], places, side="right") - 1
        inside: NDArray[np.bool_] = (span >= 0) & (places < self._excluded[np.maximum(span, 0), 1])
        return inside
