"""Bits per byte on documents that were never trained on, beside the previous checkpoint, with a standard error.

Of rows, after a phase of sft, on their answers: prompts are read and not counted, as in training. Bits per byte does
not depend on the tokenizer, so runs with different ones may be compared. The difference between two checkpoints is
paired by document: what is hard for one is hard for both, and most of the spread cancels. The documents are the same at
every gate, so what the previous checkpoint came to is taken from the gate that it was sealed for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tenth.trainer.held_out import Document
from tenth.trainer.rows import Marked, answered

from .questions.answers import Reader
from .questions.paired import ratios
from .sealed import Sealed, held_out_answers, held_out_texts, write, written_before

DOCUMENTS = 32
CHARACTERS = 1_500  # of each document: bounds the command to seconds, and gives no document the word

HeldOut = tuple[Document, str | Marked]


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
    answers = held_out_answers(sealed, sealed.checkpoint, DOCUMENTS)
    held_out: Sequence[HeldOut] = answers or held_out_texts(sealed, sealed.checkpoint, CHARACTERS, DOCUMENTS)
    if not held_out:
        found = "No held-out documents: set data.held_out in the recipe, in phases that read documents or answers."
        write(sealed, found, {"documents": 0}, {})
        return
    now = score(sealed.checkpoint, held_out)
    before = (_scored_before(sealed, now) or score(sealed.previous, held_out)) if sealed.previous else None
    metrics = totals(now)
    headline = f"{metrics['bits_per_byte']:.3f} bits per byte on {len(now)} held-out "
    headline += "answers" if answers else "documents"
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


def score(checkpoint: Path, held_out: Sequence[HeldOut]) -> list[Score]:
    """Nats of each text, in windows of the context that know nothing of the one before; of rows, of their answers."""
    reader = Reader(checkpoint)
    asked = [
        _windows([reader.text.separator, *reader.text.encode([content])[0]], reader.model.shape.context - 1)
        if isinstance(content, str)
        else answered(content)
        for _, content in held_out
    ]
    read = iter(reader.read_tokens([one for some in asked for one in some]))
    scores = []
    for (document, content), some in zip(held_out, asked, strict=True):
        text = content if isinstance(content, str) else "".join(reader.text.decode(ids) for _, ids in some)
        nats = sum(one.nats for one in itertools.islice(read, len(some)))
        scores.append(Score(document.path, len(text.encode("utf-8")), sum(len(ids) for _, ids in some), nats))
    return scores


def _windows(ids: list[int], step: int) -> list[tuple[list[int], list[int]]]:
    return [(ids[at : at + 1], ids[at + 1 : at + 1 + step]) for at in range(0, len(ids) - 1, step)]


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
