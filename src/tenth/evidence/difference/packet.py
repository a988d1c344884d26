"""What changed between two checkpoints, beside what changed in the interval before them, and the text that drove it.

Tokens gained and lost, contexts where the models part, the residual stream's difference by layer, and n-grams that the
change writes when it is amplified. Each stands beside a placebo: the same for the interval before, as it was found and
kept at the gate before, which everyone has looked at already. A surprise is flagged when it is greater than the
placebo's greatest by a factor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenth.evidence.interval import Interval
from tenth.evidence.sealed import EvidenceError
from tenth.trainer.inference import Inference
from tenth.trainer.model import Transformer

from .amplified import Gram, Written, grams, write
from .attribution import Attributor, Driver
from .mining import Change, compare
from .shared import Shared, shared
from .taught import Taught, news, strength, taught

CONTEXTS, CONTEXT = 64, 64  # windows that are compared, and tokens of each: half held out, half of the interval
TEXTS, PROMPT, TOKENS = 64, 8, 32  # amplified texts by each alpha, and tokens of each
ALPHAS = (1.0, 3.0)
SURPRISES = 5  # n-grams in the packet's first table
EXPLAINED = 3  # of them, whose documents are looked for
PASSAGES, FEW = 96, 12  # of the interval, that are compared for each of them; few where nothing is flagged
LAYER_TOKENS = 5  # by which a layer's difference is shown
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
class Kept:
    """Of a difference, what stands beside the next one."""

    kl: float
    gained: Mapping[int, float]  # share of positions by token, where it is not nought
    lost: Mapping[int, float]
    layers: Sequence[Sequence[int]]  # the first tokens of each layer's difference
    grams: Sequence[Gram]
    taught: Sequence[Taught]
    shared: float  # the greatest score

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Kept:
        gained, lost = ({int(token): share for token, share in kept[name].items()} for name in ("gained", "lost"))
        found = [Gram(**{**one, "tokens": tuple(one["tokens"])}) for one in kept["grams"]]
        lessons = [Taught(**{**one, "tokens": tuple(one["tokens"])}) for one in kept["taught"]]
        return cls(kept["kl"], gained, lost, kept["layers"], found, lessons, kept["shared"])


@dataclass(frozen=True)
class Packet:
    """Everything that was found. The placebo is None at a gate that has none."""

    contexts: NDArray[np.int64]  # (n, T + 1)
    change: Change
    grams: list[Gram]
    texts: list[Written]
    taught: list[Taught]
    shared: list[Shared]
    placebo: Kept | None

    @property
    def ratio(self) -> float | None:
        """The greatest surprises of the amplified texts against the placebo's. None without a placebo."""
        return None if self.placebo is None else level(self.grams) / level(self.placebo.grams)

    @property
    def taught_ratio(self) -> float | None:
        """The same for what is new in the interval's text."""
        if self.placebo is None:
            return None
        return strength(self.taught, SURPRISES) / strength(self.placebo.taught, SURPRISES)

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

    @property
    def kept(self) -> Kept:
        gained, lost = (
            {int(token): float(shares[token]) for token in shares.nonzero()[0]}
            for shares in (self.change.gained, self.change.lost)
        )
        return Kept(
            float(self.change.kl.mean()), gained, lost, first_tokens(self.change),
            [replace(gram, places=()) for gram in self.grams[:SURPRISES]], self.taught[:SURPRISES],
            self.shared[0].score if self.shared else 0.0,
        )  # fmt: skip


def first_tokens(change: Change) -> list[list[int]]:
    """Of each layer's mean difference, read through the unembedding."""
    found: list[list[int]] = np.argsort(-change.lens, axis=-1, kind="stable")[:, :LAYER_TOKENS].tolist()
    return found


def level(found: Sequence[Gram]) -> float:
    """Geometric mean of the first scores: what was taught comes up in several n-grams, a loop of one token in one."""
    return math.exp(sum(math.log(max(1.0, gram.score)) for gram in found[:SURPRISES]) / SURPRISES)


def look(
    now: Transformer, before: Transformer, interval: Interval, held_out: NDArray[np.int64], placebo: Kept | None = None
) -> Packet:
    """`interval`: what was read between the two. `held_out`: (n, T + 1). `placebo`: of the interval before."""
    contexts = _contexts(interval, held_out)
    change = compare(now, before, contexts)
    if not np.isfinite(change.kl).all():
        raise EvidenceError(
            "The diff was not made.", "the models' numbers are not finite",
            "look at the curve of the loss; lower the learning rates, and go back to an earlier checkpoint",
        )  # fmt: skip
    prompts = contexts[np.arange(TEXTS) % len(contexts), :PROMPT]
    texts = write(Inference(now), Inference(before), prompts, TOKENS, ALPHAS, SEED)
    known = [interval.earlier, held_out]
    found = grams(texts, interval.windows, known, now.shape.vocabulary)
    new = news(interval.windows, known, now.shape.vocabulary)
    lessons = taught(now, before, interval.windows, new)
    return Packet(contexts, change, found, texts, lessons, shared(new.keys, new.new), placebo)


def _contexts(interval: Interval, held_out: NDArray[np.int64]) -> NDArray[np.int64]:
    width = min(CONTEXT, interval.windows.shape[1] - 1) + 1
    drawn = CONTEXTS - min(len(held_out), CONTEXTS // 2)
    chosen = np.random.default_rng(SEED).permutation(len(interval.windows))[:drawn]
    parts = [interval.windows[np.sort(chosen), :width]]
    if len(held_out):
        parts.append(held_out[: CONTEXTS // 2, :width])
    mixed: NDArray[np.int64] = np.random.default_rng(SEED).permutation(np.concatenate(parts))
    return mixed


def explain(before: Transformer, interval: Interval, packet: Packet) -> list[Surprise]:
    """The passages of the interval behind each of the first surprises."""
    attributor = Attributor(before, interval)
    surprises = []
    for gram in packet.grams[:EXPLAINED]:
        rows, marked = question(packet.texts, gram)
        drivers, passages = attributor.drivers(rows, marked, PASSAGES if packet.flagged else FEW)
        surprises.append(Surprise(gram, tuple(drivers), len(drivers), passages))
    return surprises


def question(texts: Sequence[Written], gram: Gram, most: int = 16) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Texts that have the n-gram, and where in them it stands."""
    places = gram.places[:most]
    rows = np.array([texts[number].prompt + texts[number].tokens for number, _ in places])
    starts = np.array([len(texts[number].prompt) + at for number, at in places])[:, None]
    columns = np.arange(rows.shape[1])[None]
    return rows, (columns >= starts) & (columns < starts + len(gram.tokens))
