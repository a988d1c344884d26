"""The phase `kto`: thumbs up and down on single answers. All it shares with `dpo` stands there."""

from __future__ import annotations

from tenth.client import Run

from .dpo import open_thumbs
from .loop import train_lease


def kto(run: Run, began: float) -> bool:
    """Train one tenth, see `train_lease`."""
    return train_lease(run, began, "kto", open_thumbs, alone=True)
