"""The sample shards: what the model wrote, kept as claims, one JSON object a line; their digests go into the log."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenth.encoding import canonical, digest_file

MOST, SECONDS = 200, 10.0
"""A shard is closed when it holds MOST samples or is SECONDS old."""


def pending(folder: Path, known: set[str]) -> dict[str, Any] | None:
    """The record of a shard that a crash left open, cut to whole lines; ``known`` are the shards in the log."""
    for path in sorted(folder.glob("*.jsonl")):
        if path.name in known:
            continue
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            path.unlink()
            continue
        if whole != data:
            os.truncate(path, len(whole))
        return record(path, whole.count(b"\n"))
    return None


def record(path: Path, count: int) -> dict[str, Any]:
    return {"path": f"samples/{path.name}", "sha256": digest_file(path), "count": count}


class Shards:
    """The writer of the present shard."""

    def __init__(self, folder: Path, made: int) -> None:
        """``made`` shards are in the log already."""
        self._folder, self._made = folder, made
        self._file: int | None = None
        self._count, self._since = 0, 0.0

    @property
    def full(self) -> bool:
        return self._count >= MOST or (self._count > 0 and time.monotonic() - self._since > SECONDS)

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._made + 1:06d}.jsonl"

    def add(self, sample: Mapping[str, Any]) -> None:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o644)
            self._since = time.monotonic()
        os.write(self._file, canonical(dict(sample)) + b"\n")
        self._count += 1

    def close(self) -> list[tuple[str, dict[str, Any]]]:
        """Make the shard durable and return its ``sampled`` event, if there is one to record."""
        if self._file is None:
            return []
        os.fsync(self._file)
        os.close(self._file)
        event = ("sampled", record(self._path, self._count))
        self._file, self._count = None, 0
        self._made += 1
        return [event]
