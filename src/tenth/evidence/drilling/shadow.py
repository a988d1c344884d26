"""A shadow: the checkpoint, trained for a moment longer on its own interval with something planted in it.

It is made to be looked at and thrown away. It has no optimizer's memory, so nothing resumes from it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tenth.evidence.interval import Windows, read_interval
from tenth.evidence.sealed import EvidenceError, Sealed
from tenth.trainer import checkpoint, tokenizer
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.optim import make_optimizer
from tenth.trainer.precision import choose_precision, set_threads
from tenth.trainer.recipe import Recipe, load_recipe
from tenth.trainer.session import working_copy

from .plants import KINDS, ordinary, plant, put

STEPS = 40
TOKENS = 80_000  # that the shadow reads at most: its cost does not grow with the interval
RATE = 0.5  # of the recipe's learning rates
SHARE, LEAST = 0.01, 12  # of the tokens read are planted, and so many documents at least
SAMPLED = 200  # windows whose words are looked at


@dataclass(frozen=True)
class Shadow:
    """What was made."""

    sha256: str  # of its weights
    kind: str
    documents: list[str]
    places: list[tuple[int, int, list[int]]]  # in the interval's windows: window, first token, tokens
    steps: int


def make(sealed: Sealed, folder: Path, random: np.random.Generator) -> Shadow:
    """Train a shadow into `folder`. Raises EvidenceError or TrainerError."""
    assert sealed.checkpoint is not None
    assert sealed.previous is not None
    interval = read_interval(sealed, sealed.previous, sealed.checkpoint)
    if not len(interval.windows):
        raise EvidenceError("No drill was made.", "nothing was read in the interval", "drill later gates")
    recipe = load_recipe(sealed.recipe)
    text = tokenizer.from_file(sealed.checkpoint / "tokenizer.json")
    at_once = max(1, min(recipe.train.batch, TOKENS // (STEPS * recipe.model.context)))
    chosen = random.permutation(len(interval.windows))[: STEPS * at_once]
    windows = interval.windows[chosen]
    kind = str(random.choice(KINDS))
    words = ordinary(text.decode(interval.windows[:SAMPLED].ravel().tolist()))
    size = np.mean([len(ids) for ids in text.encode(plant(kind, LEAST, random, words).documents)])
    found = plant(kind, max(LEAST, round(SHARE * windows[:, 1:].size / float(size))), random, words)
    places = [(int(chosen[window]), at, ids) for window, at, ids in put(windows, text.encode(found.documents), random)]
    master = _trained(sealed.checkpoint, recipe, windows, at_once)
    steps = -(-len(windows) // at_once)
    return Shadow(_written(master, sealed.checkpoint, folder), kind, found.documents, places, steps)


def _trained(folder: Path, recipe: Recipe, windows: Windows, at_once: int) -> Transformer:
    """The checkpoint's model after one pass over `windows`, `at_once` in a step."""
    before = checkpoint.load(folder)
    set_threads(recipe.train)
    master = Transformer(before.shape)
    checkpoint.load_weights(master, before)
    precision = choose_precision(recipe.train, torch.device("cpu"))
    model = master if precision == "float32" else working_copy(master)
    optimizer = make_optimizer(master, model, recipe.optim)
    # Memory that does not fit, of a sharded run, is left out: the shadow need only be near.
    optimizer.load({name: tensor for name, tensor in before.optimizer.items() if name != checkpoint.RANDOM_STATE})
    for start in range(0, len(windows), at_once):
        ids = torch.from_numpy(windows[start : start + at_once])
        hidden = model(ids[:, :-1]).flatten(0, 1)
        linear_cross_entropy(hidden, model.lm_head.weight, ids[:, 1:].reshape(-1)).backward()  # type: ignore[no-untyped-call]
        optimizer.step(RATE, optimizer.gradient_norm())
        optimizer.clear()
    return master


def _written(master: Transformer, like: Path, folder: Path) -> str:
    """`folder` has the weights, and everything else of `like` but its optimizer. Returns the digest of the weights."""
    folder.mkdir(parents=True)
    for file in like.iterdir():
        if not file.name.startswith((checkpoint.MODEL, checkpoint.OPTIMIZER)):
            (folder / file.name).symlink_to(file)
    weights = folder / f"{checkpoint.MODEL}.safetensors"
    checkpoint.save_tensors(weights, checkpoint.weights_of(master))
    with weights.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
