"""The machine's own peak, by which a step's speed is judged: the fastest of a few products of 2048-cubed matrices."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from pathlib import Path

import torch

SIZE = 2048
SECONDS = 0.25  # enough for ten products of a small processor
MOST = 10
CPU_FACTS = ("model name", "flags", "Features", "CPU part")  # lines of /proc/cpuinfo


def machine(device: torch.device) -> str:
    """A short digest of all that decides what code may run here, and how fast."""
    facts = [torch.__version__, platform.python_version(), platform.machine(), str(torch.get_num_threads())]
    if device.type == "cuda":
        facts.append(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = [platform.processor()]
    facts += [line for line in lines if line.startswith(CPU_FACTS)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def measure_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of the best product within a quarter of a second, at most ten."""
    a = torch.ones(SIZE, SIZE, dtype=dtype, device=device)
    best, end = float("inf"), time.perf_counter() + SECONDS
    for index in range(MOST + 1):
        start = time.perf_counter()
        torch.mm(a, a)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        if index:  # the first one also loads the code
            best = min(best, now - start)
            if now > end:
                break
    return 2.0 * SIZE**3 / best


def per_device_second() -> float:
    """FLOP in a second of processor time, by one thread, in the faster of float32 and bfloat16; or of one GPU's time.

    Processor time and not the clock, so that other work on the machine does not make it look slower than it is.
    """
    if torch.cuda.is_available():
        return max(measure_peak(dtype, torch.device("cuda")) for dtype in (torch.float32, torch.bfloat16))
    torch.set_num_threads(1)
    best = float("inf")
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(SIZE, SIZE, dtype=dtype)
        for index in range(4):
            start = time.thread_time()
            torch.mm(a, a)
            if index:
                best = min(best, time.thread_time() - start)
    return 2.0 * SIZE**3 / best


def known_peak(precision: str, device: torch.device, work: Path) -> float:
    """As measured in this run's first lease on this machine: a ratio to it can be compared from tenth to tenth."""
    path = work / "cache" / f"peak-{precision}-{machine(device)}.json"
    try:
        return float(json.loads(path.read_text("utf-8"))["flop_per_second"])
    except (OSError, ValueError, KeyError, TypeError):
        found = measure_peak(getattr(torch, precision), device)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"flop_per_second": found}) + "\n", "utf-8")
        return found
