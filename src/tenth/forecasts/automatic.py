"""What will the next gate show, judging by the gates before? An automatic forecast, and the naive ones beside it.

A loss falls ever more slowly, nearly by a power law of the step, and what it was last counts most. So the automatic
forecaster draws lines over powers of the step, weighted towards the newest gates, and takes their mean. How wide it is
follows from its own errors at the gates before, and, while there are few, from the size of the last change; that of the
naive ones, too. The numbers below were chosen on runs that benchmarks/forecasts.py does not judge.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence

from tenth.forecasts.told import Told

LEVELS = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995)
POWERS, MEMORIES = (0.0, 0.25, 0.5), (0.05, 0.3, 0.5)
"""Exponents of the step, 0 for its logarithm, and the weight of each gate relative to the one after it."""
PRIOR_GATES, PRIOR_SHARE, FADING = 16.0, 0.2, 0.8
"""Before its own errors count, an error is taken to be this share of a change, as if seen at so many gates. From gate
to gate the weight of what was seen before falls by the last factor."""
REACH = (-5.0, -1.9, -0.6, 0.0, 0.6, 1.9, 5.0)
"""Where the quantiles lie, in units of the spread."""
NAIVE = ("persistence", "extrapolation")

Centre = Callable[[Sequence[float]], float]


def automatic(history: Sequence[float]) -> Told | None:
    """Of the gate after ``history``, which has the values at gates 1, 2, ... None below two of them."""
    return _spread(history, _mean_line) if len(history) > 1 else None


def naive(history: Sequence[float]) -> Mapping[str, Told]:
    """As it is, and as it changed last (in the logarithm of the step). Empty below two values."""
    if len(history) < 2:
        return {}
    return {
        "persistence": _spread(history, lambda seen: seen[-1], 1.0),
        "extrapolation": _spread(history, _last_change),
    }


def _last_change(seen: Sequence[float]) -> float:
    count = len(seen)
    return seen[-1] + (seen[-1] - seen[-2]) * math.log((count + 1) / count) / math.log(count / (count - 1))


def _mean_line(seen: Sequence[float]) -> float:
    return statistics.fmean(_line(seen, power, memory) for power, memory in itertools.product(POWERS, MEMORIES))


def _line(seen: Sequence[float], power: float, memory: float) -> float:
    """The next value on a line over -step^-power, by weighted least squares, halfway moved to end at the last value."""
    count = len(seen)
    steps = [-math.pow(number + 1, -power) if power else math.log(number + 1) for number in range(count + 1)]
    weights = [math.pow(memory, count - 1 - number) for number in range(count)]
    total = sum(weights)
    middle = sum(w * x for w, x in zip(weights, steps, strict=False)) / total
    level = sum(w * y for w, y in zip(weights, seen, strict=True)) / total
    rows = [(w, x - middle, y - level) for w, x, y in zip(weights, steps, seen, strict=False)]
    slope = sum(w * x * y for w, x, y in rows) / sum(w * x * x for w, x, _ in rows)
    fitted, moved = level + slope * (steps[-1] - middle), seen[-1] + slope * (steps[-1] - steps[-2])
    return (fitted + moved) / 2


def _spread(history: Sequence[float], centre: Centre, prior_share: float = PRIOR_SHARE) -> Told:
    """Quantiles around the centre, by its errors at the gates before."""
    middle, last = centre(history), history[-1]
    change = max(abs(middle - last), 0.8 * abs(last - history[-2])) or abs(last) * 1e-3 or 1e-9
    square, weight = (prior_share * change) ** 2, PRIOR_GATES
    for number in range(2, len(history)):
        error = history[number] - centre(history[:number])
        square, weight = (FADING * weight * square + error**2) / (FADING * weight + 1), FADING * weight + 1
    return Told(LEVELS, tuple(middle + reach * math.sqrt(square) for reach in REACH))
