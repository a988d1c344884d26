"""Learning-rate schedule: warm-up, plateau, decay (arXiv:2405.18392), as one pure function of the step."""

from __future__ import annotations


def scale(step: int, total: int, warmup: float, decay: float, floor: float) -> float:
    """The factor on every learning rate at `step` (from 0) of `total` steps of the whole phase.

    Linear from near 0 over the first share `warmup`, 1 on the plateau, linear to `floor` over the last share `decay`.
    """
    rise = total * warmup
    fall = total * decay
    if step < rise:
        return min(1.0, (step + 1) / (rise + 1))
    if step < total - fall or fall <= 0:
        return 1.0
    left = max(0.0, (total - step) / fall)
    return floor + (1.0 - floor) * min(1.0, left)
