"""A forecast of one number, told by quantiles: how likely it makes a value, and how well it did.

Between two quantiles the probability is even; beyond the outermost it falls exponentially, beginning at the density of
the segment beside it. The scores are those of Gneiting and Raftery, "Strictly Proper Scoring Rules" (2007): CRPS in the
unit of the number, the log score in nats; of both, less is better.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenth.errors import WrongInput

GRID = 400
"""Points of the integral over probabilities that gives the CRPS."""
MOST = 32
"""Quantiles of one forecast."""


@dataclass(frozen=True)
class Told:
    """Two or more quantiles. Both columns rise strictly; levels lie between 0 and 1."""

    levels: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def read(cls, given: Any) -> Told:
        """From ``{"0.05": 1.2, ...}``. Raises WrongInput."""
        try:
            rows = sorted((float(level), float(value)) for level, value in dict(given).items())
        except (TypeError, ValueError):
            rows = []
        rising = all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(rows))
        inside = all(0 < level < 1 and math.isfinite(value) for level, value in rows)
        if not (2 <= len(rows) <= MOST and rising and inside):
            do = "give two or more quantiles that rise with their levels, such as 0.05, 0.5 and 0.95"
            raise WrongInput("this forecast is refused", repr(given)[:200], do)
        levels, values = zip(*rows, strict=True)
        return cls(levels, values)

    def record(self) -> Mapping[str, float]:
        return {f"{level:g}": value for level, value in zip(self.levels, self.values, strict=True)}

    def chance_below(self, value: float) -> float:
        """The probability of at most ``value``."""
        levels, values = self.levels, self.values
        if value < values[0]:
            return levels[0] * math.exp((value - values[0]) / self._tail(0))
        if value >= values[-1]:
            return 1 - (1 - levels[-1]) * math.exp((values[-1] - value) / self._tail(-1))
        at = bisect_right(values, value) - 1
        share = (value - values[at]) / (values[at + 1] - values[at])
        return levels[at] + share * (levels[at + 1] - levels[at])

    def quantile(self, level: float) -> float:
        """The value that lies above with probability 1 - ``level``."""
        levels, values = self.levels, self.values
        if level < levels[0]:
            return values[0] + self._tail(0) * math.log(level / levels[0])
        if level >= levels[-1]:
            return values[-1] - self._tail(-1) * math.log((1 - level) / (1 - levels[-1]))
        at = bisect_right(levels, level) - 1
        return values[at] + (level - levels[at]) / self._density(at)

    def _density(self, segment: int) -> float:
        """Probability per unit between two quantiles."""
        levels, values = self.levels, self.values
        return (levels[segment + 1] - levels[segment]) / (values[segment + 1] - values[segment])

    def _tail(self, end: int) -> float:
        """The unit in which the tail below the first (0) or above the last (-1) quantile falls."""
        return (1 - self.levels[-1]) / self._density(len(self.levels) - 2) if end else self.levels[0] / self._density(0)

    def p_value(self, value: float) -> float:
        """How far out it lies: the probability of something at least as far out, on either side."""
        below = self.chance_below(value)
        return 2 * min(below, 1 - below)

    def crps(self, value: float) -> float:
        """Continuous ranked probability score: the mean quantile loss over all levels, twice."""
        total = 0.0
        for number in range(GRID):
            level = (number + 0.5) / GRID
            quantile = self.quantile(level)
            total += (level if value >= quantile else level - 1) * (value - quantile)
        return 2 * total / GRID

    def log_score(self, value: float) -> float:
        """Minus the log of the probability density at ``value``."""
        levels, values = self.levels, self.values
        if value < values[0]:
            return (values[0] - value) / self._tail(0) - math.log(levels[0] / self._tail(0))
        if value >= values[-1]:
            return (value - values[-1]) / self._tail(-1) - math.log((1 - levels[-1]) / self._tail(-1))
        return -math.log(self._density(bisect_right(values, value) - 1))


def brier(chance: float, happened: bool) -> float:
    """Squared error of a probability: 0 at best, 1 at worst, 0.25 for one half."""
    return (chance - happened) ** 2
