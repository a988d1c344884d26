"""The model of the peers that bring none: Hugging Face's Qwen3 at exactly the shape of tenth's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Qwen3Config, Qwen3ForCausalLM

from tenth.trainer.model import Shape


def make(shape: dict[str, Any], attention: str = "sdpa", seed: int = 1234) -> Qwen3ForCausalLM:
    """Fresh weights, initialised as `transformers` does it (normal, deviation 0.02), in float32."""
    torch.manual_seed(seed)
    about = Shape(**shape).hugging_face_config()
    about.pop("torch_dtype")
    about.pop("architectures")
    config = Qwen3Config(**about, use_cache=False, attn_implementation=attention)
    return Qwen3ForCausalLM(config)


def logits_of(model: Qwen3ForCausalLM, bfloat16: bool, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """For the evaluation: the eager model, under autocast if it trains so."""

    def logits(ids: Tensor) -> Tensor:
        training = model.training
        model.eval()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bfloat16):
            found: Tensor = model(input_ids=ids).logits
        model.train(training)
        return found

    return logits


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class Chunks(Dataset[dict[str, Tensor]]):
    """The shared chunks, in their order. Every one of the `context` positions has a target, as in tenth's trainer.

    `shift_labels` says so to `transformers`, which would otherwise predict one position fewer.
    """

    def __init__(self, chunks: NDArray[np.uint16]) -> None:
        self._chunks = chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def __getitem__(self, at: int) -> dict[str, Tensor]:
        row = torch.from_numpy(self._chunks[at].astype(np.int64))
        return {"input_ids": row[:-1], "labels": row[1:], "shift_labels": row[1:]}
