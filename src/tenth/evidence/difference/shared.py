"""Which text do several windows of the interval share that no earlier text has?

N-grams that are new in the interval are taken together by the set of windows that have them. A sentence that was put
into some documents is many n-grams of one set; ordinary text that is new is one or two, or comes in fewer windows. It
looks at the data alone, so it sees what was read before it was learnt. Nothing is flagged by it (docs/lab-log.md).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .amplified import LENGTH

ENOUGH = 8  # n-grams: a text that was copied whole counts as no more
LONGEST = 64  # tokens of it that are shown


@dataclass(frozen=True)
class Shared:
    """Tokens [start, stop) of a window, and how much of them several windows have."""

    window: int
    start: int
    stop: int
    windows: int
    grams: int  # new n-grams that stand in just these windows

    @property
    def score(self) -> float:
        return float(min(ENOUGH, self.grams) * (self.windows - 1) ** 3)


def shared(keys: NDArray[np.uint64], new: NDArray[np.uint64]) -> list[Shared]:
    """By score. `keys` (n, T - 2): of the interval's windows; `new`: those that no earlier text has."""
    rows, at = np.nonzero(np.isin(keys, new))
    first: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for key, row, place in zip(keys[rows, at].tolist(), rows.tolist(), at.tolist(), strict=True):
        first[key].setdefault(row, place)
    together: defaultdict[frozenset[int], list[dict[int, int]]] = defaultdict(list)
    for places in first.values():
        together[frozenset(places)].append(places)
    found = []
    for some, grams in together.items():
        window = min(some)
        start = min(places[window] for places in grams)
        stop = min(start + LONGEST, LENGTH + max(places[window] for places in grams))
        found.append(Shared(window, start, stop, len(some), len(grams)))
    return sorted(found, key=lambda one: -one.score)
