"""Learning-rate schedule: warm-up, plateau, decay (arXiv:2405.18392), as one pure function of the step."""

from __future__ import annotations


def scale(
    step: int, total: int, warmup: float, decay: float, floor: float, warmup_steps: int = 0, decay_steps: int = 0
) -> float:
    """The factor on every learning rate at `step` (from 0) of `total` steps of the whole phase.

    Linear from near 0 over the first share `warmup`, 1 on the plateau, linear to `floor` over the last share `decay`.
    `warmup_steps` and `decay_steps`, where above 0, stand in place of the shares. With both, nothing before the decay
    depends on `total`: a longer run goes the same way up to the step where the shorter one's decay began.
    """
    rise = float(warmup_steps) if warmup_steps else total * warmup
    fall = min(decay_steps, max(0.0, total - rise)) if decay_steps else total * decay
    if step < rise:
        return min(1.0, (step + 1) / (rise + 1))
    if step < total - fall or fall <= 0:
        return 1.0
    left = max(0.0, (total - step) / fall)
    return floor + (1.0 - floor) * min(1.0, left)
