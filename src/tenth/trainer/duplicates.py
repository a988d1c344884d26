"""Which documents were seen before, in 16 bytes of table for each (24 to 48 with the table's free places).

Open addressing over 128 bits of SHA-256, so that a text is never taken for a copy by chance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]  # (n, 2)


class Seen:
    """A set of 16-byte digests that only grows."""

    def __init__(self) -> None:
        self.count = 0
        self._table: Keys = np.zeros((1024, 2), np.uint64)

    def add(self, digests: list[bytes]) -> list[bool]:
        """For each digest whether it is new, in order. A digest is cut to 16 bytes; all zero bits are not allowed."""
        if not digests:
            return []
        keys = np.frombuffer(b"".join(digest[:16] for digest in digests), np.uint64).reshape(-1, 2)
        while (self.count + len(keys)) * 3 > len(self._table) * 2:
            self._grow()
        first: dict[bytes, int] = {}
        for number, digest in enumerate(digests):
            first.setdefault(digest[:16], number)
        rows = np.fromiter(first.values(), np.int64)
        fresh = np.zeros(len(keys), np.bool_)
        fresh[rows] = self._insert(keys[rows])
        self.count += int(fresh.sum())
        answer: list[bool] = fresh.tolist()
        return answer

    def _insert(self, keys: Keys) -> NDArray[np.bool_]:
        """Put distinct keys into the table, all at once; True for those that were not there."""
        mask = np.uint64(len(self._table) - 1)
        place = keys[:, 0] & mask
        left = np.arange(len(keys))
        fresh = np.zeros(len(keys), np.bool_)
        while left.size:
            there = self._table[place[left]]
            free = ~there.any(axis=1)
            self._table[place[left[free]]] = keys[left[free]]  # where two want one place, the last one has it
            got = (self._table[place[left]] == keys[left]).all(axis=1)
            fresh[left[free & got]] = True
            left = left[~got]
            place[left] = (place[left] + np.uint64(1)) & mask
        return fresh

    def _grow(self) -> None:
        old = self._table
        self._table = np.zeros((2 * len(old), 2), np.uint64)
        for start in range(0, len(old), 1 << 20):
            part = old[start : start + (1 << 20)]
            self._insert(part[part.any(axis=1)])
