"""The phase `pretrain`: next-token prediction on documents."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tenth.client import Run

from . import data
from .backward import Batch, NextToken, Objective
from .checkpoint import Checkpoint
from .data import Corpus
from .epoch import Epoch
from .errors import RecipeError
from .interchange import Source
from .loop import train_lease
from .model import Transformer
from .recipe import Recipe


def pretrain(run: Run, began: float) -> bool:
    """Train one tenth, see `train_lease`."""
    return train_lease(run, began, "pretrain", open_documents)


def open_documents(run: Run, recipe: Recipe, seed: int, before: Checkpoint | None, source: Source | None) -> Documents:
    """The corpus that the phase began with; it knows what of it is excluded now."""
    if recipe.feedback.batches:
        raise RecipeError(
            "The recipe was refused.", "feedback.batches in a phase of pretraining",
            "give them to a phase of sft, dpo or kto, in a recipe of its own",
        )  # fmt: skip
    lease = run.lease
    if before is None:
        given = source.text.to_json() if source else ""
        corpus = data.open_fresh(lease.data, lease.root, run.work, recipe.data, given)
    else:
        known = before.state["corpus"]
        corpus = data.open_again(
            before.folder, known["key"], known["digest"], lease.data, lease.root, run.work, recipe.data
        )
    return Documents(corpus, Epoch(corpus, recipe.model.context, recipe.train.batch, seed, lease.epoch))


class Documents:
    """A corpus and its epoch, as the loop sees them."""

    one_shape = True

    def __init__(self, corpus: Corpus, epoch: Epoch) -> None:
        self._corpus, self._epoch = corpus, epoch
        self.steps = epoch.steps
        self.tokenizer = corpus.folder / "tokenizer.json"
        self.separator, self.vocabulary = corpus.separator, corpus.vocabulary

    def batches(self, start: int) -> Iterator[Batch]:
        """Inputs and targets, (B, T), of the steps from `start` on."""
        for inputs, targets in self._epoch.batches(start):
            yield torch.from_numpy(inputs), torch.from_numpy(targets)

    def objective(self, model: Transformer) -> Objective:
        return NextToken(model)

    def begin(self, run: Run, model: Transformer) -> None:
        """Nothing is needed before the first step."""

    def metrics(self, loss: float) -> dict[str, float]:
        return {"bits_per_byte": loss / math.log(2) / self._corpus.bytes_per_token}

    def asked(self, step: int) -> Sequence[int]:  # noqa: ARG002
        return ()

    def state(self) -> dict[str, Any]:
        corpus = self._corpus
        return {"corpus": {"key": corpus.key, "digest": corpus.digest, "report": corpus.report}}

    def keep(self, folder: Path, step: int) -> None:  # noqa: ARG002
        for file in self._corpus.files:
            shutil.copyfile(file, folder / file.name)
