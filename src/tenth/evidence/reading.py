"""A checkpoint's model as evidence reads it: in bfloat16 where the processor is fast at it, as it was trained there."""

from __future__ import annotations

from pathlib import Path

import torch

from tenth.trainer.checkpoint import load_model
from tenth.trainer.model import Transformer
from tenth.trainer.precision import fast_bfloat16


def reader(checkpoint: Path) -> Transformer:
    """Raises CheckpointError."""
    return load_model(checkpoint, torch.bfloat16 if fast_bfloat16() else torch.float32)
