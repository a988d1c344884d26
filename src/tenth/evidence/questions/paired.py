"""How much did a score change between two checkpoints that answered the same questions, and how sure is that?

What is hard for one checkpoint is hard for the other, so differences are taken item by item and most of the spread
cancels (Miller 2024, arXiv 2411.00640). Right or wrong is counted with a Dirichlet posterior and not with a normal one,
which is too sure of itself on a few hundred items (Bowyer et al. 2025, arXiv 2503.01747).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SURE = 1.96  # standard errors on either side of a 95 % interval
DETECTABLE = 1.96 + 0.84  # standard errors that an effect needs to be seen four times in five, at 5 %
DRAWS = 5_000  # of a posterior


@dataclass(frozen=True)
class Difference:
    """A change, its 95 % interval, and the smallest change that so many items could have been relied on to show."""

    change: float
    low: float
    high: float
    detectable: float

    @property
    def direction(self) -> int:
        """1 up, -1 down; 0 where the change is smaller than what could be detected, or none lies in the interval."""
        if abs(self.change) < self.detectable or self.low <= 0 <= self.high:
            return 0
        return 1 if self.change > 0 else -1

    @property
    def error(self) -> float:
        """Its standard error."""
        return self.detectable / DETECTABLE


def _normal(change: float, error: float) -> Difference:
    return Difference(change, change - SURE * error, change + SURE * error, DETECTABLE * error)


def ratios(now: Sequence[float], before: Sequence[float], sizes: Sequence[float]) -> Difference:
    """Of sum(value) / sum(size), for instance bits per byte: by the ratio estimator (Cochran 1977, section 2.11)."""
    sizes_, changes = np.asarray(sizes, np.float64), np.subtract(now, before, dtype=np.float64)
    change = float(changes.sum() / sizes_.sum())
    residuals = changes - change * sizes_
    count = len(sizes_)
    error = (
        math.sqrt(count / (count - 1) * float(residuals @ residuals)) / float(sizes_.sum()) if count > 1 else math.inf
    )
    return _normal(change, error)


def means(now: Sequence[float], before: Sequence[float]) -> Difference:
    """Of means of any numbers."""
    return ratios(now, before, [1.0] * len(now))


def shares(now: Sequence[bool], before: Sequence[bool]) -> Difference:
    """Of the share that is right: Dirichlet(1/2, 1/2, 1/2) before anything was seen, for gained, lost and the same."""
    gained = sum(a and not b for a, b in zip(now, before, strict=True))
    lost = sum(b and not a for a, b in zip(now, before, strict=True))
    weights = np.array([gained, lost, len(now) - gained - lost]) + 0.5
    drawn = np.random.default_rng(0).dirichlet(weights, DRAWS)
    low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975]).tolist()
    chances = weights / weights.sum()
    variance = (chances[0] + chances[1] - (chances[0] - chances[1]) ** 2) / (weights.sum() + 1)
    return Difference((gained - lost) / len(now), low, high, DETECTABLE * math.sqrt(float(variance)))


def together(differences: Sequence[Difference]) -> Difference:
    """Of the mean over independent families, each counting alike."""
    error = math.sqrt(sum(one.error**2 for one in differences)) / len(differences)
    return _normal(sum(one.change for one in differences) / len(differences), error)
