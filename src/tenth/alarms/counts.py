"""How often was it so, and may that be chance? E-processes for judgements of random samples, and for coins of our own.

An e-process starts at 1 and, while the null holds, grows above 1 / level with probability at most `level` over all of
the future (Ville's inequality): it may be looked at after every judgement. What the watched does cannot change that, as
long as it cannot foresee which samples are audited, or how our coin falls.
"""

from __future__ import annotations

import math

import numpy as np

from .alarm import GUARANTEED, Alarm

GRID = 200  # alternatives in a mixture


class Rate:
    """Is the share of bad samples at most `at_most`? Each sample is drawn at random, by us, and judged.

    A mixture of likelihood ratios against `at_most`, over rates above it with Beta(1/2, 1/2) weights. Each of them is a
    supermartingale for every rate that is allowed, even one that changes from sample to sample.
    """

    kind = GUARANTEED

    def __init__(self, at_most: float, level: float = 0.01) -> None:
        """`level`: the chance of ever raising a false alarm."""
        self._null, self._level, self._step = at_most, level, -1
        angles = np.linspace(math.asin(math.sqrt(at_most)), math.pi / 2, GRID + 2)[1:-1]  # Beta(1/2, 1/2) is even there
        self._rates = np.sin(angles) ** 2
        self._log = np.zeros(GRID)
        self._seen, self._bad, self._raised = 0, 0, False

    @property
    def evidence(self) -> float:
        """The e-value."""
        most = float(self._log.max())
        return math.exp(min(700.0, most)) * float(np.exp(self._log - most).mean())

    def see(self, bad: bool) -> Alarm | None:
        """One audited sample. Alarms once."""
        self._step += 1
        self._seen, self._bad = self._seen + 1, self._bad + bad
        if bad:
            self._log += np.log(self._rates / self._null)
        else:
            self._log += np.log1p(-self._rates) - math.log1p(-self._null)
        if self._raised or self.evidence < 1 / self._level:
            return None
        self._raised = True
        says = f"{self._bad} of {self._seen} audited samples were bad, where at most {self._null:g} of them may be"
        return Alarm("rate", self.kind, self._step, self.evidence, 1 / self._level, says)

    def bound(self) -> float:
        """The rate is below this; wrong at any time with probability at most `level`. 1 before the first sample."""
        low, high = self._bad / max(1, self._seen), 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self._against(middle) < -math.log(self._level) else (low, middle)
        return high

    def _against(self, rate: float) -> float:
        """Log e-value against exactly this rate: Beta(1/2, 1/2) mixture over all rates."""
        good = self._seen - self._bad
        if rate >= 1.0:
            return math.inf if good else 0.0
        null = self._bad * math.log(rate) if self._bad else 0.0
        return _log_mixture(self._bad, good) - null - good * math.log1p(-rate)


class Coin:
    """Does something out there know our coin? Each step: what happened before it was thrown, and how it fell.

    `told` is the side that a leak would have foretold; nothing that does not know the coin can agree with it in other
    than half of the steps (Beta(1/2, 1/2) mixture against 1/2).
    """

    kind = GUARANTEED

    def __init__(self, level: float = 0.01) -> None:
        """`level`: the chance of ever raising a false alarm. For many coins, divide it among them."""
        self._level, self._step, self._raised = level, -1, False
        self._agree = self._differ = 0

    @property
    def evidence(self) -> float:
        """The e-value."""
        return math.exp(min(700.0, self._log()))

    def _log(self) -> float:
        return _log_mixture(self._agree, self._differ) + (self._agree + self._differ) * math.log(2)

    def see(self, coin: bool, told: bool | None) -> Alarm | None:
        """`told` is None where nothing happened: no bet. Alarms once."""
        self._step += 1
        if told is None:
            return None
        self._agree, self._differ = self._agree + (coin == told), self._differ + (coin != told)
        if self._raised or self._log() < -math.log(self._level):
            return None
        self._raised = True
        says = f"the coin was foretold in {self._agree} of {self._agree + self._differ} throws"
        return Alarm("coin", self.kind, self._step, self.evidence, 1 / self._level, says)


def _log_mixture(yes: int, no: int) -> float:
    """Log of B(yes + 1/2, no + 1/2) / B(1/2, 1/2)."""
    return math.lgamma(yes + 0.5) + math.lgamma(no + 0.5) - math.lgamma(yes + no + 1) - math.log(math.pi)
