"""The phases `dpo` and `kto`: what people said of answers, against the model that the phase began with.

That reference lies in each checkpoint. The log-probabilities that it gives to a tenth's rows are computed before the
tenth's first step, step by step as the training reads them, so they are the same bits whoever was interrupted. Those of
pairs are kept in the checkpoint: later epochs compute none. What kto compares depends on a batch, and no epoch has its
batches again.
"""

from __future__ import annotations

import math
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
from .packing import packed
from .preference import dpo_losses, kto_losses
from .recipe import PreferenceRecipe, Recipe
from .rows import Marked
from .sft import Rows, open_rows

REFERENCE, GIVEN = "reference.safetensors", "reference_log_probs.safetensors"
ROUND, LENGTHS = 8, 16
"""A pack's length is a multiple of so many tokens, and one of so many between the longest row's and twice that: kernels
are compiled for each length they meet."""


def dpo(run: Run, began: float) -> bool:
    """Train one tenth, see `train_lease`."""
    return train_lease(run, began, "dpo", open_pairs, alone=True)


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
    """Pairs, or answers with a thumb each, as the loop sees them: two sequences to each.

    For dpo these are the chosen and the rejected one, whose prompt is read once for both; for kto the answer, and the
    prompt with the answer of the row before, which shows how far the model has left the reference where nobody judged
    it. Sequences are packed like those of sft. A batch's first dimension is the pieces that the recipe cuts it into.
    """

    one_shape = False

    def __init__(self, rows: Rows, recipe: Recipe, before: Checkpoint | None, source: Source | None) -> None:
        self._rows, self._recipe, self._before, self._source = rows, recipe, before, source
        self._batch = recipe.train.batch
        self.steps = rows.start - (-len(rows.order) // self._batch)
        self.tokenizer, self.separator, self.vocabulary = rows.tokenizer, rows.text.separator, rows.text.vocabulary
        self._given = self._known()  # by row; kto keeps nothing beyond a lease

    def batches(self, start: int) -> Iterator[Batch]:
        """Packs, shares or thumbs (A, P; -1: no row), what the reference gives (A, P, 2), and for kto packs again."""
        for step in range(start, self.steps):
            first, share, *more = self.batch(step)
            given = torch.zeros(share.numel(), 2)
            chosen = self._chosen(step)
            given[: len(chosen)] = self._given[chosen]
            yield *first, share, given.view(*share.shape, 2), *(tensor for one in more for tensor in one)

    def _chosen(self, step: int) -> list[int]:
        """The rows of a step."""
        first = (step - self._rows.start) * self._batch
        rows: list[int] = self._rows.order[first : first + self._batch].tolist()
        return rows

    def batch(self, step: int) -> tuple[Batch, Tensor, *tuple[Batch, ...]]:
        """Packs, shares, and for kto the packs of mismatched answers."""
        chosen = self._chosen(step)
        store, context, pieces = self._rows.store, self._recipe.model.context, self._recipe.train.accumulate
        both = [store.sequences(row) for row in chosen]
        if self._rows.kind == "kto":
            both = with_other_answers([one for (one,) in both], context)
        size = self._batch // pieces
        cut = [both[at : at + size] for at in range(0, self._batch, size)]
        share = torch.full((self._batch,), -1.0)
        share[: len(chosen)] = torch.tensor([store.share(row) for row in chosen])
        share = share.view(pieces, size)
        if self._rows.kind == "kto":
            own, other = ([[pair[side : side + 1] for pair in piece] for piece in cut] for side in (0, 1))
            return packs_of(own, size, self.separator), share, packs_of(other, size, self.separator)
        return packs_of(cut, size, self.separator), share

    def objective(self, model: Transformer) -> Objective:
        self._objective = (Pairs if self._rows.kind == "dpo" else Thumbs)(model, self._recipe.preference)
        return self._objective

    def begin(self, run: Run, model: Transformer) -> None:
        """What the reference gives to the rows of the tenth that it has not read yet."""
        steps = range(run.position, run.lease.last_step(self.steps))
        unread = [step for step in steps if self._given[self._chosen(step)].isnan().any()]
        self._objective.passes = 1 + (self._objective.passes - 1) * len(unread) / max(1, len(steps))
        reference = self._reference(model) if unread else model
        for step in unread:
            first, share, *more = self.batch(step)
            with torch.no_grad():
                found = [
                    answer_log_probs(reference, share.shape[1] * (1 if more else 2), *one) for one in (first, *more)
                ]
            chosen = self._chosen(step)
            given = sides(*found, count=share.shape[1]).cpu().view(-1, 2)[: len(chosen)]
            self._given[chosen] = torch.where(self._given[chosen].isnan(), given, self._given[chosen])
            run.report(reference=step)  # a sign of life

    def _reference(self, model: Transformer) -> Transformer:
        if self._before is None:
            return model  # it has learned nothing yet
        with torch.random.fork_rng(devices=[]):
            reference = Transformer(model.shape)
        path = self._before.folder / REFERENCE
        interchange.fill(reference, interchange.read_file(path), str(path))
        return reference.to(model.lm_head.weight.device, model.lm_head.weight.dtype)

    def _known(self) -> Tensor:
        """(rows, 2): what the reference gave to each row when it was first read, NaN where it was not."""
        path = self._before.folder / GIVEN if self._before else None
        found = interchange.read_file(path) if path and path.exists() else {}
        cached = self._rows.store.cached
        return torch.cat([found.get(one.file.sha256, torch.full((len(one), 2), math.nan)) for one in cached])

    def metrics(self, loss: float) -> dict[str, float]:  # noqa: ARG002
        return self._objective.noted

    def asked(self, step: int) -> Sequence[int]:
        return self._rows.asked(step)

    def state(self) -> dict[str, Any]:
        return self._rows.state()

    def keep(self, folder: Path, step: int) -> None:
        self._rows.keep(folder, (step - self._rows.start) * self._batch)
        if self._rows.kind == "dpo":
            cached = self._rows.store.cached
            parts = torch.split(self._given, [len(one) for one in cached])
            named = {one.file.sha256: part for one, part in zip(cached, parts, strict=True)}
            checkpoint.save_tensors(folder / GIVEN, named)
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


def packs_of(pieces: Sequence[Sequence[tuple[Marked, ...]]], size: int, filler: int) -> Batch:
    """Inputs, targets and whose each token is, (A, B, T), with what each sees between, (A, B, T, 3) (`document_mask`).

    A piece has up to `size` rows, each of one sequence or of two; the second's number is its row's plus `size`. Of two,
    what both begin with is read once. The longest rows come first, each in the first pack with room for it. What is
    nobody's belongs to the number after the last.
    """
    sides = max(len(row) for piece in pieces for row in piece)
    lengths = [[sum(len(one) - 1 for one in row) - _alike(row) for row in piece] for piece in pieces]
    least = -(-max(length for piece in lengths for length in piece) // ROUND)
    rooms = range(least * ROUND, 2 * least * ROUND + 1, -(-least // LENGTHS) * ROUND)
    tries = [(room, [packed(piece, room) for piece in lengths]) for room in rooms]
    room, found = min(tries, key=lambda one: one[0] * max(map(len, one[1])))  # the fewest tokens
    shape = (len(pieces), max(len(packs) for packs in found), room)
    inputs, targets, seen = np.full(shape, filler), np.full(shape, IGNORED), np.zeros((*shape, 3), np.int64)
    owners = np.full(shape, sides * size)
    for number, (piece, packs) in enumerate(zip(pieces, found, strict=True)):
        for pack, members in enumerate(packs):
            place, at = (number, pack), 0
            for member in members:
                begin, alike = at, _alike(piece[member])
                for side, marked in enumerate(piece[member]):
                    skipped = alike if side else 0
                    ids, end = marked.astype(np.int64) >> 1, at + len(marked) - 1 - skipped
                    inputs[place][at:end] = ids[skipped:-1]
                    targets[place][at:end] = np.where(marked[skipped + 1 :] & 1, ids[skipped + 1 :], IGNORED)
                    seen[place][at:end] = (begin, begin + alike, at) if side else (begin, at, at)
                    owners[place][at:end] = member + side * size
                    at = end
            seen[place][at:] = at
    return tuple(map(torch.from_numpy, (inputs, targets, seen, owners)))


def _alike(row: tuple[Marked, ...]) -> int:
    """How many inputs two sequences share: those that are the same, and after which nothing counts, up to there."""
    if len(row) == 1:
        return 0
    most = min(map(len, row)) - 1
    one, other = (marked[: most + 1] for marked in row)
    apart = (one[:-1] != other[:-1]) | (one[1:] & 1 | other[1:] & 1).astype(bool)
    return int(apart.argmax()) if apart.any() else most


def answer_log_probs(model: Transformer, count: int, *packs: Tensor) -> Tensor:
    """Packs, (A, B, T), to (A, `count`): the log-probability of all counted tokens of each sequence together."""
    device = model.lm_head.weight.device
    found = []
    for inputs, targets, starts, owners in zip(*(tensor.to(device) for tensor in packs), strict=True):
        each = token_log_probs(model(inputs, starts), model.lm_head.weight, targets)
        sums = torch.zeros(count + 1, dtype=each.dtype, device=device)
        found.append(sums.index_add(0, owners.flatten(), each.flatten())[:count])
    return torch.stack(found)


def sides(*log_probs: Tensor, count: int) -> Tensor:
    """(A, P, 2) of one tensor (A, 2 P), or of two (A, P)."""
    whole = torch.cat(log_probs, dim=1)
    return torch.stack((whole[:, :count], whole[:, count:]), dim=2)


class _Judgement(nn.Module):
    """What both objectives have in common. A batch is as `Judged.batches` has it."""

    def __init__(self, model: Transformer, recipe: PreferenceRecipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.noted: dict[str, float] = {}  # of the last batch

    def counted(self, batch: Batch) -> int:
        return int((batch[4] >= 0).sum())

    def prepared(self, batch: Batch) -> Batch:
        return batch

    def _mean(self, losses: Tensor, **noted: Tensor) -> Tensor:
        """Of a piece of the batch; one without rows says nothing."""
        if len(losses):
            self.noted = {name: float(value.detach().mean()) for name, value in noted.items()}
        return losses.sum() / max(1, len(losses))


class Pairs(_Judgement):
    """Direct preference optimization. Notes how often the chosen answer gained more than the rejected one."""

    passes = 4 / 3  # training, and the reference forward: `Judged.begin` takes off what it need not read

    def forward(self, *batch: Tensor) -> Tensor:
        *packs, share, reference = batch
        real, count = share >= 0, share.shape[1]
        log_probs = sides(answer_log_probs(self.model, 2 * count, *packs), count=count)[real]
        share, reference = share[real], reference[real]
        ratios = (log_probs - reference) * self.recipe.beta
        margin = (ratios[:, 0] - ratios[:, 1]) * (2 * share - 1).sign()
        losses = dpo_losses(log_probs, reference, share, self.recipe.beta)
        return self._mean(losses, preferred=(margin > 0).float(), margin=margin)


class Thumbs(_Judgement):
    """Kahneman-Tversky optimization. `prepared` finds how far the model has left the reference, for the whole batch."""

    passes = 2.0  # as many tokens again are read without being trained, and the reference reads both

    def prepared(self, batch: Batch) -> Batch:
        share, reference, others = batch[4], batch[5], batch[6:]
        with torch.no_grad():
            moved = answer_log_probs(self.model, share.shape[1], *others).cpu() - reference[..., 1]
        drift = moved[share >= 0].mean().clamp(min=0)
        return *batch[:6], drift.expand(share.shape)

    def forward(self, *batch: Tensor) -> Tensor:
        *packs, thumb, reference, drift = batch
        real, recipe = thumb >= 0, self.recipe
        log_probs, reference = answer_log_probs(self.model, thumb.shape[1], *packs)[real], reference[real][:, 0]
        up, drift = thumb[real] > 0, drift[real]
        moved = (log_probs - reference) * torch.where(up, 1.0, -1.0)
        losses = kto_losses(log_probs, reference, drift, up, recipe.beta, (recipe.good, recipe.bad))
        return self._mean(losses, drift=drift, gained=(moved > 0).float())
