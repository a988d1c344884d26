"""What one device-second can compute at most: measured by a trainer's best matrix product, kept per machine.

The ceiling's FLOP are device-seconds times this, so that they do not rest on what the trainer says. Outside the core:
the number is pinned in the manifest, which every consent covers.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tenth.encoding import write_durably
from tenth.errors import RunRefused

SECONDS = 60.0
CYCLES_PER_SECOND = 6e9
"""More than any processor does."""
FLOP_PER_CYCLE = (("amx_bf16", 2048), ("avx512_bf16", 128), ("avx512f", 64), ("avx2", 32), ("asimd", 32))
"""Of one core, by the widest instructions it has (flags of /proc/cpuinfo): vendors' optimisation manuals."""


def of_this_machine(gpus: Sequence[int] = ()) -> dict[str, Any]:
    """``{flop_per_device_second, flop_how}``: measured where torch is installed, else the most that is thinkable.

    With ``gpus``, the numbers of accelerators that are granted, it is theirs: the most that any device computes.
    """
    granted = ",".join(map(str, gpus))
    facts = f"{_facts()}\ngranted: {granted}" if gpus else _facts()
    kept = _cache() / f"peak-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.json"
    try:
        return dict(json.loads(kept.read_text("utf-8")))
    except (OSError, ValueError):
        pass
    found = _measured(granted)
    if found is None and gpus:
        do = "install tenth's trainer, and a build of PyTorch for these devices"
        raise RunRefused("the accelerators' peak was not measured", "without it their FLOP cannot be counted", do)
    if found is None:
        return {"flop_per_device_second": thinkable(facts), "flop_how": "not measured: what its instructions allow"}
    of = "an accelerator's" if gpus else "one thread's"
    peak = {"flop_per_device_second": found, "flop_how": f"measured: {of} best product of matrices"}
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_durably(kept, json.dumps(peak).encode())
    except OSError:
        pass  # measured again next time
    return peak


def thinkable(facts: str) -> float:
    """FLOP/s of a core that does its widest instruction in every cycle."""
    flags = set(facts.split())
    return CYCLES_PER_SECOND * next((flop for flag, flop in FLOP_PER_CYCLE if flag in flags), 16)


def _measured(granted: str) -> float | None:
    command, env = [sys.executable, "-m", "tenth.trainer", "peak"], {**os.environ, "CUDA_VISIBLE_DEVICES": granted}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SECONDS, check=True, stdin=subprocess.DEVNULL, env=env
        )
        return float(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def _facts() -> str:
    """All that decides how fast a core is, and the library that measures it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:
        lines = []
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join([_version("torch"), _version("tenth"), *(line for line in lines if line.startswith(kinds))])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenth"
