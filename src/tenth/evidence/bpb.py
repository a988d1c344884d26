"""Bits per byte on documents that were never trained on, beside the previous checkpoint, with a standard error.

Bits per byte does not depend on the tokenizer, so runs with different ones may be compared. The difference between two
checkpoints is paired by document: what is hard for one is hard for both, and most of the spread cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from tenth.trainer import tokenizer
from tenth.trainer.held_out import Document
from tenth.trainer.model import Transformer

from .questions.paired import ratios
from .reading import reader
from .sealed import Sealed, held_out_texts, write

DOCUMENTS = 24
CHARACTERS = 6_000  # of each document: bounds the command to seconds, and gives no document the word
WINDOWS_AT_ONCE = 8


@dataclass(frozen=True)
class Score:
    """One document under one checkpoint."""

    path: str
    bytes: int
    tokens: int
    nats: float

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


def main(sealed: Sealed) -> None:
    if sealed.checkpoint is None:
        write(sealed, "No checkpoint yet: nothing to measure.", {}, {})
        return
    texts = held_out_texts(sealed, sealed.checkpoint, CHARACTERS, DOCUMENTS)
    if not texts:
        write(sealed, "No held-out documents: set data.held_out in the recipe.", {"documents": 0}, {})
        return
    now = score(sealed.checkpoint, texts)
    before = score(sealed.previous, texts) if sealed.previous else None
    metrics = totals(now)
    headline = f"{metrics['bits_per_byte']:.3f} bits per byte on {len(now)} held-out documents"
    if before:
        change, error = paired_difference(now, before)
        metrics |= {"previous_bits_per_byte": totals(before)["bits_per_byte"], "change": change, "change_error": error}
        headline += f" ({change:+.3f} ± {error:.3f} since the previous gate)"
    rows = [_row(s, before[i] if before else None) for i, s in enumerate(now)]
    table = {"title": "Bits per byte by document", "columns": ["document", "now", "before"],
             "rows": [[r["path"], r["bits_per_byte"], r["previous"]] for r in rows]}  # fmt: skip
    write(sealed, headline, metrics, {"documents": rows}, [table])


def totals(scores: list[Score]) -> dict[str, float]:
    nats, size, tokens = sum(s.nats for s in scores), sum(s.bytes for s in scores), sum(s.tokens for s in scores)
    return {
        "bits_per_byte": nats / math.log(2) / size, "nats_per_token": nats / tokens,
        "documents": float(len(scores)), "bytes": float(size), "tokens": float(tokens),
    }  # fmt: skip


def paired_difference(now: list[Score], before: list[Score]) -> tuple[float, float]:
    """Change of total bits per byte, and its standard error over documents; one document tells of no error."""
    bits, earlier = ([s.nats / math.log(2) for s in scores] for scores in (now, before))
    found = ratios(bits, earlier, [s.bytes for s in now])
    return found.change, found.error if len(now) > 1 else 0.0


@torch.no_grad()
def score(checkpoint: Path, texts: list[tuple[Document, str]]) -> list[Score]:
    """Nats of each text in windows of the model's context; each window is read with no memory of the one before."""
    model = reader(checkpoint)
    text = tokenizer.from_file(checkpoint / "tokenizer.json")
    rows = [[text.separator, *ids] for ids in text.encode([content for _, content in texts])]
    windows = [(i, row[at : at + model.shape.context + 1])
               for i, row in enumerate(rows) for at in range(0, len(row) - 1, model.shape.context)]  # fmt: skip
    nats = [0.0] * len(rows)
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        batch = windows[start : start + WINDOWS_AT_ONCE]
        for (i, _), value in zip(batch, _window_nats(model, [ids for _, ids in batch], text.separator), strict=True):
            nats[i] += value
    return [Score(d.path, len(content.encode("utf-8")), len(row) - 1, value)
            for (d, content), row, value in zip(texts, rows, nats, strict=True)]  # fmt: skip


def _window_nats(model: Transformer, windows: list[list[int]], padding: int) -> list[float]:
    """Summed nats of each window; shorter ones are padded at the end, where nothing looks.

    All to the full context: a processor's bfloat16 kernels are compiled anew for every size they meet.
    """
    longest = model.shape.context + 1
    ids = torch.tensor([window + [padding] * (longest - len(window)) for window in windows])
    lengths = torch.tensor([len(window) - 1 for window in windows])
    logits = model.logits(model(ids[:, :-1])).float()
    losses = logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
    counted = torch.arange(longest - 1)[None] < lengths[:, None]
    values: list[float] = (losses * counted).sum(1).double().tolist()
    return values


def _row(now: Score, before: Score | None) -> dict[str, str | int | float | None]:
    return {
        "path": now.path, "bytes": now.bytes, "tokens": now.tokens, "bits_per_byte": round(now.bits_per_byte, 5),
        "previous": round(before.bits_per_byte, 5) if before else None,
    }  # fmt: skip
