"""litgpt's `pretrain.setup`, with its own model at the same shape.

Its loop has no callbacks: the end of a step is seen when it asks for the next batch, and the clock begins when it asks
for the first one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from litgpt import pretrain
from litgpt.args import EvalArgs, LogArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from torch.utils.data import DataLoader, Dataset, IterableDataset

from peers.data import Shared
from peers.meter import Enough, Meter, plan_of_this_process


class Metered(IterableDataset[Any]):
    """The shared chunks in their order, telling the meter about every step."""

    def __init__(self, shared: Shared, begin: Any, meter: Meter) -> None:
        self._chunks, self._batch = shared.train(), shared.facts["batch"]
        self._begin, self._meter = begin, meter

    def __iter__(self) -> Iterator[Any]:
        self._begin()
        for start in range(0, len(self._chunks), self._batch):
            yield torch.from_numpy(self._chunks[start : start + self._batch].astype(np.int64))
            if self._meter.step():
                raise Enough


class Rows(Dataset[Any]):
    """The held-out windows, for the two batches that litgpt tries before it trains."""

    def __init__(self, shared: Shared) -> None:
        self._rows = shared.held_out()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: int) -> Any:
        return torch.from_numpy(self._rows[at].astype(np.int64))


class Data(DataModule):
    """What litgpt asks its loaders from."""

    def __init__(self, train: Metered, held_out: Rows, batch: int) -> None:
        super().__init__()
        self._train, self._held_out, self._batch = train, held_out, batch

    def connect(self, *_: Any, **__: Any) -> None:
        pass

    def train_dataloader(self) -> Any:
        return DataLoader(self._train, batch_size=None)

    def val_dataloader(self) -> Any:
        return DataLoader(self._held_out, batch_size=self._batch)


def config(shape: dict[str, Any]) -> Config:
    """litgpt's own description of Qwen3, at this shape."""
    return Config(
        name="peers", block_size=shape["context"], vocab_size=shape["vocabulary"],
        padded_vocab_size=shape["vocabulary"], n_layer=shape["layers"], n_head=shape["heads"], n_embd=shape["width"],
        n_query_groups=shape["kv_heads"], head_size=shape["head_width"], rotary_percentage=1.0,
        parallel_residual=False, bias=False, norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP",
        intermediate_size=shape["mlp_width"], norm_eps=1e-6, rope_base=int(shape["rope_base"]), norm_qk=True,
    )  # fmt: skip


def main() -> None:
    plan = plan_of_this_process()
    meter = Meter(plan)
    shared, settings = plan.shared, plan.settings
    batch = shared.facts["batch"]
    bfloat16 = bool(settings.get("bfloat16"))
    state: dict[str, Any] = {}
    fit = pretrain.fit

    def remembered(*words: Any, **more: Any) -> None:
        state.update(more["state"])
        fit(*words, **more)

    def begin() -> None:
        model = state["model"]
        plain = getattr(model, "_forward_module", model)
        plain = getattr(plain, "_orig_mod", plain)

        def logits(ids: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                return plain(ids)

        count = sum(parameter.numel() for parameter in plain.parameters())
        meter.begin(count, logits, precision="bfloat16" if bfloat16 else "float32")

    pretrain.fit = remembered
    lr = settings["lr"]
    try:
        pretrain.setup(
            model_name="peers",
            model_config=config(shared.facts["shape"]),
            out_dir=Path(plan.work),
            precision="bf16-mixed" if bfloat16 else "32-true",
            data=Data(Metered(shared, begin, meter), Rows(shared), batch),
            train=TrainArgs(
                save_interval=None, log_interval=100, global_batch_size=batch, micro_batch_size=batch,
                max_tokens=plan.steps * batch * shared.facts["shape"]["context"], max_norm=1.0, min_lr=lr / 10,
                lr_warmup_steps=-(-plan.steps // 20), tie_embeddings=False,
            ),
            eval=EvalArgs(interval=10**9, max_iters=2, initial_validation=False, final_validation=False),
            log=LogArgs(),
            optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": lr, "weight_decay": 0.0}},
            devices=1,
            logger_name="csv",
        )  # fmt: skip
    except Enough:
        pass
    meter.end()


if __name__ == "__main__":
    main()
