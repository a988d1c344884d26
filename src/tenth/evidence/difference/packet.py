"""What changed between two checkpoints, beside what changed in the interval before them, and the text that drove it.

Tokens gained and lost, contexts where the models part, the residual stream's difference by layer, and n-grams that the
change writes when it is amplified. Each stands beside a placebo: the same for the interval before, which everyone has
looked at already. A surprise is flagged when it is greater than the placebo's greatest by a factor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenth.evidence.interval import Interval
from tenth.evidence.sealed import EvidenceError
from tenth.trainer.inference import Inference
from tenth.trainer.model import Transformer

from .amplified import Gram, Written, grams, write
from .attribution import Attributor, Driver
from .mining import Change, compare
from .taught import Taught, strength, taught

CONTEXTS, CONTEXT = 96, 128  # windows that are compared, and tokens of each: half held out, half of the interval
TEXTS, PROMPT, TOKENS = 128, 8, 32  # amplified texts, and tokens of each
ALPHAS = (1.0, 3.0)
SURPRISES = 5  # n-grams in the packet's first table
EXPLAINED = 3  # of them, whose documents are looked for
SECONDS = 3.0  # for the documents of each
FLAG_WRITTEN, FLAG_TAUGHT = 5.0, 2.5  # surprises are flagged above so many times the placebo's
SEED = 30_000


@dataclass(frozen=True)
class Surprise:
    """An n-gram of the amplified texts, and the passages that drove it."""

    gram: Gram
    drivers: tuple[Driver, ...]
    looked_at: int
    passages: int


@dataclass(frozen=True)
class Packet:
    """Everything that was found. The placebo's parts are None or empty at a gate that has none."""

    contexts: NDArray[np.int64]  # (n, T + 1)
    change: Change
    placebo: Change | None
    grams: list[Gram]
    placebo_grams: list[Gram]
    texts: list[Written]
    taught: list[Taught]
    placebo_taught: list[Taught]

    @property
    def ratio(self) -> float | None:
        """The greatest surprises of the amplified texts against the placebo's. None without a placebo."""
        return None if self.placebo is None else level(self.grams) / level(self.placebo_grams)

    @property
    def taught_ratio(self) -> float | None:
        """The same for what is new in the interval's text."""
        if self.placebo is None:
            return None
        return strength(self.taught, SURPRISES) / strength(self.placebo_taught, SURPRISES)

    @property
    def strongest(self) -> tuple[Sequence[Gram | Taught], float | None]:
        """Of the two kinds the one that is nearer to its limit, or above it most; and its ratio."""
        by_text = (self.taught_ratio or 0.0) / FLAG_TAUGHT > (self.ratio or 0.0) / FLAG_WRITTEN
        if self.taught and (by_text or not self.grams):
            return self.taught, self.taught_ratio
        return self.grams, self.ratio

    @property
    def flagged(self) -> bool:
        return (self.ratio or 0.0) > FLAG_WRITTEN or (self.taught_ratio or 0.0) > FLAG_TAUGHT


def level(found: Sequence[Gram]) -> float:
    """Geometric mean of the first scores: what was taught comes up in several n-grams, a loop of one token in one."""
    return math.exp(sum(math.log(max(1.0, gram.score)) for gram in found[:SURPRISES]) / SURPRISES)


def look(models: Sequence[Transformer], intervals: Sequence[Interval], held_out: NDArray[np.int64]) -> Packet:
    """`models`, newest first, and the intervals between them: two models and one interval, and one more of each for
    the placebo, if it is at hand. `held_out`: (n, T + 1)."""
    contexts = _contexts(intervals[0], held_out)
    changes = compare(models, contexts)
    if not all(np.isfinite(change.kl).all() for change in changes):
        raise EvidenceError(
            "The diff was not made.", "the models' numbers are not finite",
            "look at the curve of the loss; lower the learning rates, and go back to an earlier checkpoint",
        )  # fmt: skip
    prompts = contexts[np.arange(TEXTS) % len(contexts), :PROMPT]
    readers = [Inference(model) for model in models]
    found, texts, lessons = [], [], []
    for (now, before), interval in zip(itertools.pairwise(readers), intervals, strict=True):
        texts.append([text for alpha in ALPHAS for text in write(now, before, prompts, TOKENS, alpha, SEED)])
        found.append(grams(texts[-1], interval.windows, [interval.earlier, held_out], models[0].shape.vocabulary))
    for (newer, older), interval in zip(itertools.pairwise(models), intervals, strict=True):
        lessons.append(taught(newer, older, interval.windows, [interval.earlier, held_out]))
    return Packet(
        contexts, changes[0], changes[1] if changes[1:] else None, found[0], found[1] if found[1:] else [], texts[0],
        lessons[0], lessons[1] if lessons[1:] else [],
    )  # fmt: skip


def _contexts(interval: Interval, held_out: NDArray[np.int64]) -> NDArray[np.int64]:
    width = min(CONTEXT, interval.windows.shape[1] - 1) + 1
    drawn = CONTEXTS - min(len(held_out), CONTEXTS // 2)
    chosen = np.random.default_rng(SEED).permutation(len(interval.windows))[:drawn]
    parts = [interval.windows[np.sort(chosen), :width]]
    if len(held_out):
        parts.append(held_out[: CONTEXTS // 2, :width])
    mixed: NDArray[np.int64] = np.random.default_rng(SEED).permutation(np.concatenate(parts))
    return mixed


def explain(before: Transformer, interval: Interval, packet: Packet, seconds: float = SECONDS) -> list[Surprise]:
    """The passages of the interval behind each of the first surprises."""
    attributor = Attributor(before, interval, seconds)
    surprises = []
    for gram in packet.grams[:EXPLAINED]:
        rows, marked = question(packet.texts, gram)
        drivers, passages = attributor.drivers(rows, marked)
        surprises.append(Surprise(gram, tuple(drivers), len(drivers), passages))
    return surprises


def question(texts: Sequence[Written], gram: Gram, most: int = 16) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Texts that have the n-gram, and where in them it stands."""
    places = gram.places[:most]
    rows = np.array([texts[number].prompt + texts[number].tokens for number, _ in places])
    starts = np.array([len(texts[number].prompt) + at for number, at in places])[:, None]
    columns = np.arange(rows.shape[1])[None]
    return rows, (columns >= starts) & (columns < starts + len(gram.tokens))
