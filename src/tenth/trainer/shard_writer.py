"""A prepared folder, written: what is on the disk at a pause is enough to go on from there, to the same bytes."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import numbering
from .encode import Encoded, Part
from .errors import CorpusError
from .shards import FORMAT, MANIFEST, ROW, SIDES, VERSION, file_digest

PROGRESS = "progress.json"
SKIPPED = "skipped.jsonl"
SHARD_TOKENS = 100_000_000


class _Side:
    """Tokens, rows and names of one side."""

    def __init__(self, folder: Path, side: str, width: int, state: Mapping[str, Any]) -> None:
        self._folder, self._side, self._width = folder, side, width
        self.tokens, self._names_size = int(state.get("tokens", 0)), int(state.get("names", 0))
        self.documents = int(state.get("documents", 0))
        self._digests: list[str] = list(state.get("digests", []))  # of the shards that are full
        self._rows = _open(folder / f"{side}.documents", self.documents * ROW.itemsize)
        self._names = _open(folder / f"{side}.names", self._names_size)
        self._shard = _open(self._path(len(self._digests)), self._in_shard() * width)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._side}-{number:05d}.bin"

    def _in_shard(self) -> int:
        return self.tokens - len(self._digests) * SHARD_TOKENS

    def write(self, name: bytes, digest: bytes, size: int, tokens: bytes) -> None:
        """One document; its tokens go on in the next shard where this one is full."""
        self._rows.write(np.array([(self.tokens, self._names_size, size, list(digest[:16]))], dtype=ROW).tobytes())
        self._names.write(name)
        self._names_size += len(name)
        self.documents += 1
        at = 0
        while at < len(tokens):
            room = (SHARD_TOKENS - self._in_shard()) * self._width
            self._shard.write(tokens[at : at + room])
            written = min(room, len(tokens) - at)
            at += written
            self.tokens += written // self._width
            if self._in_shard() == SHARD_TOKENS:
                self._next_shard()

    def _next_shard(self) -> None:
        _sync(self._shard)
        self._shard.close()
        self._digests.append(file_digest(self._path(len(self._digests))))
        self._shard = _open(self._path(len(self._digests)), 0)

    def pause(self) -> dict[str, Any]:
        """Everything on the disk, and what a later process must know to go on."""
        for file in (self._rows, self._names, self._shard):
            _sync(file)
        state = {"tokens": self.tokens, "names": self._names_size, "documents": self.documents}
        return {**state, "digests": self._digests}

    def close(self) -> tuple[list[str], dict[str, str]]:
        """Write the closing row; returns the shards' names, and the digests that are known."""
        self._rows.write(np.array([(self.tokens, self._names_size, 0, [0] * 16)], dtype=ROW).tobytes())
        self.pause()
        for file in (self._rows, self._names, self._shard):
            file.close()
        if not self._in_shard() and self._digests:
            self._path(len(self._digests)).unlink()
        shards = [self._path(n).name for n in range(max(1, -(-self.tokens // SHARD_TOKENS)))]
        return shards, dict(zip(shards, self._digests, strict=False))

    def abandon(self) -> None:
        for file in (self._rows, self._names, self._shard):
            _let_go(file)


class Writer:
    """Takes documents in their order into `folder`, from `state` on, which an earlier writer's `pause` returned."""

    def __init__(self, folder: Path, vocabulary: int, numbered: bool, state: Mapping[str, Any]) -> None:
        self.folder = folder
        self.dtype = "uint16" if vocabulary <= 1 << 16 else "uint32"
        width = np.dtype(self.dtype).itemsize
        self._sides = [_Side(folder, side, width, state.get(side, {})) for side in SIDES]
        self._skipped = _open(folder / SKIPPED, int(state.get("skipped", 0)))
        self._numbering = _open(folder / numbering.FILE, int(state.get("numbering", 0))) if numbered else None
        self._width = width

    @property
    def tokens(self) -> int:
        """Of both sides."""
        return sum(side.tokens for side in self._sides)

    @property
    def documents(self) -> int:
        return sum(side.documents for side in self._sides)

    def write(self, document: Encoded) -> None:
        name = document.name.encode("utf-8", "surrogateescape")
        for part in document.parts:
            self._sides[part.held_out].write(name, document.digest, part.size, part.tokens)
            self._number(document.name, part, len(document.parts) > 1)

    def write_gone(self, part: Part, row: bytes) -> None:
        """A document that may not be read any more: separators stand where its tokens stood."""
        self._sides[part.held_out].write(b"", bytes(16), 0, part.tokens)
        if self._numbering:
            self._numbering.write(row)

    def skip(self, name: str, why: str) -> None:
        self._skipped.write(json.dumps({"name": name, "why": why}, sort_keys=True).encode() + b"\n")

    def _number(self, name: str, part: Part, half: bool) -> None:
        if self._numbering:
            self._numbering.write(numbering.row(name, len(part.tokens) // self._width, part.held_out, half))

    def pause(self) -> dict[str, Any]:
        state: dict[str, Any] = {name: side.pause() for name, side in zip(SIDES, self._sides, strict=True)}
        _sync(self._skipped)
        state["skipped"] = self._skipped.tell()
        if self._numbering:
            _sync(self._numbering)
            state["numbering"] = self._numbering.tell()
        return state

    def finish(self, about: Mapping[str, Any]) -> None:
        """The manifest, last."""
        self.pause()
        manifest: dict[str, Any] = {"format": FORMAT, "version": VERSION, "dtype": self.dtype, **about}
        digests: dict[str, str] = {}
        for name, side in zip(SIDES, self._sides, strict=True):
            shards, known = side.close()
            digests |= known
            manifest[name] = {"tokens": side.tokens, "documents": side.documents, "shards": shards}
        self._skipped.close()
        if self._numbering:
            self._numbering.close()
        (self.folder / PROGRESS).unlink(missing_ok=True)
        manifest["files"] = {
            path.name: [digests.get(path.name) or file_digest(path), path.stat().st_size]
            for path in sorted(self.folder.iterdir())
            if not path.name.startswith(".")
        }
        write_whole(self.folder / MANIFEST, json.dumps(manifest, sort_keys=True, indent=1).encode() + b"\n")

    def abandon(self) -> None:
        """Let go of the files without another word; what `pause` said still holds."""
        for side in self._sides:
            side.abandon()
        for file in filter(None, (self._skipped, self._numbering)):
            _let_go(file)


def write_whole(path: Path, content: bytes) -> None:
    """The file is the old one or the new one, never half of it."""
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as file:
        file.write(content)
        _sync(file)
    os.replace(partial, path)


@contextmanager
def room_on_disk(folder: Path) -> Iterator[None]:
    """Raises CorpusError where the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(folder.parent).free
        raise CorpusError(
            "The preparation stopped.", f"{error.strerror or error}: {free // 2**20:,} MiB are free at {folder.parent}",
            "make room and give the same command again: it goes on from where it stopped",
        ) from error  # fmt: skip


def _open(path: Path, size: int) -> IO[bytes]:
    """The file cut to `size` bytes, to be written on from there."""
    path.open("ab").close()  # not touch(): it trusts utime, which a quarantine without namespaces answers for any path
    if path.stat().st_size < size:
        raise CorpusError(
            "The preparation cannot go on.", f"{path} is shorter than when it paused",
            f"remove {path.parent} and begin again",
        )  # fmt: skip
    file = path.open("ab")
    file.truncate(size)  # not os.truncate(): a quarantine without namespaces refuses it by the path
    return file


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _let_go(file: IO[bytes]) -> None:
    try:
        file.close()
    except OSError:
        pass  # what could not be flushed is not counted on either
