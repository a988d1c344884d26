"""The rows of a phase as tokens on disk: one cache for each file, memory-mapped, built row by row at its first lease.

tokens.bin   marked tokens (rows.py), little-endian uint32, one row after another
rows.bin     one entry a row, and a last one that closes them
about.json   SHA-256 of both, and what was met on the way

A cache depends on the file's content, tokenizer, template, context and share held out: all of them stand in its key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .documents import fraction, matcher, read_listing
from .errors import CorpusError
from .recipe import Recipe
from .rows import Marked, Reader, Row, read_rows
from .shard_writer import room_on_disk
from .shards import file_digest

VERSION = 1
ENTRY = np.dtype([("start", "<u8"), ("middle", "<u8"), ("number", "<u4"), ("share", "<f4"), ("held_out", "<u4")])
TOKENS, ROWS, ABOUT = "tokens.bin", "rows.bin", "about.json"


@dataclass(frozen=True)
class File:
    """A file of rows, by whoever vouches for its content."""

    name: str
    path: Path
    sha256: str


def files(listing: Path, root: Path, recipe: Path, batches: Sequence[str]) -> list[File]:
    """What a lease learns from: the listing's files, then the batches of feedback; of two copies the first.

    Batches lie in the folder `feedback` beside the recipe. An empty file holds a place: a charter must name data, and
    judgements may all be still to come.
    """
    found = [File(entry.path, root / entry.path, entry.sha256) for entry in read_listing(listing) if entry.size]
    found += [File(f"feedback/{sha256}", recipe.parent / "feedback" / f"{sha256}.jsonl", sha256) for sha256 in batches]
    return list({file.sha256: file for file in reversed(found)}.values())[::-1]


@dataclass(frozen=True)
class Cached:
    """One file's rows."""

    file: File
    digest: str  # of the tokens
    tokens: NDArray[np.uint32]
    entries: NDArray[Any]
    report: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.entries) - 1


class Store:
    """The rows of several files, numbered through."""

    def __init__(self, cached: Sequence[Cached]) -> None:
        self.cached = tuple(cached)
        self.bases = np.cumsum([0, *map(len, cached)], dtype=np.int64)

    def sequences(self, row: int) -> tuple[Marked, ...]:
        """The marked tokens of a row: one sequence, or two."""
        one, at = self._place(row)
        start, middle, stop = (
            int(one.entries["start"][at]), int(one.entries["middle"][at]), int(one.entries["start"][at + 1])
        )  # fmt: skip
        tokens = np.asarray(one.tokens[start:stop])
        return (tokens,) if middle == stop else (tokens[: middle - start], tokens[middle - start :])

    def share(self, row: int) -> float:
        one, at = self._place(row)
        return float(one.entries["share"][at])

    def name(self, row: int) -> str:
        one, at = self._place(row)
        return f"{one.file.name}#{one.entries['number'][at]}"

    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.concatenate([np.diff(one.entries["start"].astype(np.int64)) for one in self.cached])

    def side(self, held_out: bool, exclude: Sequence[str] = ()) -> NDArray[np.int64]:
        """Numbers of the rows that are held out, or that are not, less those whose name one of the globs matches."""
        held = np.concatenate([one.entries["held_out"][:-1] for one in self.cached]) != 0
        rows = np.flatnonzero(held == held_out)
        if not exclude:
            return rows
        matches = matcher(exclude)
        return np.array([row for row in rows.tolist() if not matches(self.name(row))], dtype=np.int64)

    def report(self) -> dict[str, int]:
        return {key: sum(one.report[key] for one in self.cached) for key in self.cached[0].report}

    def _place(self, row: int) -> tuple[Cached, int]:
        number = int(np.searchsorted(self.bases, row, side="right")) - 1
        return self.cached[number], row - int(self.bases[number])


def open_store(work: Path, found: Sequence[File], reader: Reader, recipe: Recipe) -> Store:
    """The store of these files. Caches that are missing or torn are built. Raises CorpusError."""
    if not found:
        raise CorpusError(
            "The rows were refused.", "neither data nor feedback to train on",
            "name files in the charter's data, or add feedback.batches at the gate",
        )  # fmt: skip
    held_out = recipe.data.held_out if reader.kind == "sft" else 0.0
    known = [VERSION, reader.kind, reader.text.to_json(), reader.template, reader.context, held_out]
    common = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    cached = []
    for file in found:
        key = hashlib.sha256(f"{common} {file.sha256}".encode()).hexdigest()
        folder = work / "cache" / f"rows-{key[:16]}"
        one = open_cached(folder, file)
        if one is None:
            _build(folder, file, reader, held_out)
            one = open_cached(folder, file)
        assert one is not None
        cached.append(one)
    return Store(cached)


def open_cached(folder: Path, file: File) -> Cached | None:
    """The cache if it is whole and says the truth about itself."""
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        digests = [file_digest(folder / name) for name in (TOKENS, ROWS)]
        if digests != about["files"]:
            return None
        tokens = np.memmap(folder / TOKENS, dtype="<u4", mode="r")
        entries = np.frombuffer((folder / ROWS).read_bytes(), dtype=ENTRY)
        return Cached(file, digests[0], tokens, entries, about["report"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build(folder: Path, file: File, reader: Reader, held_out: float) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    for stale in (partial, folder):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with room_on_disk(partial):
            before = dict(reader.report)
            _write(partial, file, reader, held_out)
            report = {key: count - before[key] for key, count in reader.report.items()}
            about = {"files": [file_digest(partial / name) for name in (TOKENS, ROWS)], "report": report}
            (partial / ABOUT).write_text(json.dumps(about))
            os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(folder: Path, file: File, reader: Reader, held_out: float) -> None:
    _check(file)
    at = 0
    with (folder / TOKENS).open("wb") as tokens, (folder / ROWS).open("wb") as entries:
        for where, row in read_rows(file.path, file.name, reader.kind):
            example = reader.example(where, row)
            if example is None:
                continue
            for sequence in example.sequences:
                tokens.write(sequence.tobytes())
            start, middle = at, at + len(example.sequences[0])
            at += sum(map(len, example.sequences))
            number = int(where.rpartition("#")[2])
            held = held_out > 0 and fraction(row_digest(row)) < held_out
            entries.write(_entry(start, middle, number, example.share, held))
        if not at:
            raise CorpusError("The rows were refused.", f"{file.name} has none", "leave this file out")
        entries.write(_entry(at, at, 0, 0.0, held_out=False))


def _entry(start: int, middle: int, number: int, share: float, held_out: bool) -> bytes:
    return np.array([(start, middle, number, share, held_out)], dtype=ENTRY).tobytes()


def row_digest(row: Row) -> str:
    """By which it is held out, or not."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).hexdigest()


def _check(file: File) -> None:
    """Raise CorpusError unless the file is there and is what somebody vouched for."""
    try:
        sha256 = file_digest(file.path)
    except OSError as error:
        raise CorpusError("A file of rows was refused.", str(error), "restore it, or leave it out") from error
    if sha256 != file.sha256:
        raise CorpusError(
            "A file of rows was refused.", f"{file.name} has the digest {sha256}, and {file.sha256} was agreed",
            "restore what was agreed, or agree on what is there",
        )  # fmt: skip
