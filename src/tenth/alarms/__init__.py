"""Alarms over a stream of numbers, of judgements or of coins; numpy only, and no knowledge of what the stream is.

Two of them watch numbers that nobody controls: their false-alarm rates hold for steps that are exchangeable once
whitened, which telemetry is nearly and never quite. They are *nominal*. Two test counts whose randomness is ours: which
sample was audited, which way our own coin fell. Their rates hold whatever the watched does. They are *guaranteed*.
"""

from .alarm import GUARANTEED, NOMINAL, Alarm
from .counts import Coin, Rate
from .drift import Drift
from .spike import Spike

__all__ = ["GUARANTEED", "NOMINAL", "Alarm", "Coin", "Drift", "Rate", "Spike"]
