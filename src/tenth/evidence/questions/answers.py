"""What a checkpoint makes of given answers, many at once: how likely each is, and whether it would write it itself.

One reading tells both. A model that continues greedily writes an answer exactly if each of its tokens is the likeliest
where it stands, so nothing has to be generated to know. (The same text cut into other tokens counts as another answer.)
A prompt that goes on from the answer before it is read in one row with it, so a page of questions is read once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tenth.evidence.reading import reader
from tenth.evidence.sealed import EvidenceError
from tenth.trainer import tokenizer
from tenth.trainer.generate import complete
from tenth.trainer.inference import Inference
from tenth.trainer.packing import packed

TOKENS_AT_ONCE = 2_048
SHARED = 256  # tokens of short rows that are read as one, where the context has as many


@dataclass(frozen=True)
class Answer:
    """One continuation under one checkpoint."""

    nats: float
    bytes: int
    greedy: bool
    """Would the model write just this?"""
    ends: bool
    """And then end the line, or the document?"""
    written: str
    """What it would write: the answer, up to and with the first token that differs."""

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes


class Row:
    """What is read at once: tokens, of which some are answers that are asked about."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.answers: list[tuple[int, int]] = []  # from, to

    def has_room(self, tokens: int, context: int) -> bool:
        return len(self.ids) + tokens <= context

    def add(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        start = len(self.ids) + len(prompt)
        self.ids += [*prompt, *answer]
        self.answers.append((start, len(self.ids)))


class Reader:
    """A checkpoint that is asked. Raises CheckpointError, RecipeError."""

    def __init__(self, checkpoint: Path) -> None:
        self.model = reader(checkpoint)
        self.text = tokenizer.from_file(checkpoint / "tokenizer.json")
        decoded = (self.text.decode([token])[:1] for token in range(self.model.shape.vocabulary))
        self._line_ends = {token for token, first in enumerate(decoded) if first in ("\n", "\r")} | {
            self.text.separator
        }

    def read(self, asked: Sequence[tuple[str, str]]) -> list[Answer]:
        """Prompts and continuations, none of those empty. Of what the context cannot hold, the beginning is left out.

        Raises EvidenceError if the model's numbers are not finite.
        """
        before, pieces = "", []
        for prompt, answer in asked:
            follows = bool(before) and prompt.startswith(before)
            pieces.append((prompt[len(before) :] if follows else prompt, follows))
            before = prompt + answer
        prompts = self.text.encode([prompt for prompt, _ in pieces])
        answers = self.text.encode([answer for _, answer in asked])
        rows: list[Row] = []
        for prompt_ids, ids, (_, follows) in zip(prompts, answers, pieces, strict=True):
            if follows and rows[-1].has_room(len(prompt_ids) + len(ids), self.model.shape.context):
                rows[-1].add(prompt_ids, ids)
            else:
                earlier = rows[-1].ids[-self.model.shape.context // 2 :] if follows else [self.text.separator]
                rows.append(self._row([*earlier, *prompt_ids], ids))
        return self._answers(rows)

    def read_tokens(self, asked: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Answer]:
        """The same in tokens, each by itself; a prompt has at least one."""
        return self._answers([self._row(prompt, answer) for prompt, answer in asked])

    def _row(self, prompt: Sequence[int], answer: Sequence[int]) -> Row:
        context = self.model.shape.context
        kept = list(answer)[: context - 1]
        row = Row(list(prompt[len(kept) - context :]))
        row.add([], kept)
        return row

    @torch.inference_mode()
    def _answers(self, rows: Sequence[Row]) -> list[Answer]:
        """Row by row, and in each in order. Short rows stand behind one another, and know nothing of each other."""
        found: dict[int, list[Answer]] = {}
        lengths = [len(row.ids) for row in rows]
        width = min(self.model.shape.context, max(SHARED, *lengths, 0))
        full = packed(lengths, width)
        at_once = max(1, TOKENS_AT_ONCE // width)
        for start in range(0, len(full), at_once):
            batch = full[start : start + at_once]
            answers = self._read([[rows[number] for number in some] for some in batch], width)
            found |= zip(itertools.chain.from_iterable(batch), answers, strict=True)
        if not all(math.isfinite(answer.nats) for some in found.values() for answer in some):
            raise EvidenceError(
                "No answers were read.", "the model's numbers are not finite",
                "look at the curve of the loss; lower the learning rates, and go back to an earlier checkpoint",
            )  # fmt: skip
        return [answer for number in range(len(rows)) for answer in found[number]]

    def _read(self, batch: Sequence[Sequence[Row]], width: int) -> Iterator[list[Answer]]:
        """Looked at are the places before each token of an answer, and the one behind it."""
        ids = torch.full((len(batch), width), self.text.separator)
        starts = torch.zeros_like(ids)
        spans = []
        for number, rows in enumerate(batch):
            at = 0
            for row in rows:
                ids[number, at : at + len(row.ids)] = torch.tensor(row.ids)
                spans.append([(number, at + start, at + stop) for start, stop in row.answers])
                starts[number, at:] = at
                at += len(row.ids)
        places = [(number, at) for some in spans for number, start, stop in some for at in range(start - 1, stop)]
        where = torch.tensor(places).unbind(1)
        logits = self.model.logits(self.model(ids, starts)[where]).float()
        best = iter(logits.argmax(-1).tolist())
        wanted = ids.roll(-1, 1)[where]
        nats = iter((logits.logsumexp(-1) - logits.gather(1, wanted[:, None]).squeeze(1)).tolist())
        for some in spans:
            yield [self._answer(ids[number, start:stop].tolist(), nats, best) for number, start, stop in some]

    def _answer(self, answer: list[int], nats: Iterator[float], best: Iterator[int]) -> Answer:
        """`nats` and `best` go on by its tokens, and the place behind it."""
        likeliest = list(itertools.islice(best, len(answer) + 1))
        lost = math.fsum(list(itertools.islice(nats, len(answer) + 1))[:-1])
        same = next((at for at, token in enumerate(answer) if token != likeliest[at]), len(answer))
        size = len(self.text.decode(answer).encode())
        ends = same == len(answer) and likeliest[-1] in self._line_ends
        return Answer(lost, max(1, size), same == len(answer), ends, self.text.decode(likeliest[: same + 1]))

    def write(self, prompts: Sequence[str], tokens: int, ends: Sequence[str]) -> list[str]:
        """What it writes greedily after each prompt, up to the first of `ends`."""
        return complete(Inference(self.model), self.text, prompts, tokens, ends=ends)
