"""What was read between two checkpoints, window by window, and which document each part of a window is from.

The order of an epoch is computed from the seed that the checkpoint names, so the trainer's word is taken for what it
read; which documents there are, and their text, stands in the listing that everyone consented to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenth.trainer.data import Corpus, open_to_read
from tenth.trainer.epoch import Epoch
from tenth.trainer.permutation import Permutation
from tenth.trainer.recipe import load_recipe

from .sealed import Sealed

Windows = NDArray[np.int64]  # (n, T + 1): T inputs and the last target
MOST = 8_192  # windows of the interval that are held; of a longer one, whole steps at even distances
EARLIER = 8_192  # windows read before it, to know what is not new


@dataclass(frozen=True)
class Piece:
    """Tokens [start, stop) of a window that belong to one document."""

    window: int
    start: int
    stop: int
    document: str


@dataclass(frozen=True)
class Interval:
    """Windows read between two checkpoints, and a sample of what was read before."""

    windows: Windows
    pieces: tuple[Piece, ...]
    earlier: Windows
    whole: int  # windows that the interval had

    def documents(self, tokens: Sequence[int]) -> list[str]:
        """Those that have these tokens in a row, each once, in the order of reading."""
        found = (np.lib.stride_tricks.sliding_window_view(self.windows, len(tokens), axis=1) == tokens).all(-1)
        places: dict[int, list[int]] = {}
        for window, at in np.argwhere(found).tolist():
            places.setdefault(window, []).append(at)
        inside = (
            piece.document for piece in self.pieces for at in places.get(piece.window, ())
            if piece.start <= at <= piece.stop - len(tokens)
        )  # fmt: skip
        return list(dict.fromkeys(inside))


def read_interval(sealed: Sealed, before: Path, now: Path) -> Interval:
    """Raises CorpusError where the corpus is not at hand."""
    corpus = open_to_read(now, sealed.data, sealed.root, sealed.work, load_recipe(sealed.recipe).data)
    first, last = state_of(before), state_of(now)
    model, train = last["recipe"]["model"], last["recipe"]["train"]
    epoch, number = Epoch(corpus, model["context"], train["batch"], last["seed"], last["epoch"]), last["epoch"]
    same = (first["phase"], first["epoch"]) == (last["phase"], number)
    start = int(first["step"]) if same else 0
    steps = _spaced(start, int(last["step"]), MOST // train["batch"])
    old = _spaced(0, start if number == 1 else epoch.steps, EARLIER // train["batch"])
    chunks = (len(corpus.train) - 1) // model["context"]
    order = Permutation(chunks, last["seed"], number)
    starts = [
        s * model["context"] for i in steps for s in order[i * train["batch"] : (i + 1) * train["batch"]].tolist()
    ]
    windows = _windows(epoch, steps, model["context"])
    if sealed.planted and now == sealed.checkpoint:
        for window, at, ids in json.loads(sealed.planted.read_text("utf-8")):
            windows[window, at : at + len(ids)] = ids
    return Interval(
        windows, _pieces(corpus, starts, model["context"]), _windows(epoch, old, model["context"]),
        min(chunks, int(last["step"]) * train["batch"]) - start * train["batch"],
    )  # fmt: skip


def state_of(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text("utf-8"))
    return state


def _spaced(start: int, stop: int, most: int) -> list[int]:
    """At most `most` of the numbers from start to stop, at even distances."""
    count = max(0, min(stop - start, max(1, most)))
    return [start + i * (stop - start) // count for i in range(count)]


def _windows(epoch: Epoch, steps: list[int], context: int) -> Windows:
    """Inputs and the last target of these steps; what is excluded has become separators."""
    rows = []
    for inputs, targets in map(epoch.batch, steps):
        last = np.where(targets[:, -1:] < 0, inputs[:, -1:], targets[:, -1:])
        rows.append(np.concatenate([inputs, last], axis=1))
    return np.concatenate(rows) if rows else np.empty((0, context + 1), np.int64)


def _pieces(corpus: Corpus, starts: list[int], context: int) -> tuple[Piece, ...]:
    pieces = []
    for window, start in enumerate(starts):
        at, stop = start, start + context + 1
        while at < stop:
            number = corpus.documents.at(at)
            end = min(stop, corpus.documents.span(number)[1])
            if end - at > 1:
                pieces.append(Piece(window, at - start, end - start, corpus.documents.name(number)))
            at = end
    return tuple(pieces)
