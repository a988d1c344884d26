"""Puzzles: small Python programs to propose, to deduce the output of, and to induce from examples."""

from puzzles.env import Puzzles
from puzzles.selfplay import SelfPlay

__all__ = ["Puzzles", "SelfPlay"]
