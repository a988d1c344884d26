"""What is new in a run's files since they were last looked at? The log, as far as its heads cover it, and the samples.

The log is checked as it grows: every head's root is recomputed, and the newest signature of each look is verified.
``tenth verify`` checks all the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth.encoding import parse
from tenth.errors import BrokenPromise, TenthError
from tenth.keys import PublicKey
from tenth.log.entry import Entry
from tenth.log.head import LINES, Head
from tenth.log.store import ENTRIES, HEADS, entry_at
from tenth.log.tree import Tree

AT_ONCE = 4 << 20
"""Bytes of one reading; the rest comes with the next."""
LONGEST = 64 << 20
"""Bytes that one head may cover."""
MAX_LINE = 1 << 20
"""A longer line of a shard is none that the supervisor wrote: it is left out, and counted."""


@dataclass(frozen=True)
class Fresh:
    """One new entry, and where its line lies."""

    entry: Entry
    offset: int


class LogTail:
    """The log of a run, read once and then followed."""

    def __init__(self, folder: Path, leaves: Iterable[bytes] = (), entries_at: int = 0, heads_at: int = 0) -> None:
        """``leaves`` are those of the entries before ``entries_at``, which were read earlier."""
        self._folder, self.entries_at, self.heads_at = folder, entries_at, heads_at
        self._tree = Tree()
        for leaf in leaves:
            self._tree.append(leaf)
        self._key: PublicKey | None = None
        self.head: Head | None = None

    @property
    def size(self) -> int:
        return self._tree.size

    def new(self) -> list[Fresh]:
        """The entries that heads cover and that are new, as many as one reading holds. Raises BrokenPromise(7)."""
        heads = self._new_heads()
        return self._covered(heads, AT_ONCE) or self._covered(heads, LONGEST) if heads else []

    def _covered(self, heads: list[Head], most: int) -> list[Fresh]:
        data, start = read_from(self._folder / ENTRIES, self.entries_at, most), 0
        fresh: list[Fresh] = []
        newest = None
        for head in heads:
            tree, at, found = self._tree.copy(), start, []
            while tree.size < head.size and (end := data.find(b"\n", at)) >= 0:
                found.append(Fresh(entry_at(tree.size, data[at:end]), self.entries_at + at))
                tree.append(found[-1].entry.leaf)
                at = end + 1
            if tree.size < head.size:
                break
            if tree.root() != head.root:
                raise BrokenPromise(7, "the log does not hold", f"the root at size {head.size} is not the signed one")
            self._tree, self.heads_at, start, newest = tree, self.heads_at + len(head.note), at, head
            fresh += found
        if newest is not None:
            self._signed(newest)
            self.entries_at, self.head = self.entries_at + start, newest
        return fresh

    def _new_heads(self) -> list[Head]:
        lines = read_from(self._folder / HEADS, self.heads_at, AT_ONCE).split(b"\n")[:-1]
        try:
            whole = range(0, len(lines) - len(lines) % LINES, LINES)
            return [Head.parse(b"\n".join(lines[place : place + LINES]) + b"\n") for place in whole]
        except TenthError as error:
            raise BrokenPromise(7, "a head of the log is damaged", str(error)) from None

    def _signed(self, head: Head) -> None:
        try:
            if self._key is None:
                line = read_from(self._folder / ENTRIES, 0, AT_ONCE).partition(b"\n")[0]
                self._key = PublicKey.parse(entry_at(0, line).body["log_key"])
            head.verify(self._key)
        except (TenthError, KeyError, TypeError, AttributeError) as error:
            raise BrokenPromise(7, f"the head of size {head.size} is forged", str(error)) from None


@dataclass(frozen=True)
class Sample:
    """One sample as its shard holds it: a claim, and raw."""

    shard: int
    line: int
    raw: bytes
    fields: dict[str, Any]


class ShardTail:
    """The sample shards of a run, in order, the open one included."""

    def __init__(self, folder: Path, shard: int = 1, line: int = 0, offset: int = 0) -> None:
        self._folder, self.shard, self.line, self.offset = folder, shard, line, offset
        self.left_out = 0

    def new(self, most: int = 5_000) -> list[Sample]:
        """At most about ``most``; what is left comes with the next call."""
        found: list[Sample] = []
        while len(found) < most:
            followed = self._path(self.shard + 1).exists()  # asked first: what it follows is whole by then
            data = read_from(self._path(self.shard), self.offset, AT_ONCE)
            end = data.rfind(b"\n") + 1
            for raw in data[:end].split(b"\n")[:-1]:
                self.line += 1
                sample = self._sample(raw)
                found += [sample] if sample else []
            self.offset += end
            if end:
                continue
            if len(data) >= AT_ONCE:  # one endless line: none of ours
                self.offset += len(data)
                continue
            if not followed:
                return found
            self.shard, self.line, self.offset = self.shard + 1, 0, 0
        return found

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.jsonl"

    def _sample(self, raw: bytes) -> Sample | None:
        try:
            fields = parse(raw, "a sample") if len(raw) <= MAX_LINE else None
        except TenthError:
            fields = None
        if not isinstance(fields, dict) or not _sound(fields):
            self.left_out += 1
            return None
        return Sample(self.shard, self.line - 1, raw, fields)


def _sound(fields: dict[str, Any]) -> bool:
    texts = all(isinstance(fields.get(name), str) for name in ("prompt", "text"))
    return texts and all(type(fields.get(name)) is int for name in ("step", "gate"))


def read_from(path: Path, offset: int, most: int) -> bytes:
    """At most ``most`` bytes of a plain file from ``offset`` on; nothing if it is not there, or no plain file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return b""
        data = bytearray()
        while len(data) < most and (piece := os.pread(file, most - len(data), offset + len(data))):
            data += piece
        return bytes(data)
    finally:
        os.close(file)
