"""Checkpoints: a self-contained folder of safetensors and JSON, never pickle, and exact to the bit.

    model.safetensors      float32 master weights under Hugging Face's names
    optimizer.safetensors  the optimizer's memory and the random generator's state
    state.json             seed, counters, resolved recipe, corpus
    config.json tokenizer.json
    numbering.bin          which documents there are (not where the data was prepared beforehand)
    order.bin              in phases of rows: which are left to read
    reference.safetensors  in phases dpo and kto: the weights that the phase began with

Sharded training writes model-0000i-of-0000n.safetensors and optimizer-0000i-of-0000n.safetensors, one of each a rank,
with an index of which whole tensor lies where: `transformers` reads that, and any number of ranks goes on from it.

The folder is made under a temporary name and renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from .errors import CheckpointError
from .model import Shape, Transformer

RANDOM_STATE = "random/torch"
MODEL, OPTIMIZER, INDEX = "model", "optimizer", ".safetensors.index.json"


Item = TypeVar("Item")


@dataclass(frozen=True)
class Checkpoint:
    """What was read from a folder."""

    folder: Path
    shape: Shape
    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


class Writer:
    """Writes part `part` of `parts` of a checkpoint at `folder`. The old one stays until the new one is whole."""

    def __init__(self, folder: Path, part: int = 0, parts: int = 1) -> None:
        self.folder, self._part, self._parts = folder, part, parts
        self.partial = folder.with_name(f"{folder.name}.partial")

    def begin(self) -> None:
        """An empty folder under the temporary name; only the first part makes one."""
        if self._part == 0:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir(parents=True)

    def tensors(self, weights: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> None:
        """Write this part's tensors, durably. The first part has the random generator's state, too."""
        memory = dict(memory)
        if self._part == 0:
            memory[RANDOM_STATE] = torch.get_rng_state()
        if self._part < self._parts:
            self._write({self._name(MODEL): weights, self._name(OPTIMIZER): memory})

    def finish(self, shape: Shape, state: Mapping[str, Any], separator: int, files: tuple[Path, ...] = ()) -> None:
        """What is written once, with copies of `files`, and the true name. Every part must be there."""
        for kind in (MODEL, OPTIMIZER) if self._parts > 1 else ():
            _write_json(self.partial / f"{kind}{INDEX}", _index(self.partial, kind))
        _write_json(self.partial / "state.json", dict(state))
        _write_json(self.partial / "config.json", shape.hugging_face_config(separator))
        _at_once(lambda file: shutil.copyfile(file, self.partial / file.name), files)
        _at_once(_fsync, list(self.partial.iterdir()))
        shutil.rmtree(self.folder, ignore_errors=True)
        os.rename(self.partial, self.folder)

    def _name(self, kind: str) -> str:
        """As Hugging Face names parts."""
        return f"{kind}{f'-{self._part + 1:05d}-of-{self._parts:05d}' if self._parts > 1 else ''}.safetensors"

    def _write(self, contents: Mapping[str, Mapping[str, Tensor]]) -> None:
        _at_once(lambda name: save_tensors(self.partial / name, contents[name]), contents)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """One safetensors file, durably."""
    from safetensors.torch import save_file

    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    save_file(plain, path, metadata={"format": "pt"})
    _fsync(path)


def _at_once(do: Callable[[Item], object], items: Iterable[Item]) -> None:
    """In threads: a write takes the pages that it needs one by one, and an fsync waits for the disk."""
    with written(), ThreadPoolExecutor(8) as pool:
        for _ in pool.map(do, items):
            pass


@contextmanager
def written() -> Iterator[None]:
    """Raises CheckpointError where something cannot be written."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            "The checkpoint could not be written.",
            str(error),
            "make room on the disk; the last gate's checkpoint stands",
        ) from error


def _index(folder: Path, kind: str) -> dict[str, Any]:
    """Which tensor is in which part, in Hugging Face's layout."""
    from safetensors import safe_open

    places: dict[str, str] = {}
    for file in sorted(folder.glob(f"{kind}-*.safetensors")):
        with safe_open(file, "pt") as part:
            places |= dict.fromkeys(part.keys(), file.name)
    size = sum(file.stat().st_size for file in folder.glob(f"{kind}-*.safetensors"))
    return {"metadata": {"total_size": size}, "weight_map": places}


def _read(folder: Path, kind: str) -> dict[str, Tensor]:
    """All tensors of a kind, from one file or from parts."""
    from safetensors.torch import load_file

    if not (folder / f"{kind}{INDEX}").exists():
        return load_file(folder / f"{kind}.safetensors")
    places = json.loads((folder / f"{kind}{INDEX}").read_text("utf-8"))["weight_map"]
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        tensors |= load_file(folder / name)
    if tensors.keys() != places.keys():
        raise ValueError(f"the parts of {kind} do not hold what their index names")
    return tensors


def load(folder: Path, optimizer: bool = True) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError for anything missing, torn or malformed."""
    from safetensors import SafetensorError

    try:
        shape = Shape.from_hugging_face_config(json.loads((folder / "config.json").read_text("utf-8")))
        weights = _read(folder, MODEL)
        memory = _read(folder, OPTIMIZER) if optimizer else {}
        state = json.loads((folder / "state.json").read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            "The checkpoint was refused.", f"{folder}: {error!r}", "go back to an earlier checkpoint"
        ) from error
    return Checkpoint(folder, shape, weights, memory, state)


def load_weights(model: Transformer, checkpoint: Checkpoint) -> None:
    """Copy the weights in. Raises CheckpointError naming the first tensor that does not fit."""
    own = weights_of(model)
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


def weights_of(model: Transformer) -> dict[str, Tensor]:
    """Each tensor once: a tied head is not saved, as Hugging Face does it."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, sort_keys=True, indent=1) + "\n", "utf-8")
