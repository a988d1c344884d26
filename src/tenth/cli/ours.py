"""Which phases run the trainer that comes with tenth? Of these more can be said before they begin."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePath

from tenth.charter import Phase

COMMANDS = ("tenth-trainer", "tenth.trainer")
"""Words of a phase's command before the verb."""


def verb(phase: Phase) -> str | None:
    """``pretrain``, ``sft`` and so on; None where another trainer runs."""
    return next((after for word, after in pairwise(phase.command) if PurePath(word).name in COMMANDS), None)
