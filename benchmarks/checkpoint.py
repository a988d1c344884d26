"""For how long does a gate's checkpoint pause training?

From the end of the last step until weights, optimizer and state are on disk for good: the same calls that the trainer
makes between its last step and its last word to the supervisor, on random weights. The checkpoint before it has been
moved away, as sealing does. For comparison, the bytes alone: one plain write of as many, and its fsync.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import torch
from record import Record, options, spread, workplace

from tenth.client.run import fsync_tree
from tenth.trainer import checkpoint
from tenth.trainer.model import Transformer
from tenth.trainer.optim import Optimizer, make_optimizer
from tenth.trainer.precision import set_threads
from tenth.trainer.recipe import recipe_from, shape

VOCABULARY = 4096
MUST = 0.150


def built(depth: int) -> tuple[Transformer, Optimizer]:
    recipe = recipe_from({"model": {"depth": depth}})
    set_threads(recipe.train)
    model = Transformer(shape(recipe, VOCABULARY))
    return model, make_optimizer(model, model, recipe.optim)


def saves(model: Transformer, optimizer: Optimizer, folder: Path, times: int) -> dict[str, list[float]]:
    """Seconds of each save, and of its two parts: the checkpoint, and what the client makes sure of again."""
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(" " * 200_000)
    found: dict[str, list[float]] = {"whole": [], "written": [], "made sure": []}
    for _ in range(times):
        shutil.rmtree(folder / "sealed", ignore_errors=True)
        began = time.perf_counter()
        writer = checkpoint.Writer(folder / "checkpoint")
        writer.begin()
        writer.tensors(checkpoint.weights_of(model), optimizer.tensors())
        writer.finish(model.shape, {}, 0, (tokenizer,))
        written = time.perf_counter()
        fsync_tree(writer.folder, folder)
        ended = time.perf_counter()
        for name, seconds in zip(found, (ended - began, written - began, ended - written), strict=True):
            found[name].append(seconds)
        os.rename(writer.folder, folder / "sealed")
    return found


def bare(folder: Path, size: int, times: int) -> list[float]:
    """Seconds for `size` bytes in one file, and its fsync."""
    block, found = torch.zeros(size, dtype=torch.uint8).numpy().data, []
    for _ in range(times):
        (folder / "bare").unlink(missing_ok=True)
        began = time.perf_counter()
        with open(folder / "bare", "wb", buffering=0) as file:
            file.write(block)
            os.fsync(file.fileno())
        found.append(time.perf_counter() - began)
    (folder / "bare").unlink()
    return found


def measured(record: Record, depth: int, times: int, must: dict[str, tuple[str, float]] | None) -> None:
    model, optimizer = built(depth)
    tensors = [*checkpoint.weights_of(model).values(), *optimizer.tensors().values()]
    size = sum(tensor.nbytes for tensor in tensors)
    with workplace() as folder:
        took, alone = saves(model, optimizer, folder, times), bare(folder, size, times)
    what = f"{size / 1e6:,.0f} MB of weights and optimizer ({sum(p.numel() for p in model.parameters()) / 1e6:.1f} M)"
    record.figure(f"training paused for {what}", "s", spread(took["whole"]), must)
    record.figure(f"the disk alone: a plain write of {size / 1e6:,.0f} MB, and its fsync", "s", spread(alone))
    record.detail(**{f"depth {depth}, {name}": [round(s, 4) for s in seconds] for name, seconds in took.items()})


def main() -> None:
    chosen = options(
        __doc__, n=(20, "saves"), depth=(6, "of the model"), large=(14, "depth of one above 1 GB; 0: none")
    )
    record = Record("checkpoint", (__doc__ or "").partition("\n")[0], chosen)
    if record.disk == "tmpfs":
        raise SystemExit("the checkout lies in memory: what is written there is not durable")
    measured(record, chosen.depth, chosen.n, {"p50": ("<=", MUST)})
    if chosen.large:
        measured(record, chosen.large, max(3, chosen.n // 4), None)
    record.finish()


if __name__ == "__main__":
    main()
