"""The phase `sft`: next-token prediction on answers, several rows packed into each sequence.

Rows are packed in the order of the epoch, as many as fit; a token attends to its own row only, so what a row shares its
sequence with changes nothing but the last bits. Prompts carry no loss.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenth.client import Run

from . import chat, row_order, row_store, tokenizer
from .backward import Batch, NextToken, Objective
from .checkpoint import Checkpoint
from .errors import RecipeError
from .interchange import Source
from .loop import train_lease
from .loss import IGNORED
from .model import Transformer
from .prepare import moved
from .recipe import Recipe
from .row_order import Order
from .row_store import Store
from .rows import Marked, Reader, answered
from .tokenizer import Text


def sft(run: Run, began: float) -> bool:
    """Train one tenth, see `train_lease`."""
    return train_lease(run, began, "sft", open_answers)


def open_answers(run: Run, recipe: Recipe, seed: int, before: Checkpoint | None, source: Source | None) -> Answers:
    return Answers(open_rows("sft", run, recipe, seed, before, source), recipe.model.context, recipe.train.batch)


@dataclass(frozen=True)
class Rows:
    """The rows of a phase as a lease finds them. Phases of rows share it."""

    kind: str
    store: Store
    order: Order  # what is left to read of the epoch, from step `start` on
    start: int
    held_out: Order  # what is never read
    text: Text
    tokenizer: Path
    template: str | None  # of conversations

    def asked(self, step: int) -> Sequence[int]:
        """The prompt of a row that is held out, if any is; else of one that this lease may read."""
        rows = self.held_out if len(self.held_out) else self.order
        if not len(rows):
            return ()
        row = int(rows[random.Random(step).randrange(len(rows))])
        return answered(self.store.sequences(row)[0])[0][0]

    def state(self) -> dict[str, Any]:
        """For state.json."""
        files = [[one.file.sha256, one.digest] for one in self.store.cached]
        return {"rows": {"kind": self.kind, "files": files, "report": self.store.report()}}

    def keep(self, folder: Path, read: int) -> None:
        """For a checkpoint made after `read` rows of the order."""
        shutil.copyfile(self.tokenizer, folder / "tokenizer.json")
        row_order.save(folder, self.store, self.order[read:])
        if self.template is not None:
            (folder / chat.FILE).write_text(self.template, "utf-8")


def open_rows(kind: str, run: Run, recipe: Recipe, seed: int, before: Checkpoint | None, source: Source | None) -> Rows:
    """Every row that this lease may learn from. Raises TrainerError."""
    model = before.folder if before else source.folder if source else None
    if model is None:
        raise RecipeError(
            "The phase was not begun.", f"no model that {kind} could go on from",
            "put a phase of pretraining before it, or name a model with init in [model]",
        )  # fmt: skip
    text = tokenizer.from_file(model / "tokenizer.json")
    if recipe.data.tokenizer not in ("bpe", "bytes"):
        named = tokenizer.from_file(run.lease.root / recipe.data.tokenizer)
        if named.to_json() != text.to_json():
            raise RecipeError(
                "The recipe was refused.", f"data.tokenizer = {recipe.data.tokenizer!r}, and the model has another",
                "leave the key out: the model's own is used",
            )  # fmt: skip
    lease, template = run.lease, chat.chat_template(model)
    reader = Reader(kind, text, recipe.model.context, template)
    found = row_store.files(lease.data, lease.root, lease.recipe, recipe.feedback.batches)
    store = row_store.open_store(run.work, found, reader, recipe)
    if template is None and store.report()["conversations"]:
        template = chat.PLAIN
    exclude = recipe.data.exclude
    if before is None or not run.position:
        order = row_order.fresh(store, seed, lease.epoch, exclude)
    else:
        known = _known(before, store)
        order = row_order.left(store, before.folder, known, seed, lease.epoch, run.position, exclude)
    held_out = store.side(held_out=True, exclude=exclude)
    return Rows(kind, store, order, run.position, held_out, text, model / "tokenizer.json", template)


def _known(before: Checkpoint, store: Store) -> list[str]:
    """Digests of the files that a checkpoint's order numbers. Raises CorpusError where their tokens are others now."""
    files = before.state["rows"]["files"]
    tokens = {one.file.sha256: one.digest for one in store.cached}
    for sha256, digest in files:
        if tokens.get(sha256, digest) != digest:
            raise moved(sha256)
    return [sha256 for sha256, _ in files]


class Answers:
    """Packed rows, as the loop sees them."""

    one_shape = False

    def __init__(self, rows: Rows, context: int, batch: int) -> None:
        self._rows, self._context, self._batch = rows, context, batch
        self._packs = packs(rows.store.lengths()[rows.order] - 1, context)
        self.steps = rows.start - (1 - len(self._packs)) // batch
        self.tokenizer, self.separator, self.vocabulary = rows.tokenizer, rows.text.separator, rows.text.vocabulary

    def batches(self, start: int) -> Iterator[Batch]:
        """Inputs, targets and where documents begin, all (B, T), of the steps from `start` on."""
        for step in range(start, self.steps):
            yield self.batch(step)

    def batch(self, step: int) -> Batch:
        first, last = ((step + n - self._rows.start) * self._batch for n in (0, 1))
        borders = self._packs[first : last + 1]
        rows = self._rows.order[borders[0] : borders[-1]].tolist()
        sequences = [self._rows.store.sequences(row)[0] for row in rows]
        return packed(sequences, (borders - borders[0]).tolist(), self.separator, self._context)

    def objective(self, model: Transformer) -> Objective:
        return NextToken(model)

    def begin(self, run: Run, model: Transformer) -> None:
        """Nothing is needed before the first step."""

    def metrics(self, loss: float) -> dict[str, float]:  # noqa: ARG002
        return {}

    def asked(self, step: int) -> Sequence[int]:
        return self._rows.asked(step)

    def state(self) -> dict[str, Any]:
        return self._rows.state()

    def keep(self, folder: Path, step: int) -> None:
        read = min((step - self._rows.start) * self._batch, len(self._packs) - 1)
        self._rows.keep(folder, int(self._packs[read]))


def packed(rows: Sequence[Marked], borders: Sequence[int], filler: int, room: int) -> Batch:
    """Inputs, targets and where documents begin, (B, `room`): one sequence of rows between two borders each."""
    shape = (len(borders) - 1, room)
    inputs, targets = np.full(shape, filler), np.full(shape, IGNORED)
    starts = np.zeros(shape, dtype=np.int64)
    for pack, (first, last) in enumerate(pairwise(borders)):
        at = 0
        for marked in rows[first:last]:
            ids, end = marked.astype(np.int64) >> 1, at + len(marked) - 1
            inputs[pack, at:end] = ids[:-1]
            targets[pack, at:end] = np.where(marked[1:] & 1, ids[1:], IGNORED)
            starts[pack, at:end] = at
            at = end
        starts[pack, at:] = at
    return torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(starts)


def packs(lengths: NDArray[np.int64], room: int) -> NDArray[np.int64]:
    """Borders of runs of rows, each as long as fits into `room`: pack i holds rows [borders[i], borders[i + 1])."""
    ends = np.cumsum(lengths)
    borders = [0]
    while borders[-1] < len(lengths):
        used = int(ends[borders[-1] - 1]) if borders[-1] else 0
        borders.append(int(np.searchsorted(ends, used + room, side="right")))
    return np.array(borders, dtype=np.int64)
