"""Who takes part: the script of each contender and its settings; README.md gives the reason for each setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One trainer with one set of settings."""

    name: str
    title: str
    script: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arenas: bool = False
    """Begun with the settings of the C library's allocator that tenth's trainer gives itself."""
    own_environment: bool = False
    """Runs in the environment that run.py makes for litgpt."""


BEST = {"bfloat16": True, "compile": True, "lr": 1e-3}
ALL = {
    one.name: one
    for one in (
        Contender("tenth", "tenth", "tenth_own.py", arenas=True),
        Contender("trainer", "Trainer, bfloat16, compiled", "hf_trainer.py", BEST),
        Contender("trainer-plain", "Trainer as it comes", "hf_trainer.py", {"lr": 1e-3}),
        Contender("trainer-arenas", "Trainer, with tenth's allocator setting", "hf_trainer.py", BEST, arenas=True),
        Contender("lightning", "Lightning, bfloat16, compiled", "lightning_module.py", BEST),
        Contender("litgpt", "litgpt, bfloat16, compiled", "litgpt_pretrain.py", BEST, own_environment=True),
    )
}
