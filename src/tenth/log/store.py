"""The log's two files: read them, mend a torn end, append durably.

Order of a write: entries, fsync; head, fsync; then it is acknowledged (promise 8). So what no head covers was never
acknowledged, and a crash can leave only that at the end. It is cut off when a writer opens the log, and said so;
anything else that does not fit is refused (promise 7).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth.encoding import read_plain, write_all
from tenth.errors import BadEncoding, BrokenPromise, TenthError
from tenth.keys import PublicKey, SigningKey
from tenth.log.entry import Entry
from tenth.log.head import LINES, Head, origin
from tenth.log.tree import Tree

ENTRIES, HEADS = "entries.jsonl", "heads"
TELEMETRY = frozenset({"metered", "sampled"})
"""Entries whose heads are checked by root alone: later signed heads bind them (docs/formats.md, section 3)."""


@dataclass(frozen=True)
class Log:
    """A log as read from its files. ``kept`` and ``heads_kept`` are the sizes in bytes of what a head covers."""

    entries: Sequence[Entry]
    heads: Sequence[Head]
    tree: Tree
    kept: int
    heads_kept: int
    notes: tuple[str, ...]
    """What lies beyond the last head, in words; empty for a log at rest."""


def read(folder: Path, log_key: PublicKey | None = None) -> Log:
    """Read and check the tree, the heads and their signatures. Raises BrokenPromise(7).

    ``log_key`` defaults to the one that entry 0 names, which the signatories accept with gate 0.
    """
    try:
        head_bytes = read_plain(folder / HEADS)  # first: entries are written first
        entry_bytes = read_plain(folder / ENTRIES)
    except OSError as error:
        raise BrokenPromise(7, "the log cannot be read", str(error)) from None
    heads, heads_kept = _heads(head_bytes)
    lines = entry_bytes.split(b"\n")[:-1]
    covered = heads[-1].size if heads else 0
    if len(lines) < covered:
        raise BrokenPromise(7, "entries are missing", f"the last head covers {covered}, there are {len(lines)}")
    entries = [entry_at(index, line) for index, line in enumerate(lines[:covered])]
    tree = _check(entries, heads, log_key or _own_key(entries))
    begins = f"{heads[0].origin}\n".encode() if heads else b""
    kept = sum(len(line) + 1 for line in lines[:covered])
    return Log(entries, heads, tree, kept, heads_kept, _tail(entry_bytes, kept, head_bytes, heads_kept, begins))


def _heads(data: bytes) -> tuple[list[Head], int]:
    lines = data.split(b"\n")
    whole, kept, heads = len(lines) - 1, 0, []
    for at in range(0, whole - whole % LINES, LINES):
        note = b"\n".join(lines[at : at + LINES]) + b"\n"
        try:
            heads.append(Head.parse(note))
        except BadEncoding as error:
            raise BrokenPromise(7, f"head {len(heads)} of the log is damaged", error.found) from None
        kept += len(note)
    return heads, kept


def entry_at(index: int, line: bytes) -> Entry:
    """The entry in this line, which must be in its place. Raises BrokenPromise(7)."""
    try:
        entry = Entry.parse(line)
    except BadEncoding as error:
        raise BrokenPromise(7, f"entry {index} is damaged", str(error), entry=index) from None
    if entry.index != index:
        raise BrokenPromise(7, f"entry {index} is not in its place", f"it says {entry.index}", entry=index)
    return entry


def _own_key(entries: Sequence[Entry]) -> PublicKey | None:
    if not entries:
        return None
    try:
        return PublicKey.parse(entries[0].body["log_key"])
    except (KeyError, AttributeError, TenthError) as error:
        raise BrokenPromise(7, "entry 0 names no log key", str(error)[:200], entry=0) from None


def _check(entries: Sequence[Entry], heads: Sequence[Head], log_key: PublicKey | None) -> Tree:
    """Every head's root is recomputed; signatures as in docs/formats.md, section 3."""
    tree, place = Tree(), 0
    for number, head in enumerate(heads):
        if head.size <= place or head.origin != heads[0].origin:
            raise BrokenPromise(7, f"head {number} is out of order", f"size {head.size} after {place}", entry=place)
        decided = False
        for entry in entries[place : head.size]:
            tree.append(entry.leaf)
            decided = decided or entry.event not in TELEMETRY
        if tree.root() != head.root:
            what = f"entries {place} to {head.size - 1} are not what was signed"
            raise BrokenPromise(7, what, "the Merkle root differs", entry=place)
        if log_key and (decided or number == len(heads) - 1):
            _signed(head, log_key, place)
        place = head.size
    return tree


def _signed(head: Head, key: PublicKey, entry: int) -> None:
    try:
        head.verify(key)
    except TenthError as error:
        raise BrokenPromise(7, f"the head of size {head.size} is forged", str(error), entry=entry) from None


def _tail(entry_bytes: bytes, kept: int, head_bytes: bytes, heads_kept: int, origin_line: bytes) -> tuple[str, ...]:
    rest, notes = entry_bytes[kept:], []
    if rest:
        whole = rest.count(b"\n")
        torn = "" if rest.endswith(b"\n") else " and a torn line"
        notes.append(f"{whole} entries{torn} after the last head were never acknowledged")
    if half := head_bytes[heads_kept:]:
        if half[: len(origin_line)] != origin_line[: len(half)]:
            raise BrokenPromise(7, "the log of heads ends in something else than a torn head", repr(half[:80]))
        notes.append("the last head is torn and was never acknowledged")
    return tuple(notes)


class LogWriter:
    """The one writer of a log. Whoever makes one must hold the run's lock."""

    def __init__(self, folder: Path, run: str, key: SigningKey, clock: Callable[[], float] = time.time) -> None:
        """Open ``folder`` (its files are made if absent); what was never acknowledged is cut off, see ``mended``."""
        self._origin, self._key, self._clock = origin(run), key, clock
        for name in (ENTRIES, HEADS):
            (folder / name).touch(0o644)
        log = read(folder, key.public)
        self.entries: list[Entry] = list(log.entries)
        self.tree = log.tree
        self.mended = log.notes
        self._files = [_open(folder / ENTRIES, log.kept), _open(folder / HEADS, log.heads_kept)]
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder_fd)
        os.close(folder_fd)

    def append(self, *events: tuple[str, dict[str, Any]], judge: Callable[[Entry], object] = id) -> list[Entry]:
        """Write the events under one new head; they are durable when this returns (promise 8).

        ``judge`` sees each entry before anything is written and may refuse it by raising. If a write fails (a full
        disk), both files are cut back and OSError is raised: nothing was acknowledged.
        """
        if not events:
            return []
        when, tree = self._clock(), self.tree.copy()
        first = len(self.entries)
        fresh = [Entry.make(first + i, event, body, when) for i, (event, body) in enumerate(events)]
        for entry in fresh:
            judge(entry)
            tree.append(entry.leaf)
        head = Head.sign(self._origin, tree.size, tree.root(), self._key)
        sizes = [os.fstat(file).st_size for file in self._files]
        try:
            _write(self._files[0], b"".join(entry.line + b"\n" for entry in fresh))
            _write(self._files[1], head.note)
        except OSError:
            for file, size in zip(self._files, sizes, strict=True):
                os.ftruncate(file, size)
            raise
        self.entries += fresh
        self.tree = tree
        return fresh

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []


def _open(path: Path, kept: int) -> int:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    if os.fstat(file).st_size != kept:
        os.ftruncate(file, kept)
        os.fsync(file)
    return file


def _write(file: int, data: bytes) -> None:
    write_all(file, data)
    os.fdatasync(file)
