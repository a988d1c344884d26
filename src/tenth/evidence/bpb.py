"""Bits per byte on documents that were never trained on, beside the previous checkpoint, with a standard error.

Bits per byte does not depend on the tokenizer, so runs with different ones may be compared. The difference between two
checkpoints is paired by document: what is hard for one is hard for both, and most of the spread cancels. The documents
are the same at every gate, so what the previous checkpoint came to is taken from the gate that it was sealed for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from tenth.trainer.held_out import Document

from .questions.answers import Reader
from .questions.paired import ratios
from .sealed import Sealed, held_out_texts, write, written_before

DOCUMENTS = 32
CHARACTERS = 1_500  # of each document: bounds the command to seconds, and gives no document the word


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
    before = (_scored_before(sealed, now) or score(sealed.previous, texts)) if sealed.previous else None
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


def score(checkpoint: Path, texts: list[tuple[Document, str]]) -> list[Score]:
    """Nats of each text in windows of the model's context; each window is read with no memory of the one before."""
    reader = Reader(checkpoint)
    step = reader.model.shape.context - 1
    rows = [[reader.text.separator, *ids] for ids in reader.text.encode([content for _, content in texts])]
    windows = [(i, at) for i, row in enumerate(rows) for at in range(0, len(row) - 1, step)]
    asked = [(rows[i][at : at + 1], rows[i][at + 1 : at + 1 + step]) for i, at in windows]
    nats = [0.0] * len(rows)
    for (i, _), answer in zip(windows, reader.read_tokens(asked), strict=True):
        nats[i] += answer.nats
    return [Score(d.path, len(content.encode("utf-8")), len(row) - 1, value)
            for (d, content), row, value in zip(texts, rows, nats, strict=True)]  # fmt: skip


def _scored_before(sealed: Sealed, now: list[Score]) -> list[Score] | None:
    """The previous checkpoint's scores from its own gate, if they are of these very texts."""
    rows = {(row["path"], row["bytes"], row["tokens"]): row for row in written_before(sealed, "documents.json") or ()}
    keys = [(one.path, one.bytes, one.tokens) for one in now]
    return [Score(*key, rows[key]["nats"]) for key in keys] if rows.keys() >= set(keys) else None


def _row(now: Score, before: Score | None) -> dict[str, str | int | float | None]:
    return {
        "path": now.path, "bytes": now.bytes, "tokens": now.tokens, "nats": now.nats,
        "bits_per_byte": round(now.bits_per_byte, 5), "previous": round(before.bits_per_byte, 5) if before else None,
    }  # fmt: skip
