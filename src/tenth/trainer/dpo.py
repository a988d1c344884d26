"""The phases `dpo` and `kto`: what people said of answers, against the model that the phase began with.

That reference lies in each checkpoint. The log-probabilities that it gives to a tenth's rows are computed before the
tenth's first step, step by step as the training reads them, so they are the same bits whoever was interrupted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tenth.client import Run

from . import checkpoint, interchange
from .backward import Batch, Objective
from .checkpoint import Checkpoint
from .errors import RecipeError
from .interchange import Source
from .loop import train_lease
from .loss import IGNORED, token_log_probs
from .model import Transformer
from .preference import dpo_losses, kto_losses
from .recipe import PreferenceRecipe, Recipe
from .rows import Marked
from .sft import Rows, open_rows

REFERENCE = "reference.safetensors"
ROUND = 32  # tokens: sequences are filled up to a multiple, since kernels are compiled for each length they meet


def dpo(run: Run, began: float) -> bool:
    """Train one tenth, see `train_lease`."""
    return train_lease(run, began, open_pairs, alone=True)


def open_pairs(run: Run, recipe: Recipe, seed: int, before: Checkpoint | None, source: Source | None) -> Judged:
    return Judged(open_rows("dpo", run, recipe, seed, before, source), recipe, before, source)


def open_thumbs(run: Run, recipe: Recipe, seed: int, before: Checkpoint | None, source: Source | None) -> Judged:
    if recipe.train.batch < 2:
        raise RecipeError(
            "The recipe was refused.", f"train.batch = {recipe.train.batch}: kto compares answers of one batch",
            "write batch = 2 or more in [train]",
        )  # fmt: skip
    return Judged(open_rows("kto", run, recipe, seed, before, source), recipe, before, source)


class Judged:
    """Pairs, or answers with a thumb each, as the loop sees them: two sequences to each row of a batch.

    For dpo these are the chosen and the rejected one; for kto the answer, and the prompt with the answer of the row
    before, which shows how far the model has left the reference where nobody judged it.
    """

    one_shape = False

    def __init__(self, rows: Rows, recipe: Recipe, before: Checkpoint | None, source: Source | None) -> None:
        self._rows, self._recipe, self._before, self._source = rows, recipe, before, source
        self._batch = recipe.train.batch
        self.steps = rows.start - (-len(rows.order) // self._batch)
        self.tokenizer, self.separator, self.vocabulary = rows.tokenizer, rows.text.separator, rows.text.vocabulary
        self._reference: dict[int, Tensor] = {}  # by step

    def batches(self, start: int) -> Iterator[Batch]:
        """Inputs and targets (P, 2, T), share or thumb (P,), and what the reference gives them (P, 2)."""
        for step in range(start, self.steps):
            yield *self.batch(step), self._reference.pop(step)

    def batch(self, step: int) -> Batch:
        first = (step - self._rows.start) * self._batch
        chosen = self._rows.order[first : first + self._batch].tolist()
        store = self._rows.store
        both = [store.sequences(row) for row in chosen]
        context = self._recipe.model.context
        if self._rows.kind == "kto":
            both = with_other_answers([one for (one,) in both], context)
        inputs, targets = filled(both, self.separator, context)
        return inputs, targets, torch.tensor([store.share(row) for row in chosen])

    def objective(self, model: Transformer) -> Objective:
        self._objective = (Pairs if self._rows.kind == "dpo" else Thumbs)(model, self._recipe.preference)
        return self._objective

    def begin(self, run: Run, model: Transformer) -> None:
        """What the reference gives to every row of the tenth."""
        if self._before is None:
            reference = model  # it has learned nothing yet
        else:
            with torch.random.fork_rng(devices=[]):
                reference = Transformer(model.shape)
            path = self._before.folder / REFERENCE
            interchange.fill(reference, interchange.read_file(path), str(path))
            reference.to(model.lm_head.weight.device, model.lm_head.weight.dtype)
        for step in range(run.position, run.lease.last_step(self.steps)):
            inputs, targets, _ = self.batch(step)
            with torch.no_grad():
                self._reference[step] = answer_log_probs(reference, inputs, targets).cpu()
            run.report(reference=step)  # a sign of life

    def metrics(self, loss: float) -> dict[str, float]:  # noqa: ARG002
        return self._objective.noted

    def state(self) -> dict[str, Any]:
        return self._rows.state()

    def keep(self, folder: Path, step: int) -> None:
        self._rows.keep(folder, (step - self._rows.start) * self._batch)
        if self._before:
            shutil.copyfile(self._before.folder / REFERENCE, folder / REFERENCE)
        elif self._source:
            checkpoint.save_tensors(folder / REFERENCE, self._source.weights)


def with_other_answers(rows: Sequence[Marked], context: int) -> list[tuple[Marked, ...]]:
    """Each row, and its prompt with the answer of the row before, cut where it does not fit."""
    borders = [int(np.flatnonzero(row & 1)[0]) for row in rows]
    prompts = [row[:border] for row, border in zip(rows, borders, strict=True)]
    answers = [row[border:] for row, border in zip(rows, borders, strict=True)]
    others = [np.concatenate(parts)[: context + 1] for parts in zip(prompts, answers[-1:] + answers[:-1], strict=True)]
    return list(zip(rows, others, strict=True))


def filled(both: Sequence[tuple[Marked, ...]], filler: int, context: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets, (P, 2, T), filled up at their ends, where nothing looks."""
    longest = max(len(one) - 1 for pair in both for one in pair)
    shape = (len(both), 2, min(context, -(-longest // ROUND) * ROUND))
    inputs, targets = np.full(shape, filler), np.full(shape, IGNORED)
    for row, pair in enumerate(both):
        for side, marked in enumerate(pair):
            ids, end = marked.astype(np.int64) >> 1, len(marked) - 1
            inputs[row, side, :end] = ids[:-1]
            targets[row, side, :end] = np.where(marked[1:] & 1, ids[1:], IGNORED)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def answer_log_probs(model: Transformer, inputs: Tensor, targets: Tensor) -> Tensor:
    """(..., T) inputs and targets to (...): the log-probability of all counted tokens of a sequence together."""
    device = model.lm_head.weight.device
    hidden = model(inputs.flatten(0, -2).to(device))
    wanted = targets.flatten(0, -2).to(device)
    return token_log_probs(hidden, model.lm_head.weight, wanted).sum(-1).view(targets.shape[:-1])


class _Judgement(nn.Module):
    """What both objectives have in common: rows count that have targets."""

    def __init__(self, model: Transformer, recipe: PreferenceRecipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.noted: dict[str, float] = {}  # of the last batch

    def counted(self, batch: Batch) -> int:
        return int(_real(batch[1]).sum())

    def prepared(self, batch: Batch) -> Batch:
        return batch

    def _note(self, **values: Tensor) -> None:
        self.noted = {name: float(value.detach().mean()) for name, value in values.items()}


def _real(targets: Tensor) -> Tensor:
    """(P,): which rows are not there to fill up."""
    return (targets != IGNORED).flatten(1).any(1)


class Pairs(_Judgement):
    """Direct preference optimization. Notes how often the chosen answer gained more than the rejected one."""

    passes = 4 / 3  # training, and the reference forward

    def forward(self, inputs: Tensor, targets: Tensor, share: Tensor, reference: Tensor) -> Tensor:
        real = _real(targets)
        log_probs = answer_log_probs(self.model, inputs, targets)[real]
        share, reference = share[real], reference[real]
        ratios = (log_probs - reference) * self.recipe.beta
        margin = (ratios[:, 0] - ratios[:, 1]) * (2 * share - 1).sign()
        self._note(preferred=(margin > 0).float(), margin=margin)
        return dpo_losses(log_probs, reference, share, self.recipe.beta).mean()


class Thumbs(_Judgement):
    """Kahneman-Tversky optimization. `prepared` finds how far the model has left the reference, for the whole batch."""

    passes = 1.0  # of two sequences: one is trained, and both are read by the reference, one by the model

    def prepared(self, batch: Batch) -> Batch:
        inputs, targets, _, reference = batch
        with torch.no_grad():
            moved = answer_log_probs(self.model, inputs[:, 1:], targets[:, 1:]).cpu() - reference[:, 1:]
        drift = moved.mean().clamp(min=0)
        return *batch, drift.expand(len(inputs))

    def forward(self, inputs: Tensor, targets: Tensor, good: Tensor, reference: Tensor, drift: Tensor) -> Tensor:
        real = _real(targets)
        log_probs = answer_log_probs(self.model, inputs[real, 0], targets[real, 0])
        recipe, up = self.recipe, good[real] > 0
        moved = (log_probs - reference[real, 0]) * torch.where(up, 1.0, -1.0)
        self._note(drift=drift, gained=(moved > 0).float())
        return kto_losses(log_probs, reference[real, 0], drift[real], up, recipe.beta, (recipe.good, recipe.bad)).mean()
