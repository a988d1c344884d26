"""Which proposals of self-play are worth a round? What people said of some, spread by a logistic regression.

Needs numpy and nothing else of tenth, so that it runs inside a quarantine. It reads the sealed batch of grades, since a
trainer never sees the table itself. Does not protect against: proposals that are bad in a way that no feature shows.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FEWEST = 8
"""Graded proposals, at least: with fewer, every proposal gets the share of those that people liked."""
STRENGTH = 1.0
"""Of the pull towards no effect (half its square is added to the loss), on features of mean 0 and deviation 1."""

Row = Mapping[str, str | int]
Array = NDArray[np.float64]


def grade(proposals: Sequence[str], batch: Path) -> list[float]:
    """For each proposal how likely people call it useful, and not unsafe: 0 to 1. ``batch``: the view ``grades``."""
    rows = [json.loads(line) for line in batch.read_bytes().splitlines()]
    return Guide(rows).grade(proposals)


class Guide:
    """Two regressions: is it useful, and is it unsafe?"""

    def __init__(self, rows: Sequence[Row]) -> None:
        """``rows`` have ``proposal`` and the number of people who called it ``useful``, ``junk`` and ``unsafe``."""
        texts = [str(row["proposal"]) for row in rows]
        self._called_unsafe = {str(row["proposal"]) for row in rows if _share(row, "unsafe") >= 0.5}
        self._few = len(rows) < FEWEST
        self._features = Scaled([features(text) for text in texts])
        self._useful = _fit(self._features.of(texts), np.array([_share(row, "useful") for row in rows]))
        self._unsafe = _fit(self._features.of(texts), np.array([_share(row, "unsafe") for row in rows]))

    def grade(self, proposals: Sequence[str]) -> list[float]:
        """The chance that people call it useful, times the chance that nobody calls it unsafe.

        0 for what half of its graders called unsafe, and, with enough grades, for what is likelier unsafe than not.
        """
        inputs = self._features.of(proposals)
        unsafe = _chance(inputs, self._unsafe)
        worth = _chance(inputs, self._useful) * (1 - unsafe)
        if not self._few:
            worth[unsafe >= 0.5] = 0.0
        return [0.0 if text in self._called_unsafe else float(one) for text, one in zip(proposals, worth, strict=True)]


def left_out(rows: Sequence[Row], parts: int = 5) -> tuple[int, int]:
    """``(right, of)``: how often a Guide that was not told a grade agrees with it, useful or not."""
    right = 0
    for part in range(parts):
        guide = Guide([row for place, row in enumerate(rows) if place % parts != part])
        held_out = [row for place, row in enumerate(rows) if place % parts == part]
        scores = guide.grade([str(row["proposal"]) for row in held_out])
        right += sum(
            (score >= 0.5) == (_share(row, "useful") >= 0.5) for score, row in zip(scores, held_out, strict=True)
        )
    return right, len(rows)


def features(text: str) -> list[float]:
    """What can be seen of a proposal without running it."""
    words = re.findall(r"\w+", text)
    packed = len(zlib.compress(text.encode())) / max(1, len(text.encode()))
    return [
        math.log1p(len(text)),
        math.log1p(text.count("\n")),
        math.log1p(len(words)),
        len(set(words)) / max(1, len(words)),
        packed,
        math.log1p(sum(map(text.count, "([{"))),
        sum(map(str.isdigit, text)) / max(1, len(text)),
        math.log1p(len(re.findall(r"__|\bimport\b|\bopen\b|\bexec\b|\beval\b|\bos\b|\bsys\b", text))),
    ]


class Scaled:
    """Features of mean 0 and deviation 1 over what was graded, and a constant."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        found = np.array(rows or [features("")], dtype=np.float64)
        self._mean, self._deviation = found.mean(axis=0), found.std(axis=0)
        self._deviation[self._deviation == 0] = 1.0

    def of(self, texts: Sequence[str]) -> Array:
        """(texts, features + 1)"""
        found = (
            np.array([features(text) for text in texts]).reshape(len(texts), len(self._mean)) - self._mean
        ) / self._deviation
        return np.hstack([found, np.ones((len(texts), 1))])


def _share(row: Row, name: str) -> float:
    return int(row[name]) / (int(row["useful"]) + int(row["junk"]) + int(row["unsafe"]))


def _fit(inputs: Array, wanted: Array) -> Array:
    """Weights of a logistic regression with a quadratic penalty, by Newton's method (it is convex: ten steps do)."""
    weights = np.zeros(inputs.shape[1])
    if len(wanted) < FEWEST or wanted.min() == wanted.max():
        share = (float(wanted.sum()) + 0.5) / (len(wanted) + 1)
        weights[-1] = math.log(share / (1 - share))
        return weights
    penalty = STRENGTH * np.eye(len(weights))
    penalty[-1, -1] = 1e-6  # the constant is free
    for _ in range(10):
        chance = _chance(inputs, weights)
        slope = inputs.T @ (chance - wanted) + penalty @ weights
        curve = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + penalty
        weights = weights - np.linalg.solve(curve, slope)
    return weights


def _chance(inputs: Array, weights: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(inputs @ weights, -30, 30)))
    return found
