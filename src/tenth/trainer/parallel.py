"""How ranks share a step: alone, replicated (DistributedDataParallel), or sharded (FSDP2).

Replicated, every rank holds weights and optimizer, sums the gradients with the others, and makes the same update.
Sharded, each rank holds its rows of every tensor (the first dimension, cut as `torch.chunk` cuts it) and its part of
the optimizer; a block is whole while it computes. Gradients are summed in float32 in both.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from .model import Transformer
from .ranks import STORE, Place

# A pull freezes all ranks in the middle of whatever they wait for, maybe for weeks, and must cost nothing (promise 3).
# A rank that died is seen by its parent, so no collective needs a limit of its own.
FOR_EVER = timedelta(days=3650)


@contextmanager
def joined(place: Place, kind: str, device: torch.device) -> Iterator[Parallel]:
    """The ranks, connected, for as long as the block lasts. `kind` is "ddp" or "fsdp"."""
    if place.size == 1:
        yield Parallel("alone", 0, 1, device)
        return
    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    os.environ["TORCH_NCCL_ENABLE_MONITORING"] = "0"  # its heartbeat takes a freeze for a hang
    store = dist.FileStore(  # type: ignore[attr-defined]
        str(place.meeting / STORE), place.size
    )
    engine = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(engine, store=store, rank=place.rank, world_size=place.size, timeout=FOR_EVER)
    try:
        yield Parallel(kind, place.rank, place.size, device)
    finally:
        dist.destroy_process_group()


class Parallel:
    """What one rank needs of the others. Every method but `own` must be called by all ranks alike."""

    def __init__(self, kind: str, rank: int, size: int, device: torch.device) -> None:
        self.kind, self.rank, self.size, self.device = kind, rank, size, device
        self._kept: dict[Tensor, Tensor] = {}  # float32 sums of the pieces before the last, by parameter

    # --- weights ------------------------------------------------------------------------------------------------------

    def shard(self, model: Transformer, dtype: torch.dtype) -> None:
        """Leave each rank its rows of `model`'s parameters; a block is whole only while it computes, in `dtype`."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        mesh = init_device_mesh(self.device.type, (self.size,))
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for block in model.model.layers:
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(model, mesh=mesh, mp_policy=policy)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """`objective` (inputs, targets) -> loss, whose backward pass sums gradients over the ranks."""
        if self.kind != "ddp":
            return objective
        # Looking for unused parameters keeps the buckets as they are: otherwise they are laid out anew after the first
        # step of a lease, sums of three and more ranks come in another order, and resumed differs from uninterrupted.
        # One parameter that is unused spares every lease a warning that there is none.
        objective.register_parameter("unused", nn.Parameter(torch.zeros(1, device=self.device)))
        wrapped = nn.parallel.DistributedDataParallel(objective, find_unused_parameters=True)
        wrapped.register_comm_hook(None, lambda _, bucket: self._sum_bucket(bucket))
        return wrapped

    def rows(self, count: int) -> slice:
        """Which of a tensor's `count` rows this rank holds."""
        each = -(-count // self.size)
        return slice(min(self.rank * each, count), min((self.rank + 1) * each, count))

    def gather(self, part: Tensor, shape: Sequence[int], owner: int) -> Tensor | None:
        """The whole tensor of `shape`, of which every rank holds the rows `part`: on rank `owner`, None elsewhere."""
        import torch.distributed as dist

        padded = _padded(part, -(-shape[0] // self.size))
        mine = owner == self.rank
        every = [torch.empty_like(padded) for _ in range(self.size)] if mine else None
        dist.gather(padded, every, dst=owner)
        return None if every is None else torch.cat(every)[: shape[0]]

    def scatter(self, whole: Tensor | None, like: Tensor, shape: Sequence[int], owner: int) -> Tensor:
        """This rank's rows, as many as `like` has, of a tensor of `shape` that is whole on rank `owner` only."""
        import torch.distributed as dist

        each = -(-shape[0] // self.size)
        parts = None if whole is None else list(_padded(whole, each * self.size).chunk(self.size))
        part = like.new_empty((each, *shape[1:]))
        dist.scatter(part, parts, src=owner)
        return part[: like.shape[0]]

    # --- gradients ----------------------------------------------------------------------------------------------------

    def gradient_share(self) -> float:
        """What a rank multiplies its loss with, so that gradients add up: FSDP divides their sum by the ranks."""
        return float(self.size) if self.kind == "fsdp" else 1.0

    def piece(self, objective: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of one piece of a step: only after the last are gradients exchanged."""
        return nullcontext() if last or self.kind != "ddp" else objective.no_sync()  # type: ignore[operator]

    def keep(self, parameters: Sequence[Tensor]) -> None:
        """After each piece but the last: move bfloat16 gradients into float32 sums."""
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.dtype != torch.float32:
                kept = self._kept.get(parameter)
                self._kept[parameter] = parameter.grad.float() if kept is None else kept.add_(parameter.grad)
                parameter.grad = None

    def put_back(self) -> None:
        """After the last piece: gradients of all pieces, rounded to the working precision once."""
        for parameter, kept in self._kept.items():
            if self.kind != "ddp":  # else the bucket has them already
                parameter.grad = (kept if parameter.grad is None else kept.add_(parameter.grad)).to(parameter.dtype)
        self._kept.clear()

    def _sum_bucket(self, bucket: Any) -> Any:
        import torch.distributed as dist

        flat = bucket.buffer()
        dtype, flat = flat.dtype, flat.float()
        parameters = bucket.parameters()
        for parameter, place in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            if parameter in self._kept:
                place.add_(self._kept[parameter].view(-1))
        summed = dist.all_reduce(flat, async_op=True).get_future()
        return summed.then(lambda done: done.value()[0].to(dtype))

    # --- numbers ------------------------------------------------------------------------------------------------------

    def total(self, value: float) -> float:
        """The sum over all ranks, the same on each."""
        if self.kind == "alone":
            return value
        import torch.distributed as dist

        number = torch.tensor([value], dtype=torch.float64 if self.device.type == "cpu" else torch.float32)
        number = number.to(self.device)
        dist.all_reduce(number)
        return float(number)

    def norm(self, own: float) -> float:
        """The norm of all gradients from that of this rank's."""
        return math.sqrt(self.total(own * own)) if self.kind == "fsdp" else own

    def agree(self, wanted: bool) -> bool:
        """Whether to do now what rank 0 wants: by all ranks if weights are sharded, else by rank 0 alone."""
        return self.total(float(wanted)) > 0 if self.kind == "fsdp" else wanted

    def wait(self) -> None:
        """Until all ranks are here."""
        self.total(0.0)

    @contextmanager
    def first(self) -> Iterator[None]:
        """Rank 0 runs the block before the others do: what it builds, they find."""
        if self.rank:
            self.wait()
        yield
        if not self.rank:
            self.wait()


def _padded(tensor: Tensor, rows: int) -> Tensor:
    """With zeros at the end, up to `rows` rows: collectives want the same size of every rank."""
    if tensor.shape[0] == rows:
        return tensor.contiguous()
    padded = tensor.new_zeros((rows, *tensor.shape[1:]))
    padded[: tensor.shape[0]] = tensor
    return padded
