"""Which device, arithmetic and threads this machine trains with: decided once a run and kept in the checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from .recipe import TrainRecipe

FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")  # processor flags; without them bfloat16 is emulated, slower than float32


def choose_device(recipe: TrainRecipe) -> torch.device:
    if recipe.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(recipe.device)


def choose_precision(recipe: TrainRecipe, device: torch.device) -> str:
    """ "bfloat16" or "float32"; by flags and not by a stopwatch, so that one machine always answers alike."""
    if recipe.precision != "auto":
        return recipe.precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if fast_bfloat16() else "float32"


def fast_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n", 1)[0].split()
    except OSError:
        return False
    return any(flag in flags for flag in FAST_BFLOAT16)


def set_threads(recipe: TrainRecipe) -> int:
    """Use `threads`, or every processor that this process may use; returns the number."""
    threads = recipe.threads or len(os.sched_getaffinity(0))
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return threads
