"""Have values been too high for too long? Conformal p-values, bet on by a Shiryaev-Roberts e-detector.

Each value less what its predecessor foretells (a rolling AR(1)) is ranked among the last `window`. Exchangeable ranks
give uniform p-values; bets on small ones multiply, and a new bet starts at every step (Shin, Ramdas and Rinaldo,
arXiv:2203.03532). If the ranks were exchangeable, the mean time to a false alarm would be at least `run_length`.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from .alarm import NOMINAL, Alarm

WINDOW = 256
POWERS = (0.2, 0.4, 0.6, 0.8)  # a bet k p^(k-1) grows with small p; smaller k bets on smaller p


class Drift:
    """Values above what came before, in a burst or for long. After an alarm it begins again with an empty stake."""

    kind = NOMINAL

    def __init__(self, run_length: float = 10_000, window: int = WINDOW, seed: int = 0) -> None:
        """`run_length`: steps between false alarms, if whitened steps are exchangeable."""
        self._threshold, self._step = run_length, -1
        self._values: deque[float] = deque(maxlen=window + 1)
        self._stakes = np.zeros(len(POWERS))
        self._random = np.random.default_rng(seed)

    def see(self, value: float) -> Alarm | None:
        """Values that are no numbers are passed over: Spike speaks of them."""
        self._step += 1
        if not math.isfinite(value):
            return None
        self._values.append(value)
        if len(self._values) < (self._values.maxlen or 0):
            return None
        p = self._p_value(np.fromiter(self._values, float))
        self._stakes = (self._stakes + 1) * np.array([k * p ** (k - 1) for k in POWERS])
        evidence = float(self._stakes.mean())
        if evidence < self._threshold:
            return None
        self._stakes[:] = 0
        says = f"values have been too high for chance: evidence {evidence:.3g} where {self._threshold:g} is enough"
        return Alarm("drift", self.kind, self._step, evidence, self._threshold, says)

    def _p_value(self, values: NDArray[np.float64]) -> float:
        """Rank of the last whitened value among all, ties broken at random; never 0."""
        whitened = _whitened(values)
        last = whitened[-1]
        above, equal = int((whitened > last).sum()), int((whitened == last).sum())
        return (above + (1 - float(self._random.random())) * equal) / len(whitened)


def _whitened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value less the AR(1) forecast from its predecessor, fitted on all but the last."""
    before, after = values[:-1], values[1:]
    x, y = before[:-1] - before[:-1].mean(), after[:-1] - after[:-1].mean()
    spread = float(x @ x)
    slope = min(0.99, max(0.0, float(x @ y) / spread)) if spread > 0 else 0.0
    residuals: NDArray[np.float64] = after - slope * before
    return residuals
