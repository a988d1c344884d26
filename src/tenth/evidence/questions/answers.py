"""What a checkpoint makes of given answers, many at once: how likely each is, and whether it would write it itself.

One reading tells both. A model that continues greedily writes an answer exactly if each of its tokens is the likeliest
where it stands, so nothing has to be generated to know. (The same text cut into other tokens counts as another answer.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tenth.evidence.reading import reader
from tenth.evidence.sealed import EvidenceError
from tenth.trainer import tokenizer
from tenth.trainer.generate import complete
from tenth.trainer.inference import Inference

TOKENS_AT_ONCE = 4_096
STEP = 16  # lengths are rounded up to it: a processor's kernels are compiled anew for every size they meet


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
        prompts, answers = (self.text.encode([pair[side] for pair in asked]) for side in (0, 1))
        rows = [([self.text.separator, *prompt], answer) for prompt, answer in zip(prompts, answers, strict=True)]
        return self.read_tokens(rows)

    @torch.inference_mode()
    def read_tokens(self, asked: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Answer]:
        """The same in tokens; a prompt has at least one."""
        context = self.model.shape.context
        kept = [list(answer)[: context - 1] for _, answer in asked]
        rows = [[*prompt, *answer][-context:] for (prompt, _), answer in zip(asked, kept, strict=True)]
        found: dict[int, Answer] = {}
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        while order:
            width = min(context, -(-len(rows[order[-1]]) // STEP) * STEP)
            batch = [order.pop() for _ in range(min(len(order), max(1, TOKENS_AT_ONCE // width)))]
            likely = self._read([rows[number] for number in batch], [len(kept[number]) for number in batch], width)
            for number, (nats, best) in zip(batch, likely, strict=True):
                found[number] = self._answer(kept[number], nats, best)
        if not all(math.isfinite(answer.nats) for answer in found.values()):
            raise EvidenceError(
                "No answers were read.", "the model's numbers are not finite",
                "look at the curve of the loss; lower the learning rates, and go back to an earlier checkpoint",
            )  # fmt: skip
        return [found[number] for number in range(len(rows))]

    def _read(self, rows: list[list[int]], counts: list[int], width: int) -> list[tuple[float, list[int]]]:
        """Of each row's last `count` tokens: their nats, and the likeliest in the place of each and after the last."""
        ids = torch.tensor([row + [self.text.separator] * (width - len(row)) for row in rows])
        places = [range(len(row) - count - 1, len(row)) for row, count in zip(rows, counts, strict=True)]
        where = torch.tensor([(n, at) for n, some in enumerate(places) for at in some]).unbind(1)
        logits = self.model.logits(self.model(ids)[where]).float()
        best: list[int] = logits.argmax(-1).tolist()
        wanted = ids.roll(-1, 1)[where]
        nats = (logits.logsumexp(-1) - logits.gather(1, wanted[:, None]).squeeze(1)).double()
        found, start = [], 0
        for count in counts:
            found.append((float(nats[start : start + count].sum()), best[start : start + count + 1]))
            start += count + 1
        return found

    def _answer(self, answer: list[int], nats: float, best: list[int]) -> Answer:
        same = next((at for at, token in enumerate(answer) if token != best[at]), len(answer))
        size = len(self.text.decode(answer).encode())
        ends = same == len(answer) and best[-1] in self._line_ends
        return Answer(nats, max(1, size), same == len(answer), ends, self.text.decode(best[: same + 1]))

    def write(self, prompts: Sequence[str], tokens: int, ends: Sequence[str]) -> list[str]:
        """What it writes greedily after each prompt, up to the first of `ends`."""
        return complete(Inference(self.model), self.text, prompts, tokens, ends=ends)
