"""Hugging Face `Trainer` with a Qwen3 model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from peers import qwen3
from peers.meter import Meter, plan_of_this_process


class Metering(TrainerCallback):
    """Tells the meter about every step."""

    def __init__(self, meter: Meter) -> None:
        self.meter, self.loss = meter, None

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> Any:
        if self.meter.step(self.loss):
            control.should_training_stop = True
        return control


class Observed(Trainer):
    """`Trainer`, whose losses can be seen."""

    metering: Metering

    def training_step(self, *words: Any, **more: Any) -> Any:
        loss = super().training_step(*words, **more)
        self.metering.loss = loss.item()
        return loss


def arguments(folder: str, steps: int, batch: int, settings: dict[str, Any]) -> TrainingArguments:
    """What is set, and nothing else."""
    return TrainingArguments(
        output_dir=folder, max_steps=steps, per_device_train_batch_size=batch, use_cpu=not torch.cuda.is_available(),
        bf16=settings.get("bfloat16", False), torch_compile=settings.get("compile", False),
        learning_rate=settings["lr"], lr_scheduler_type="cosine", warmup_steps=0.05,
        train_sampling_strategy="sequential", remove_unused_columns=False, logging_strategy="no", save_strategy="no",
        report_to="none", disable_tqdm=True,
    )  # fmt: skip


def main() -> None:
    plan = plan_of_this_process()
    meter = Meter(plan)
    shared, settings = plan.shared, plan.settings
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = qwen3.make(shared.facts["shape"], settings.get("attention", "sdpa"))
    metering = Metering(meter)
    trainer = Observed(
        model=model,
        args=arguments(plan.work, plan.steps, shared.facts["batch"], settings),
        train_dataset=qwen3.Chunks(shared.train()),
        callbacks=[metering],
    )
    trainer.metering = metering
    bfloat16 = bool(settings.get("bfloat16"))
    logits = qwen3.logits_of(model, bfloat16, device)
    meter.begin(qwen3.parameters(model), logits, device, precision="bfloat16" if bfloat16 else "float32")
    trainer.train()
    meter.end()


if __name__ == "__main__":
    main()
