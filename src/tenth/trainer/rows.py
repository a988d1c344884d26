"""What stands in a row: prompts and answers from JSON lines, Parquet or Arrow, as tokens of which some carry loss.

Columns are TRL's. sft: `messages`, or `prompt` and `completion`. dpo: `prompt`, `chosen`, `rejected`, and maybe
`share`, the share of votes for the chosen one. kto: `prompt`, `completion`, `label`. A prompt and its answers are
texts, or lists of messages with `role` and `content`. A row that cannot be learned from is an error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import chat
from .errors import CorpusError
from .generate import without_space
from .sources import JSON_LINES, TABLES, opened, record_batches
from .tokenizer import Text
from .words import Encoder

COLUMNS = {
    "sft": (("messages",), ("prompt", "completion")),
    "dpo": (("prompt", "chosen", "rejected"),),
    "kto": (("prompt", "completion", "label"),),
}
"""What a phase needs: any one of these sets."""
OPTIONAL = ("share",)

Row = Mapping[str, Any]
Marked = NDArray[np.uint32]
"""Tokens, each doubled, plus one where it carries loss."""


@dataclass(frozen=True)
class Example:
    """A row to learn from: for dpo the chosen sequence and the rejected one, else one sequence."""

    sequences: tuple[Marked, ...]
    share: float = 1.0  # dpo: of the votes for the chosen one; kto: 1 for a thumb up, 0 for one down


def answered(marked: Marked) -> list[tuple[list[int], list[int]]]:
    """Each stretch that carries loss, after all that stands before it; nothing stands before the first token."""
    ids: list[int] = (marked >> 1).tolist()
    counted = [False, *(marked[1:] & 1).astype(bool).tolist(), False]
    borders = [at for at in range(1, len(counted)) if counted[at] != counted[at - 1]]
    return [(ids[:start], ids[start:stop]) for start, stop in zip(borders[::2], borders[1::2], strict=True)]


def read_rows(path: Path, name: str, kind: str) -> Iterator[tuple[str, Row]]:
    """Each row of a file and what it is called, `name`#number. Raises CorpusError."""
    try:
        if path.name.endswith(JSON_LINES):
            yield from _json_rows(path, name, kind)
        elif path.name.endswith(TABLES):
            number = 0
            for part in record_batches(path, lambda schema: _chosen(name, kind, schema.names)):
                for row in part.to_pylist():
                    yield f"{name}#{number}", row
                    number += 1
        else:
            raise refused(name, f"no rows: {kind} reads {', '.join((*JSON_LINES, *TABLES))}", "leave this file out")
    except (EOFError, OSError, ValueError) as error:  # those of gzip and of pyarrow are among these
        raise refused(name, str(error), "mend or leave out this file") from error


def _json_rows(path: Path, name: str, kind: str) -> Iterator[tuple[str, Row]]:
    with opened(path) as lines:
        number = 0
        while line := lines.readline():
            number += 1
            if not line.strip():
                continue
            where = f"{name}#{number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise refused(where, f"no JSON: {error}", "mend this line") from error
            if not isinstance(row, dict):
                raise refused(where, f"no JSON object but {type(row).__name__}", "write an object on each line")
            _chosen(where, kind, list(row))
            yield where, row


def _chosen(where: str, kind: str, names: Sequence[str]) -> list[str]:
    """The columns to read."""
    for needed in COLUMNS[kind]:
        if set(needed) <= set(names):
            return [*needed, *(name for name in OPTIONAL if name in names)]
    wanted = " or ".join(", ".join(needed) for needed in COLUMNS[kind])
    raise refused(where, f"its columns are {', '.join(names) or 'none'}", f"for {kind} give {wanted}")


def refused(where: str, found: str, do: str) -> CorpusError:
    return CorpusError("A row was refused.", f"{where}: {found}", do)


def spoken(row: Row) -> str:
    """The text of a row for sft, without roles."""
    parts = [row["messages"]] if row.get("messages") else [row["prompt"], row["completion"]]
    return "".join(part if isinstance(part, str) else "\n".join(one["content"] for one in part) for part in parts)


@dataclass
class Reader:
    """Turns rows into examples of at most `context` + 1 tokens, and counts what it met."""

    kind: str
    text: Text
    context: int
    template: str | None = None  # of conversations; None: the plain one
    report: dict[str, int] = field(default_factory=lambda: {"rows": 0, "conversations": 0, "cut": 0, "ties": 0})

    def __post_init__(self) -> None:
        self._encoder = Encoder(self.text)
        self._type = np.dtype(np.uint16 if self.text.vocabulary <= 1 << 16 else np.uint32)

    def example(self, where: str, row: Row) -> Example | None:
        """None for a tie, which prefers nothing. Raises CorpusError for a row that cannot be learned from."""
        self.report["rows"] += 1
        if self.kind == "dpo":
            share = _share(where, row)
            if share == 0.5:
                self.report["ties"] += 1
                return None
            return Example((self._answered(where, row, "chosen"), self._answered(where, row, "rejected")), share)
        if self.kind == "kto":
            if not isinstance(row["label"], bool):
                raise refused(where, f"label is {row['label']!r}", "give true for a thumb up, false for one down")
            return Example((self._answered(where, row, "completion"),), float(row["label"]))
        if row.get("messages") is not None:
            return Example((self._conversation(where, row["messages"]),))
        if "prompt" not in row:
            raise refused(where, "messages is null", "give a list of messages")
        return Example((self._answered(where, row, "completion"),))

    def _answered(self, where: str, row: Row, column: str) -> Marked:
        """A prompt and the answer in `column`."""
        prompt, answer = row["prompt"], row[column]
        if isinstance(prompt, str) and isinstance(answer, str):
            if not answer.strip():
                raise refused(where, f"{column} is empty", "write an answer, or leave the row out")
            asked = without_space(prompt)
            pieces = [(asked, False), (prompt[len(asked) :] + answer, True)]
            separator = np.array([self.text.separator], np.uint32)
            middle = [self._marked(text, counted) for text, counted in pieces]
            return self._bounded(where, [separator * 2, *middle, separator * 2 + 1])
        if not isinstance(prompt, list) or not isinstance(answer, list):
            kinds = f"{type(prompt).__name__} and {type(answer).__name__}"
            raise refused(where, f"prompt and {column} are {kinds}", "give both as texts, or both as messages")
        return self._conversation(where, [*prompt, *answer], len(prompt))

    def _conversation(self, where: str, messages: Any, first: int = 0) -> Marked:
        """Loss on what the assistant says, from message `first` on."""
        _check_messages(where, messages)
        template = chat.PLAIN if self.template is None else self.template
        said, parts = "", []
        for number, message in enumerate(messages):
            if message["role"] != "assistant" or number < first:
                continue
            if not message["content"].strip():
                raise refused(where, "an answer is empty", "write an answer, or leave the row out")
            before = chat.render(template, messages[:number], self.text)
            whole = chat.render(template, messages[: number + 1], self.text, answer=False)
            if not before.startswith(said) or not whole.startswith(before):
                raise chat.unusable(f"it writes a turn otherwise when another follows ({where})")
            parts += [self._marked(before[len(said) :], False), self._marked(whole[len(before) :], True)]
            said = whole
        if not parts:
            raise refused(where, "no message is by the assistant", "give conversations with answers")
        self.report["conversations"] += 1
        return self._bounded(where, parts)

    def _marked(self, text: str, counted: bool) -> Marked:
        packed = self._encoder.encode_on(text.encode("utf-8", "replace"))
        return np.frombuffer(packed, self._type).astype(np.uint32) * 2 + counted

    def _bounded(self, where: str, parts: Sequence[Marked]) -> Marked:
        tokens = np.concatenate(parts)
        if len(tokens) > self.context + 1:
            self.report["cut"] += 1
            tokens = tokens[: self.context + 1]
            if not (tokens[1:] & 1).any():
                raise refused(
                    where, f"the prompt alone fills the {self.context} tokens of the context",
                    "raise model.context, or shorten the prompt",
                )  # fmt: skip
        return tokens


def _share(where: str, row: Row) -> float:
    share = row.get("share")
    if share is None:
        return 1.0
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:  # nor NaN
        raise refused(where, f"share is {share!r}", "give the share of votes for the chosen one, from 0 to 1")
    return float(share)


def _check_messages(where: str, messages: Any) -> None:
    known = isinstance(messages, list) and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in messages
    )
    if not known:
        raise refused(where, "messages that are no list of role and content, both texts", "write them so")
