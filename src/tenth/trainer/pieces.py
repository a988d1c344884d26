"""Long tensors in pieces that stay in a processor's cache while several operations pass over them.

An optimizer is a dozen passes over all weights. On a CPU each pass over the whole would go to main memory and back; on
a GPU what costs is the number of launches, so there everything goes at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

ELEMENTS = 1 << 18  # a megabyte of float32


def pieces(*columns: list[Tensor]) -> Iterator[list[list[Tensor]]]:
    """Rows of aligned views, one list for each column: short pieces of one tensor on a CPU, else all tensors at once.

    The tensors of a row have one shape, and are contiguous on a CPU.
    """
    if not columns[0] or columns[0][0].device.type != "cpu":
        yield list(columns)
        return
    for tensors in zip(*columns, strict=True):
        for views in zip(*(t.view(-1).split(ELEMENTS) for t in tensors), strict=True):
            yield [[view] for view in views]


def scaled(gradients: list[Tensor], factor: float) -> list[Tensor]:
    """As float32, times `factor`; the gradients stay as they are."""
    wide = [g.float() for g in gradients]
    return wide if factor == 1.0 else list(torch._foreach_mul(wide, factor))
