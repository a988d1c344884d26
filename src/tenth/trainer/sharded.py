"""Sharded parameters as the optimizer sees them: plain tensors of this rank's rows, and Muon for whole matrices.

AdamW works on rows as on anything else. Muon needs whole matrices: each belongs to one rank, which gathers its
gradient, keeps its momentum, and hands every rank its rows of the step. So work and memory are shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from .model import Shape, Transformer
from .muon import Muon
from .parallel import Parallel

if TYPE_CHECKING:  # its import takes seconds
    from torch.distributed.tensor import DTensor

WHOLE = ".momentum"  # memory of this name belongs to one rank, whole; other memory lies in rows


class Shards:
    """This rank's rows of every parameter of a sharded `model`: they share its storage, and take over its gradients."""

    def __init__(self, model: nn.Module) -> None:
        from torch.distributed.tensor import DTensor

        found = dict(model.named_parameters())
        self._parameters = {name: parameter for name, parameter in found.items() if isinstance(parameter, DTensor)}
        self._rows = {name: parameter.to_local().detach() for name, parameter in self._parameters.items()}
        self.shapes = {name: tuple(parameter.shape) for name, parameter in self._parameters.items()}

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._rows.items()

    def take_gradients(self) -> None:
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                self._rows[name].grad = cast("DTensor", parameter.grad).to_local()
                parameter.grad = None

    def whole(self, shape: Shape, parallel: Parallel) -> Transformer | None:
        """A model with all weights, for samples; on rank 0 only. Called by all ranks."""
        with torch.random.fork_rng(devices=[]):
            model = Transformer(shape) if parallel.rank == 0 else None
        own = dict(model.named_parameters()) if model else {}
        for name in sorted(self._rows):
            tensor = parallel.gather(self._rows[name], self.shapes[name], 0)
            if tensor is not None:
                own[name].data.copy_(tensor)
        return model

    def own(self, saved: Mapping[str, Tensor], own: Mapping[str, Tensor], parallel: Parallel) -> dict[str, Tensor]:
        """Of an optimizer's whole memory what this rank holds: rows, or matrices that it owns."""
        kept = {}
        for key, tensor in saved.items():
            shape = self.shapes.get(_parameter(key))
            if key in own and own[key].shape != tensor.shape == shape:
                kept[key] = tensor[parallel.rows(shape[0])]
            elif key in own or not key.endswith(WHOLE) or tensor.shape != shape:
                kept[key] = tensor
        return kept

    def to_save(self, memory: Mapping[str, Tensor], parallel: Parallel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and optimizer memory that this rank writes: whole tensors, about the same number of bytes each."""
        weights = self._gathered(self._rows, parallel)
        rows = {key: tensor for key, tensor in memory.items() if _parameter(key) and not key.endswith(WHOLE)}
        whole = self._gathered(rows, parallel)
        whole |= {key: tensor for key, tensor in memory.items() if key.endswith(WHOLE)}
        counters = {key: tensor for key, tensor in memory.items() if not _parameter(key)}
        return weights, whole | (counters if parallel.rank == 0 else {})

    def _gathered(self, rows: Mapping[str, Tensor], parallel: Parallel) -> dict[str, Tensor]:
        """Each tensor whole, on the rank that has the least so far."""
        loads, found = [0] * parallel.size, {}
        for key in sorted(rows):
            shape = self.shapes[_parameter(key) or key]
            owner = loads.index(min(loads))
            loads[owner] += math.prod(shape)
            whole = parallel.gather(rows[key], shape, owner)
            if whole is not None:
                found[key] = whole.cpu()
        return found


def _parameter(key: str) -> str:
    """ "matrices/model.x.weight.momentum" to "model.x.weight"; empty for a group's counter."""
    return key.partition("/")[2].rpartition(".")[0]


class ShardedMuon:
    """The rule for the matrices of the blocks, each of them owned by one rank."""

    def __init__(
        self, names: Sequence[str], _: Sequence[Tensor], lr: float, decay: float, block: int, *,
        parallel: Parallel, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self._dtype = dtype  # of the gradients that travel, as of a single rank's
        self._parallel, self._lr, self._decay = parallel, lr, decay
        self._shapes = [shapes[name] for name in names]
        self._owned = [i for i in range(len(names)) if i % parallel.size == parallel.rank]
        like = [torch.empty(self._shapes[i], device=parallel.device) for i in self._owned]
        self._muon = Muon([names[i] for i in self._owned], like, lr, 0.0, block)

    def update(self, weights: list[Tensor], gradients: list[Tensor], scale: float, factor: float = 1.0) -> None:
        places = [(self._shapes[i], self._owner(i)) for i in range(len(weights))]
        pairs = zip(gradients, places, strict=True)
        whole = [self._parallel.gather(rows.to(self._dtype), *place) for rows, place in pairs]
        own = [gradient for gradient in whole if gradient is not None]
        steps = [torch.zeros_like(gradient, dtype=torch.float32) for gradient in own]
        self._muon.update(steps, own, scale, factor)
        mine = iter(steps)
        for weight, (shape, owner) in zip(weights, places, strict=True):
            step = next(mine) if owner == self._parallel.rank else None
            if self._decay:
                weight.mul_(1.0 - self._lr * scale * self._decay)
            weight.add_(self._parallel.scatter(step, weight, shape, owner))

    def _owner(self, index: int) -> int:
        return index % self._parallel.size

    def tensors(self) -> dict[str, Tensor]:
        """The memory of the matrices that this rank owns, whole."""
        return self._muon.tensors()
