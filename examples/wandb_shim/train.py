"""A loop that logs to wandb, under the law: the import changes, the calls do not."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import tenth
import tenth.client.wandb as wandb


def batches(start: int, total: int) -> list[torch.Tensor]:
    """Every step has numbers of its own, so that every process sees the same ones."""
    return [torch.randn(32, 8, generator=torch.Generator().manual_seed(step)) for step in range(start, total)]


def train(run: tenth.Run) -> None:
    wandb.init(project="sums", config={"learning_rate": 0.05}, run=run)
    wandb.define_metric("loss", summary="min")
    weights = torch.zeros(8, requires_grad=True)
    if run.resume_from:
        weights = load_file(run.resume_from / "model.safetensors")["weights"].requires_grad_()
    for batch in run.steps(batches(run.position, 2000), total=2000):
        loss = (batch @ weights - batch.sum(1)).square().mean()
        (gradient,) = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            weights -= wandb.config.learning_rate * gradient
        wandb.log({"loss": loss, "grad": {"norm": gradient.norm()}, "step_is_even": run.position % 2 == 0})
    wandb.finish()
    folder = Path(run.work / "checkpoint")
    folder.mkdir(exist_ok=True)
    save_file({"weights": weights.detach()}, folder / "model.safetensors")
    run.checkpoint(folder)


if __name__ == "__main__":
    with tenth.attach() as run:
        train(run)
