"""Which device, arithmetic and threads this machine trains with: decided once a run and kept in the checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from .errors import RecipeError
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


def count_ranks(recipe: TrainRecipe, device: torch.device) -> int:
    """How many processes train together: as the recipe says, else one, or one for each device of CUDA."""
    count = recipe.ranks or (torch.cuda.device_count() if device.type == "cuda" else 1)
    shares = count * recipe.accumulate
    if recipe.batch % shares:
        found = f"train.batch = {recipe.batch} where {count} ranks take {recipe.accumulate} pieces each"
        raise RecipeError("The recipe was refused.", found, f"choose a multiple of {shares}, or give train.ranks")
    return count


def set_threads(recipe: TrainRecipe, ranks: int = 1) -> int:
    """Use `threads`, or this rank's share of the processors that it may use; returns the number."""
    threads = recipe.threads or max(1, len(os.sched_getaffinity(0)) // ranks)
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    return threads
