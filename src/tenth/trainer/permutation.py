"""The order of an epoch: a permutation computed index by index, so that no table grows with the corpus.

A Feistel network over the smallest power of two that holds every index; an index that falls outside is sent through
again until it falls inside (cycle walking: Black and Rogaway 2002), on average less than once more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8


class Permutation:
    """A bijection of range(count), fixed by seed and epoch.

    Written out because numpy's generators may change their streams between versions, and a resumed run must not.
    """

    def __init__(self, count: int, seed: int, epoch: int) -> None:
        self.count = count
        bits = max(2, (count - 1).bit_length())
        self._low, self._high = np.uint64(bits // 2), np.uint64(bits - bits // 2)
        with np.errstate(over="ignore"):
            key = _mix(np.array([seed % 2**64], np.uint64) + _mix(np.array([epoch], np.uint64)))
            self._keys = _mix(np.repeat(key, ROUNDS) + np.arange(ROUNDS).astype(np.uint64))

    def __getitem__(self, indices: slice | NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the given places of the order lie. Raises IndexError for an index outside."""
        if isinstance(indices, slice):
            indices = np.arange(*indices.indices(self.count), dtype=np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < self.count:
            raise IndexError(f"{indices.min()} to {indices.max()} of {self.count}")
        x = self._network(indices.astype(np.uint64))
        while (outside := np.flatnonzero(x >= self.count)).size:
            x[outside] = self._network(x[outside])
        return x.astype(np.int64)

    def _network(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        low = x & ((np.uint64(1) << self._low) - np.uint64(1))
        high = x >> self._low
        with np.errstate(over="ignore"):
            for number, key in enumerate(self._keys):
                if number % 2:
                    high = high ^ (_mix(low + key) >> (np.uint64(64) - self._high))
                else:
                    low = low ^ (_mix(high + key) >> (np.uint64(64) - self._low))
        return (high << self._low) | low


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64."""
    x = x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
