"""A plain PyTorch loop under the law: six lines join it, marked with their numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import tenth  # 1

CONTEXT, BATCH, WIDTH = 64, 16, 128


def read_bytes(listing: Path, root: Path) -> Tensor:
    """Every byte of the documents in the listing, as int64."""
    import json

    names = [json.loads(line)["path"] for line in listing.read_text().splitlines()]
    return torch.frombuffer(bytearray(b"".join((root / name).read_bytes() for name in names)), dtype=torch.uint8).long()


def batches(data: Tensor, start: int, steps: int) -> list[Tensor]:
    """The batches of an epoch from step `start`: fixed by a seed, so that every process sees the same order."""
    order = torch.randperm(len(data) - CONTEXT - 1, generator=torch.Generator().manual_seed(0))
    rows = order[: steps * BATCH].view(steps, BATCH)[start:]
    return [torch.stack([data[i : i + CONTEXT + 1] for i in row.tolist()]) for row in rows]


def save(folder: Path, model: nn.Module, momentum: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    save_file(momentum, folder / "optimizer.safetensors")
    return folder


class Bytes(nn.Module):
    """Guess the next byte: an embedding, a recurrent layer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, WIDTH)
        self.mix = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, ids: Tensor) -> Tensor:
        mixed, _ = self.mix(self.embed(ids))
        logits: Tensor = self.head(mixed)
        return logits


def train(run: tenth.Run) -> None:
    torch.manual_seed(0)
    model = Bytes()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    if run.resume_from:  # 3
        model.load_state_dict(load_file(run.resume_from / "model.safetensors"))
        memory = load_file(run.resume_from / "optimizer.safetensors")
        for name, parameter in model.named_parameters():
            optimizer.state[parameter]["momentum_buffer"] = memory[name]
    data = read_bytes(run.lease.data, run.lease.root)
    total = min(500, (len(data) - CONTEXT - 1) // BATCH)
    for batch in run.steps(batches(data, run.position, total)):  # 4
        logits = model(batch[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.report(loss=loss.item(), tokens=batch.numel())  # 5
    momentum = {name: optimizer.state[p]["momentum_buffer"] for name, p in model.named_parameters()}
    run.checkpoint(save(run.work / "checkpoint", model, momentum))  # 6


if __name__ == "__main__":
    with tenth.attach() as run:  # 2
        train(run)
