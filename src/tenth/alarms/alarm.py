"""What an alarm says."""

from __future__ import annotations

from dataclasses import dataclass

NOMINAL = "nominal"
"""The false-alarm rate holds for an idealised stream."""
GUARANTEED = "guaranteed"
"""The false-alarm rate holds for every stream, since the randomness is the tester's own."""


@dataclass(frozen=True)
class Alarm:
    """Raised at `step`, counted from 0, the number of values seen before."""

    rule: str
    kind: str  # NOMINAL or GUARANTEED
    step: int
    value: float  # what was compared with `threshold`
    threshold: float
    says: str
