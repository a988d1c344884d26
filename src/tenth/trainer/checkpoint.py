"""Checkpoints: a self-contained folder of safetensors and JSON, never pickle, and exact to the bit.

    model.safetensors      float32 master weights under Hugging Face's names
    optimizer.safetensors  the optimizer's memory and the random generator's state
    state.json             seed, counters, resolved recipe, corpus
    config.json tokenizer.json documents.jsonl

The folder is made under a temporary name and renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError
from .model import Shape, Transformer

RANDOM_STATE = "random/torch"


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a folder."""

    folder: Path
    shape: Shape
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(
    folder: Path, model: Transformer, optimizer: Mapping[str, Tensor], state: Mapping[str, Any], separator: int,
    files: tuple[Path, ...],
) -> Path:  # fmt: skip
    """Write a checkpoint at `folder`, with copies of `files`. The old one stays until this one is whole."""
    from safetensors.torch import save_file

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    memory = {key: tensor.detach().cpu().contiguous() for key, tensor in optimizer.items()}
    memory[RANDOM_STATE] = torch.get_rng_state()
    save_file(_weights(model), partial / "model.safetensors", metadata={"format": "pt"})
    save_file(memory, partial / "optimizer.safetensors")
    _write_json(partial / "state.json", dict(state))
    _write_json(partial / "config.json", model.shape.hugging_face_config(separator))
    for file in files:
        shutil.copyfile(file, partial / file.name)
    for file in partial.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)
    return folder


def load(folder: Path, optimizer: bool = True) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError for anything missing, torn or malformed."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        shape = Shape.from_hugging_face_config(json.loads((folder / "config.json").read_text("utf-8")))
        weights = load_file(folder / "model.safetensors")
        memory = load_file(folder / "optimizer.safetensors") if optimizer else {}
        state = json.loads((folder / "state.json").read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            "The checkpoint was refused.", f"{folder}: {error!r}", "go back to an earlier checkpoint"
        ) from error
    return Checkpoint(folder, shape, weights, memory, state)


def load_weights(model: Transformer, checkpoint: Checkpoint) -> None:
    """Copy the weights in. Raises CheckpointError naming the first tensor that does not fit."""
    own = _weights(model)
    for name in sorted(own.keys() | checkpoint.weights.keys()):
        mine, theirs = own.get(name), checkpoint.weights.get(name)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            found = "missing" if theirs is None else f"{tuple(theirs.shape)}"
            wanted = "none" if mine is None else f"{tuple(mine.shape)}"
            raise CheckpointError(
                "The checkpoint was refused.", f"{name} is {found} there, {wanted} in the recipe's model",
                "use the recipe that this checkpoint was made with",
            )  # fmt: skip
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(checkpoint.weights[name])


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> Transformer:
    """The model alone, ready to be read from."""
    checkpoint = load(folder, optimizer=False)
    model = Transformer(checkpoint.shape)  # not on the meta device: its first use imports for a second and a half
    load_weights(model, checkpoint)
    return model.to(dtype).eval()


def _weights(model: Transformer) -> dict[str, Tensor]:
    """Each tensor once: a tied head is not saved, as Hugging Face does it."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, sort_keys=True, indent=1) + "\n", "utf-8")
