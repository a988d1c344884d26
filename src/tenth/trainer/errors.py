"""What can go wrong inside the built-in trainer, each in three parts.

TrainerError
├── RecipeError       the recipe cannot be followed
├── CorpusError       the documents cannot be trained on
├── CheckpointError   a checkpoint cannot be read, or belongs to another model
├── DivergenceError   the loss stopped being a number
└── RankError         one of the processes that train together is gone
"""

from __future__ import annotations


class TrainerError(Exception):
    """What was refused, what was found, what to do next."""

    def __init__(self, refused: str, found: str, do: str) -> None:
        super().__init__(f"{refused}\n  found: {found}\n  do: {do}")
        self.refused = refused
        self.found = found
        self.do = do

    def __reduce__(self) -> tuple[type[TrainerError], tuple[str, str, str]]:
        """So that it can be raised in one process and caught in another."""
        return type(self), (self.refused, self.found, self.do)


class RecipeError(TrainerError):
    """The recipe cannot be followed."""


class CorpusError(TrainerError):
    """The documents cannot be trained on."""


class CheckpointError(TrainerError):
    """A checkpoint cannot be read, or belongs to another model."""


class DivergenceError(TrainerError):
    """The loss stopped being a number."""


class RankError(TrainerError):
    """One of the processes that train together is gone."""
