"""Whether the blocks are compiled, and their compiled form: decided at a run's first lease and kept in its checkpoints.

All blocks share one graph, for one shape of their input; whatever has another shape (the last step of an epoch, what
samples and evidence read) runs uncompiled. Which steps are compiled is therefore known from the recipe and the data
alone, and interrupted equals uninterrupted. Results of the compiler lie in the run's cache and load in later leases.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .flops import flop_per_token
from .model import Transformer
from .peak import machine
from .recipe import TrainRecipe

WORTH = 2e13  # FLOP of a tenth: a minute or less; below it the compiler costs more than it gains
COMPILERS = ("g++", "clang++", "c++")


def decide(
    recipe: TrainRecipe, model: Transformer, sequences: int, steps: float, state: Mapping[str, Any], work: Path
) -> None:
    """Compile `model`'s blocks if recipe and checkpoint say so, for `sequences` at once; a tenth has `steps`."""
    device = model.lm_head.weight.device
    wanted = recipe.compile == "true"
    if recipe.compile == "auto":
        # By no stopwatch: a machine always answers alike. Later as the run began: arithmetic must not change midway.
        flop = steps * recipe.batch * model.shape.context * flop_per_token(model.shape)
        wanted = bool(state.get("compiled", flop >= WORTH and has_compiler(device)))
    if wanted and not has_compiler(device):
        print("The blocks are not compiled: no C++ compiler was found; training goes on without", flush=True)
    elif wanted:
        compile_blocks(model, sequences, work)


def has_compiler(device: torch.device) -> bool:
    if device.type != "cpu" and importlib.util.find_spec("triton") is None:
        return False
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in ([named] if named else COMPILERS))


def compile_blocks(model: Transformer, sequences: int, work: Path) -> bool:
    """Make `model` run its blocks compiled for (`sequences`, context) tokens; False, and one line, where it cannot.

    One block is tried forwards and backwards, so that what fails, fails here and not within a step.
    """
    use_cache(work)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own imports
            run = torch.compile(_run, dynamic=False, fullgraph=True)
            _try(model, run, sequences)
    except Exception as error:  # noqa: BLE001 (a compiler fails in many ways, and training can go on without)
        said = str(error).strip().partition("\n")[0]
        print(f"The blocks are not compiled ({type(error).__name__}: {said[:200]}); training goes on", flush=True)
        return False
    model.compiled = run
    model.compiled_for = (sequences, model.shape.context)
    return True


def use_cache(work: Path) -> None:
    """Keep the compiler's results in the run's folder, apart by all that may not be mixed."""
    folder = work.resolve() / "cache" / f"compiled-{machine(torch.device('cpu'))}"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = str(min(8, len(os.sched_getaffinity(0))))
    os.environ["TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"] = "1"  # there are some thirty kernels to compile


def _run(block: nn.Module, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    out: Tensor = block(x, cos, sin)
    return out


def _try(model: Transformer, run: Callable[..., Tensor], sequences: int) -> None:
    block = model.model.layers[0]
    weight = model.model.embed_tokens.weight
    x = torch.zeros(sequences, model.shape.context, model.shape.width, dtype=weight.dtype, device=weight.device)
    cos, sin = model.angles(model.shape.context, x)
    before = torch.get_rng_state()
    run(block, x.requires_grad_(), cos, sin).sum().backward()  # type: ignore[no-untyped-call]
    torch.set_rng_state(before)
    for parameter in block.parameters():
        parameter.grad = None
