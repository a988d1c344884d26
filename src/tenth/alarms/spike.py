"""Is one value far above the values just before it? The rule of thumb by which trainers skip steps."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from .alarm import NOMINAL, Alarm

WINDOW, SIGMA = 128, 6.0  # as OLMo-core's SkipStepOptimizer has them


class Spike:
    """A value above mean + `sigma` deviations of the last `window`, or one that is no number. It states no false-alarm
    rate: with heavy tails it has several in ten thousand steps, and it is blind to what rises slowly."""

    kind = NOMINAL

    def __init__(self, window: int = WINDOW, sigma: float = SIGMA) -> None:
        self._sigma, self._step = sigma, -1
        self._last: deque[float] = deque(maxlen=window)

    def see(self, value: float) -> Alarm | None:
        self._step += 1
        if not math.isfinite(value):
            return Alarm("spike", self.kind, self._step, math.inf, self._sigma, "a value that is no number")
        alarm = self._judge(value) if len(self._last) == self._last.maxlen else None
        self._last.append(value)
        return alarm

    def _judge(self, value: float) -> Alarm | None:
        known = np.fromiter(self._last, float)
        deviation = float(known.std())
        score = (value - float(known.mean())) / deviation if deviation > 0 else 0.0
        says = f"{score:.1f} deviations above the last {len(known)} values"
        return Alarm("spike", self.kind, self._step, score, self._sigma, says) if score > self._sigma else None
