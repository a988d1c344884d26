"""A Lightning module under the law: six lines join it, marked with their numbers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import tenth  # 1
from tenth.client.lightning import TenthCallback  # 2


class Pieces(Dataset[Tensor]):
    """The bytes of the documents in a listing, cut into pieces of `context` + 1."""

    def __init__(self, listing: Path, root: Path, context: int) -> None:
        names = [json.loads(line)["path"] for line in listing.read_text().splitlines()]
        data = torch.frombuffer(bytearray(b"".join((root / name).read_bytes() for name in names)), dtype=torch.uint8)
        self.pieces = data.long().unfold(0, context + 1, context)

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Tensor:
        return self.pieces[index]


class Bytes(LightningModule):
    """Guess the next byte: an embedding, a recurrent layer, dropout and a head."""

    def __init__(self, width: int, dropout: float, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.embed = nn.Embedding(256, width)
        self.mix = nn.GRU(width, width, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 256))

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.mix(self.embed(ids))[0])
        return logits

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:  # noqa: ARG002 (Lightning's signature)
        logits = self(batch[:, :-1])
        return nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate)
        steps = int(self.trainer.estimated_stepping_batches)  # of the whole phase, not of a tenth
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def write_on(module: Bytes, prompts: Sequence[str]) -> list[str]:
    """Thirty-two bytes after each prompt."""
    texts = []
    for prompt in prompts:
        ids = list(prompt.encode() or b"\n")
        for _ in range(32):
            chances = module(torch.tensor([ids]))[0, -1].softmax(-1)
            ids.append(int(torch.multinomial(chances, 1)))
        texts.append(bytes(ids[len(prompt.encode() or b"\n") :]).decode("utf-8", "replace"))
    return texts


def train(run: tenth.Run) -> None:
    recipe = tomllib.loads(run.lease.recipe.read_text())
    torch.manual_seed(0)
    pieces = Pieces(run.lease.data, run.lease.root, recipe["context"])
    module = Bytes(recipe["width"], recipe["dropout"], recipe["learning_rate"])
    gate = TenthCallback(run, sample=write_on)  # 3
    trainer = Trainer(
        max_epochs=run.lease.epochs, callbacks=[gate], enable_checkpointing=False, logger=False,  # 4
        accelerator="auto", devices=1, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loader = gate.loader(DataLoader(pieces, batch_size=recipe["batch"], shuffle=True))  # 5
    trainer.fit(module, loader, ckpt_path=gate.resume_from, weights_only=True)


if __name__ == "__main__":
    with tenth.attach() as run:  # 6
        train(run)
