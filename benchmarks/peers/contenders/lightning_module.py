"""Lightning: a plain LightningModule around a Qwen3 model, compiled as its documentation shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import lightning
import torch
from torch.utils.data import DataLoader
from transformers import get_cosine_schedule_with_warmup

from peers import qwen3
from peers.meter import Meter, plan_of_this_process


class Module(lightning.LightningModule):
    """Loss and optimizer, nothing else."""

    def __init__(self, model: Any, lr: float, steps: int) -> None:
        super().__init__()
        self.model, self.lr, self.steps = model, lr, steps

    def training_step(self, batch: dict[str, Any], _: int) -> Any:
        return self.model(**batch).loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.0)
        schedule = get_cosine_schedule_with_warmup(optimizer, -(-self.steps // 20), self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Metering(lightning.Callback):
    """Tells the meter about every step."""

    def __init__(self, meter: Meter, model: Any, precision: str) -> None:
        self.meter, self.model, self.precision = meter, model, precision

    def on_train_start(self, *_: Any) -> None:
        logits = qwen3.logits_of(self.model, self.precision == "bfloat16")
        self.meter.begin(qwen3.parameters(self.model), logits, precision=self.precision)

    def on_train_batch_end(self, trainer: Any, _module: Any, outputs: Any, *_: Any) -> None:
        if self.meter.step(float(outputs["loss"])):
            trainer.should_stop = True


def main() -> None:
    plan = plan_of_this_process()
    meter = Meter(plan)
    shared, settings = plan.shared, plan.settings
    model = qwen3.make(shared.facts["shape"], settings.get("attention", "sdpa"))
    module = Module(model, settings["lr"], plan.steps)
    bfloat16 = bool(settings.get("bfloat16"))
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, precision="bf16-mixed" if bfloat16 else "32-true", max_steps=plan.steps,
        gradient_clip_val=1.0, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=plan.work,
        callbacks=[Metering(meter, model, "bfloat16" if bfloat16 else "float32")],
    )  # fmt: skip
    fitted = torch.compile(module) if settings.get("compile") else module
    trainer.fit(fitted, DataLoader(qwen3.Chunks(shared.train()), batch_size=shared.facts["batch"]))
    meter.end()


if __name__ == "__main__":
    main()
