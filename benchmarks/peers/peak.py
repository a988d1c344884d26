"""How fast does this machine multiply bfloat16 matrices, this very minute? The measure of MFU, the trainer's own.

python benchmarks/peers/peak.py     # FLOP/s of 2048-cubed products with all processors: the best of about a second
"""

from __future__ import annotations

import torch

from tenth.trainer.peak import measure_peak

ROUNDS = 4
"""Each takes a quarter of a second."""


def peak(device: str = "cpu") -> float:
    """FLOP/s of the fastest product."""
    return max(measure_peak(torch.bfloat16, torch.device(device)) for _ in range(ROUNDS))


if __name__ == "__main__":
    print(peak())
