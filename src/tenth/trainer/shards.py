"""A prepared folder, read: tokens in shards and the document behind each of them, all of it memory-mapped.

manifest.json            settings, counts, and the SHA-256 of every other file
tokenizer.json
train-00000.bin ...      tokens, little-endian uint16 or uint32, each document after a separator
train.documents          one row of 40 bytes a document, and a last one that closes them
train.names              UTF-8, one after another
held_out...              the same for the documents that are kept away from training
skipped.jsonl            what was left out, and why
numbering.bin            only where the sources were a data listing: see numbering.py
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .documents import matcher
from .errors import CorpusError

FORMAT, VERSION = "tenth-data", 2
MANIFEST = "manifest.json"
SIDES = ("train", "held_out")
ROW = np.dtype([("start", "<u8"), ("name", "<u8"), ("size", "<u8"), ("digest", "u1", (16,))])
AT_ONCE = 65_536  # rows


class Tokens:
    """One side's tokens as one sequence, whatever the borders of its shards."""

    def __init__(self, shards: list[NDArray[Any]]) -> None:
        self._shards = [shard for shard in shards if len(shard)]
        self._ends = np.cumsum([len(shard) for shard in self._shards], dtype=np.int64).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """A copy of tokens [start, stop). Raises IndexError for places outside."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"[{start}, {stop}) of {len(self)} tokens")
        tokens = np.empty(stop - start, dtype=np.int64)
        at, number = start, bisect.bisect_right(self._ends, start)
        while at < stop:
            shard, end = self._shards[number], self._ends[number]
            upto = min(stop, end)
            offset = end - len(shard)
            tokens[at - start : upto - start] = shard[at - offset : upto - offset]
            at, number = upto, number + 1
        return tokens


class Index:
    """The documents of one side in the order of their tokens; a number names a document."""

    def __init__(self, rows: NDArray[Any], names: NDArray[np.uint8]) -> None:
        self._rows, self._names = rows, names
        self._starts, self._name_starts = rows["start"], rows["name"]

    def __len__(self) -> int:
        return len(self._rows) - 1

    def at(self, token: int) -> int:
        """The number of the document that a token belongs to, by binary search. Raises IndexError outside."""
        if not 0 <= token < int(self._starts[-1]):
            raise IndexError(f"token {token} of {int(self._starts[-1])}")
        return bisect.bisect_right(self._starts, token) - 1

    def span(self, number: int) -> tuple[int, int]:
        """Start and stop of a document's tokens, its separator first."""
        return int(self._starts[number]), int(self._starts[number + 1])

    def name(self, number: int) -> str:
        """The path of its file, and #ROW where the file holds rows."""
        return bytes(self._names[int(self._name_starts[number]) : int(self._name_starts[number + 1])]).decode(
            "utf-8", "surrogateescape"
        )

    def size(self, number: int) -> int:
        return int(self._rows["size"][number])

    def digests(self) -> NDArray[np.uint8]:
        """(documents, 16): the first half of each content's SHA-256."""
        digests: NDArray[np.uint8] = self._rows["digest"][:-1]
        return digests

    def names(self) -> Iterator[str]:
        """All names, read in pieces."""
        for first in range(0, len(self), AT_ONCE):
            borders = self._name_starts[first : min(len(self), first + AT_ONCE) + 1].tolist()
            text = bytes(self._names[borders[0] : borders[-1]])
            for start, stop in itertools.pairwise(borders):
                yield text[start - borders[0] : stop - borders[0]].decode("utf-8", "surrogateescape")

    def matching(self, globs: Iterable[str]) -> list[int]:
        """Numbers of the documents whose name one of the globs matches."""
        globs = tuple(globs)
        matches = matcher(globs)
        return [number for number, name in enumerate(self.names()) if matches(name)] if globs else []


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, opened."""

    folder: Path
    digest: str  # of manifest.json, hence of every file
    manifest: dict[str, Any]
    train: Tokens
    held_out: Tokens
    documents: Index  # of train
    held_out_documents: Index
    separator: int
    vocabulary: int


def open_prepared(folder: Path, pinned: Mapping[str, str] | None = None) -> Prepared:
    """Open a prepared folder. Raises CorpusError for one that is not whole.

    `pinned` gives the SHA-256 that somebody else vouches for, by file name: then they are compared with the manifest
    and only sizes are looked at. Without it every byte is read and hashed.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        manifest = json.loads(raw)
        if manifest["format"] != FORMAT or manifest["version"] != VERSION:
            raise _refused(folder, f"format {manifest['format']!r}, version {manifest['version']}")
        for name, (sha256, size) in manifest["files"].items():
            if os.path.basename(name) != name:
                raise _refused(folder, f"the file name {name!r}")
            if (folder / name).stat().st_size != size:
                raise _refused(folder, f"{name} has not the {size:,} bytes that the manifest says")
            if (file_digest(folder / name) if pinned is None else pinned.get(name)) != sha256:
                raise _refused(folder, f"{name} is not the file that the manifest describes")
        if pinned is not None and pinned.get(MANIFEST) != hashlib.sha256(raw).hexdigest():
            raise _refused(folder, f"{MANIFEST} is not the one that the listing pinned")
        tokens = [_tokens(folder, side, manifest) for side in SIDES]
        indices = [_index(folder, side) for side in SIDES]
        return Prepared(
            folder, hashlib.sha256(raw).hexdigest(), manifest, tokens[0], tokens[1], indices[0], indices[1],
            int(manifest["separator"]), int(manifest["vocabulary"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refused(folder, repr(error)) from error


def _tokens(folder: Path, side: str, manifest: Mapping[str, Any]) -> Tokens:
    return Tokens([_mapped(folder / name, manifest["dtype"]) for name in manifest[side]["shards"]])


def _index(folder: Path, side: str) -> Index:
    return Index(_mapped(folder / f"{side}.documents", ROW), _mapped(folder / f"{side}.names", np.uint8))


def _mapped(path: Path, dtype: Any) -> NDArray[Any]:
    if path.stat().st_size == 0:  # nothing can be mapped there
        return np.empty(0, dtype)
    # As a plain array: slices of np.memmap cost several times as much.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def _refused(folder: Path, found: str) -> CorpusError:
    return CorpusError("The prepared data was refused.", f"{folder}: {found}", "prepare it again with `tenth data`")


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
