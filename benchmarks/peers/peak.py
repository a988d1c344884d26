"""How fast does this machine multiply bfloat16 matrices, this very minute? The measure of MFU.

python benchmarks/peers/peak.py     # FLOP/s of 2048-cubed products with all processors: the best of about a second
"""

from __future__ import annotations

import time

import torch

SIZE = 2048


def peak(device: str = "cpu", seconds: float = 1.0, dtype: torch.dtype = torch.bfloat16) -> float:
    """FLOP/s of the fastest of the products that fit into `seconds`, at least five of them."""
    a = torch.randn(SIZE, SIZE).to(device, dtype)
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    a @ a
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        wait()
        start = time.perf_counter()
        a @ a
        wait()
        times.append(time.perf_counter() - start)
    return 2 * SIZE**3 / min(times)


if __name__ == "__main__":
    print(peak())
