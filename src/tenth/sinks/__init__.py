"""Where a run's curves can go: other people's trackers, written outside the quarantine, from the run's folder alone.

Nothing here is trusted and nothing trusts it: what the trainer reported are claims, and stay claims in every tracker.
"""

from .reader import Point, Reader
from .writers import SINKS, Sink, open_sink

__all__ = ["SINKS", "Point", "Reader", "Sink", "open_sink"]
