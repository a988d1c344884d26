"""A lease's beginning and end: everything that training needs, restored exactly, and saved again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from tenth.client import Run

from . import checkpoint, compiled, interchange
from .backward import Backward, Batch, Objective
from .checkpoint import Checkpoint
from .errors import CheckpointError, RecipeError
from .interchange import Source
from .model import Transformer
from .optim import Optimizer, make_optimizer
from .parallel import Parallel
from .precision import choose_precision, set_threads
from .recipe import Recipe, as_dict, shape
from .sharded import ShardedMuon, Shards

# What fixes the order of the data: changed in mid-epoch, `position` would point elsewhere.
FIXED = (("data", "tokenizer"), ("data", "vocabulary"), ("data", "held_out"), ("model", "context"), ("train", "batch"))


class Data(Protocol):
    """What a phase learns from, in this epoch and lease."""

    steps: int  # of the epoch
    tokenizer: Path
    separator: int
    vocabulary: int  # entries of the tokenizer
    one_shape: bool  # of all batches but an epoch's last, whose documents fill their rows: blocks may be compiled

    def batches(self, start: int) -> Iterator[Batch]:
        """The epoch's batches from step `start` on."""
        ...

    def objective(self, model: Transformer) -> Objective:
        """What is made small."""
        ...

    def begin(self, run: Run, model: Transformer) -> None:
        """Before the first step of a tenth, with the model that will be trained on."""
        ...

    def metrics(self, loss: float) -> dict[str, float]:
        """What there is to say of the last step besides its loss."""
        ...

    def asked(self, step: int) -> Sequence[int]:
        """A prompt of its own that watchers see answered, as training reads it; () if it has none."""
        ...

    def state(self) -> dict[str, Any]:
        """For state.json: what the next lease opens the same data by."""
        ...

    def keep(self, folder: Path, step: int) -> None:
        """Put into the folder what a checkpoint made at `step` takes along, tokenizer.json among it."""
        ...


Phase = Callable[[Run, Recipe, int, Checkpoint | None, Source | None], Data]
"""Opens a phase's data: for a run and its recipe, with the seed, from a checkpoint of this phase, or at its first lease
from the model that it begins with (None: from random weights)."""


@dataclass
class Training:
    """All that lives during a lease. `master` holds float32 weights; `model` is what runs, maybe a bfloat16 copy."""

    recipe: Recipe
    data: Data
    master: Transformer
    model: Transformer
    optimizer: Optimizer
    objective: Objective
    backward: Backward
    parallel: Parallel
    shards: Shards | None  # this rank's rows, where the parameters are sharded
    steps: int  # of the whole phase
    seed: int
    precision: str
    device: torch.device
    nonfinite: int = 0  # consecutive steps skipped
    skipped: int = 0  # steps skipped in all


def restore(run: Run, recipe: Recipe, parallel: Parallel, phase: Phase) -> Training:
    """Everything as the last lease left it; a phase's first lease begins with the weights of the phase before.

    The run's first phase begins with the model that `model.init` names, or with random weights.
    """
    before, source = None, None
    if run.resume_from and (run.lease.epoch, run.lease.tenth) != (1, 1):
        before = checkpoint.load(run.resume_from)
    elif folder := run.resume_from or (run.lease.root / recipe.model.init if recipe.model.init else None):
        source = interchange.read(folder)
    state: dict[str, Any] = before.state if before else {}
    _say_what_moved(set_threads(recipe.train, parallel.size), parallel.size, state)
    precision = state.get("precision") or choose_precision(recipe.train, parallel.device)
    seed = int(state.get("seed", run.lease.seed))
    torch.manual_seed(seed)
    _refuse_moved_order(recipe, state, run)
    with parallel.first():
        data = phase(run, recipe, seed, before, source)
    known = before or source
    master = Transformer(shape(recipe, known.shape.vocabulary if known else data.vocabulary))
    if before:
        checkpoint.load_weights(master, before)
    elif source:
        interchange.begin(master, source, data.tokenizer, "" if run.resume_from else recipe.model.init_sha256)
    else:
        master.initialise(torch.Generator().manual_seed(seed))
    shards = None
    if parallel.kind == "fsdp":
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        parallel.shard(master, dtype)
        model, shards = master, Shards(master)
        muon = partial(ShardedMuon, parallel=parallel, shapes=shards.shapes, dtype=dtype)
        optimizer = make_optimizer(shards, shards, recipe.optim, muon)
    else:
        master.to(parallel.device)
        model = master if precision == "float32" else working_copy(master)
        optimizer = make_optimizer(master, model, recipe.optim)
    if before:
        load_optimizer(optimizer, before, shards, parallel)
    model.recompute = recipe.train.recompute
    if data.one_shape and not shards and not recipe.train.recompute:
        sequences = recipe.train.batch // (parallel.size * recipe.train.accumulate)
        with parallel.first():  # the others find what it has compiled
            compiled.decide(recipe.train, model, sequences, data.steps / run.lease.of, state, run.work)
    objective = data.objective(model)
    backward = Backward(model, parallel, recipe.train.accumulate, objective)
    data.begin(run, model)
    return Training(
        recipe, data, master, model, optimizer, objective, backward, parallel, shards, data.steps * run.lease.epochs,
        seed, precision, parallel.device, int(state.get("nonfinite", 0)), int(state.get("skipped", 0)),
    )  # fmt: skip


def working_copy(master: Transformer) -> Transformer:
    """A bfloat16 twin: its products run at bfloat16 speed, its gradients are taken up by the float32 master."""
    return copy.deepcopy(master).to(torch.bfloat16)


def load_optimizer(optimizer: Optimizer, before: Checkpoint, shards: Shards | None, parallel: Parallel) -> None:
    memory = dict(before.optimizer)
    random_state = memory.pop(checkpoint.RANDOM_STATE, None)
    wrong = optimizer.load(shards.own(memory, optimizer.tensors(), parallel) if shards else memory)
    if wrong or random_state is None:
        raise CheckpointError(
            "The optimizer's memory was refused.", f"{len(wrong)} tensors do not fit: {', '.join(wrong[:3])}",
            "keep optim.matrices and the model's shape as they were",
        )  # fmt: skip
    torch.set_rng_state(random_state)


def save(training: Training, run: Run) -> Path:
    """Write the checkpoint of this tenth into the work folder. All ranks call this; rank 0 returns last."""
    parallel = training.parallel
    state = {
        "version": 1, "phase": run.lease.phase, "epoch": run.lease.epoch, "step": run.position,
        "steps_per_epoch": training.data.steps, "seed": training.seed, "precision": training.precision,
        "threads": torch.get_num_threads(), "ranks": parallel.size, "compiled": training.model.compiled is not None,
        "nonfinite": training.nonfinite, "skipped": training.skipped,
        "recipe": as_dict(training.recipe), "shape": asdict(training.master.shape),
        **training.data.state(),
    }  # fmt: skip
    weights, memory = checkpoint.weights_of(training.master), training.optimizer.tensors()
    if training.shards:
        weights, memory = training.shards.to_save(memory, parallel)
    writer = checkpoint.Writer(run.work / "checkpoint", parallel.rank, parallel.size if training.shards else 1)
    with parallel.first():
        writer.begin()
    writer.tensors(weights, memory)
    parallel.wait()  # every part is on disk
    if parallel.rank == 0:
        with checkpoint.written():
            training.data.keep(writer.partial, run.position)
        writer.finish(training.master.shape, state, training.data.separator)
    return writer.folder


def bytes_held(training: Training) -> int:
    """Of float32 weights and optimizer memory, on this rank."""
    weights = (training.shards or training.master).named_parameters()
    tensors = [*(tensor for _, tensor in weights), *training.optimizer.tensors().values()]
    return sum(tensor.nbytes for tensor in tensors)


def _say_what_moved(threads: int, ranks: int, state: dict[str, Any]) -> None:
    was, now = (state.get("threads", threads), state.get("ranks", 1)), (threads, ranks)
    if state and was != now:
        print(f"threads and ranks are {now}, and were {was} when this began: results may differ in the last bit")


def _refuse_moved_order(recipe: Recipe, state: dict[str, Any], run: Run) -> None:
    now = as_dict(recipe)
    for section, key in FIXED if state and run.position else ():
        was, is_now = state["recipe"][section][key], now[section][key]
        if was != is_now:
            raise RecipeError(
                "The recipe was refused.", f"{section}.{key} changed from {was!r} to {is_now!r} in mid-epoch",
                "change it between epochs",
            )  # fmt: skip
