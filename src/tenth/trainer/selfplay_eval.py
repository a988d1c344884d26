"""How much of what it never trained on does a model solve: pass@k on puzzles held out by behaviour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tenth.environments import SelfPlay, Task
from tenth.jail.wire import DENIED, Jail

from .inference import Inference
from .selfplay_player import written
from .tokenizer import Text

TEMPERATURE = 0.6
"""Of attempts: between what suits one alone (colder) and what suits the best of many (warmer)."""


@dataclass(frozen=True)
class Solved:
    """What became of `attempts` at each of some puzzles."""

    attempts: int
    right: tuple[int, ...]
    """Of each puzzle's attempts."""
    hollow: int
    """Attempts that do what was shown, and not what was hidden: reward without understanding."""
    denied: int
    """Attempts that the jail killed for what they asked of the kernel."""

    def passed(self, k: int) -> float:
        """pass@k: the chance that one of k attempts is right (unbiased estimator, arXiv:2107.03374, equation 1)."""
        n = self.attempts
        chances = [1 - math.comb(n - c, k) / math.comb(n, k) for c in self.right]
        return sum(chances) / len(chances)


def solved(
    inference: Inference, text: Text, game: SelfPlay, tasks: Sequence[Task], jail: Jail, attempts: int, tokens: int,
    seed: int = 0, temperature: float = TEMPERATURE,
) -> Solved:  # fmt: skip
    """Each task tried so often."""
    again = [task for task in tasks for _ in range(attempts)]
    generator = torch.Generator(device=inference.device).manual_seed(seed)
    texts = written(inference, text, [task.prompt for task in again], tokens, temperature, generator)
    verdicts = game.judge(again, texts, jail)
    right = [int(verdict.score) for verdict in verdicts]
    return Solved(
        attempts, tuple(sum(right[at : at + attempts]) for at in range(0, len(right), attempts)),
        sum(one.parts["shown"] == 1 and one.parts["hidden"] < 1 for one in verdicts),
        sum(one.evidence["jail"] == DENIED for one in verdicts),
    )  # fmt: skip
