"""How good is a model on the held-out windows? One piece of code for every contender."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WINDOWS_AT_ONCE = 8


@torch.no_grad()
def evaluate(
    logits: Callable[[Tensor], Tensor],
    windows: NDArray[np.uint16],
    token_bytes: NDArray[np.int64],
    device: str = "cpu",
) -> dict[str, float]:
    """Mean over all positions: `nats` a token and `bits_per_byte`.

    `logits`: token ids (B, T) to (B, T, V), in the contender's arithmetic; the softmax is in float32 here.
    Each window is read with no memory of the one before it; every position but the first token of each is predicted.
    """
    nats, size, count = 0.0, 0, 0
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        rows = torch.from_numpy(windows[start : start + WINDOWS_AT_ONCE].astype(np.int64)).to(device)
        found = logits(rows[:, :-1]).float()
        losses = torch.nn.functional.cross_entropy(found.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum")
        nats += losses.item()
        targets = windows[start : start + WINDOWS_AT_ONCE, 1:]
        size += int(token_bytes[targets].sum())
        count += targets.size
    return {"nats": nats / count, "bits_per_byte": nats / math.log(2) / size}
