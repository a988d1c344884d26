"""What a model would write if the change since the last checkpoint went further: n-grams that earlier text lacks.

Both checkpoints read the same text; the next token is drawn from logits now + alpha (now - before), among tokens that
today's model thinks plausible (logit-difference amplification, Goodfire 2025). What has become a little likelier comes
up often, long before an ordinary sample shows it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tenth.trainer.generate import Sampler
from tenth.trainer.inference import Inference, Reading

LENGTH = 3  # tokens of an n-gram
PLAUSIBLE = 1e-3  # against the likeliest token, for today's model


@dataclass(frozen=True)
class Written:
    """One text: its prompt, what was written, and how many nats likelier each written token is now than before."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    gains: tuple[float, ...]


@dataclass(frozen=True)
class Gram:
    """An n-gram that several texts have and earlier text lacks."""

    tokens: tuple[int, ...]
    texts: int  # independent texts that have it
    gain: float  # nats, mean over those texts: of the token of it that gained most
    earlier: int  # times in text from before
    interval: int  # windows of the interval that have it
    places: tuple[tuple[int, int], ...]  # (text, offset of its first token in what was written)

    @property
    def score(self) -> float:
        """Nats of change that independent texts agree on, times what the interval had of it and earlier text had not.

        An n-gram that no window of the interval has still counts: as half a window.
        """
        return self.gain * self.texts * (self.interval + 0.5) / (1 + self.earlier)


@torch.inference_mode()
def write(
    now: Inference, before: Inference, prompts: NDArray[np.int64], tokens: int, alphas: Sequence[float], seed: int
) -> list[Written]:
    """`tokens` more after each of the prompts (n, P), which are all of one length: n texts by each alpha."""
    draw = Sampler(1.0, generator=torch.Generator().manual_seed(seed))
    rows = np.tile(prompts, (len(alphas), 1))
    alpha = torch.tensor(alphas).repeat_interleave(len(prompts))[:, None]
    readings = [Reading(model, [rows.shape[1]] * len(rows), rows.shape[1] + tokens) for model in (now, before)]
    ids = torch.from_numpy(rows)
    chosen, gains = [], []
    for _ in range(tokens):
        a, b = (reading.read(ids).float().log_softmax(-1) for reading in readings)
        logits = a + alpha * (a - b)
        logits = logits.masked_fill(a < a.amax(-1, keepdim=True) + math.log(PLAUSIBLE), -math.inf)
        ids = draw(logits)[:, None]
        chosen.append(ids)
        gains.append((a - b).gather(1, ids))
    written, risen = torch.cat(chosen, 1).tolist(), torch.cat(gains, 1).tolist()
    return [
        Written(tuple(prompt), tuple(row), tuple(gain))
        for prompt, row, gain in zip(rows.tolist(), written, risen, strict=True)
    ]


def grams(
    texts: Sequence[Written],
    interval: NDArray[np.int64],
    earlier: Sequence[NDArray[np.int64]],
    vocabulary: int,
    most: int = 50,
) -> list[Gram]:
    """N-grams of at least two texts, by score. `interval` and `earlier`: text, as (n, T) rows."""
    places: defaultdict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
    for number, text in enumerate(texts):
        for at in range(len(text.tokens) - LENGTH + 1):
            places[text.tokens[at : at + LENGTH]].setdefault(number, at)
    repeated = {gram: found for gram, found in places.items() if len(found) > 1}
    wanted = list(repeated)
    before = sum((_times(wanted, rows, vocabulary) for rows in earlier), np.zeros(len(wanted), np.int64))
    known = dict(
        zip(
            wanted,
            zip(before.tolist(), _times(wanted, interval, vocabulary, once=True).tolist(), strict=True),
            strict=True,
        )
    )
    found = []
    for gram, where in repeated.items():
        gain = [max(texts[number].gains[at : at + LENGTH]) for number, at in where.items()]
        found.append(Gram(gram, len(where), sum(gain) / len(gain), *known[gram], tuple(where.items())))
    return sorted(found, key=lambda gram: -gram.score)[:most]


def keys_of(rows: NDArray[np.int64], vocabulary: int) -> NDArray[np.uint64]:
    """One number for each n-gram of (n, T) rows: (n, T - 2). Exact for up to 2.6 million kinds of tokens."""
    powers = vocabulary ** np.arange(LENGTH, dtype=np.uint64)[::-1]
    keys: NDArray[np.uint64] = np.lib.stride_tricks.sliding_window_view(rows, LENGTH, axis=1).astype(np.uint64) @ powers
    return keys


def _times(
    wanted: Sequence[tuple[int, ...]], rows: NDArray[np.int64], vocabulary: int, *, once: bool = False
) -> NDArray[np.int64]:
    """How often each n-gram stands in the rows; `once`: in how many of them."""
    if rows.shape[1] < LENGTH or not wanted:
        return np.zeros(len(wanted), np.int64)
    asked = keys_of(np.array(wanted, dtype=np.int64), vocabulary)[:, 0]
    keys = keys_of(rows, vocabulary)
    if once:
        keys = np.sort(keys, axis=1)
        first = np.concatenate([np.ones((len(keys), 1), np.bool_), keys[:, 1:] != keys[:, :-1]], axis=1)
        keys = keys[first]
    keys = np.sort(keys, axis=None)
    times: NDArray[np.int64] = np.searchsorted(keys, asked, "right") - np.searchsorted(keys, asked, "left")
    return times
