"""The sample shards: what the model wrote, kept as claims, one JSON object a line; their digests go into the log."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenth.encoding import canonical, digest_file, sync_folder, write_all

MOST, SECONDS = 200, 10.0
"""A shard is closed when it holds MOST samples or is SECONDS old."""


class Shards:
    """The writer of the present shard. One that could not be written whole stays on disk, outside the log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A shard that a crash left open keeps its number and stays outside the log.
        self._made = max((int(path.stem) for path in folder.glob("[0-9]*.jsonl")), default=0)
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
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            self._since = time.monotonic()
        try:
            write_all(self._file, canonical(dict(sample)) + b"\n")
        except OSError:
            os.close(self._leave(self._file))
            raise
        self._count += 1

    def close(self) -> list[tuple[str, dict[str, Any]]]:
        """Make the shard durable and return its ``sampled`` event, if there is one to record."""
        if self._file is None:
            return []
        path, count, file = self._path, self._count, self._leave(self._file)
        try:
            os.fsync(file)
            sync_folder(self._folder)
        finally:
            os.close(file)
        return [("sampled", {"path": f"samples/{path.name}", "sha256": digest_file(path), "count": count})]

    def _leave(self, file: int) -> int:
        """The next sample begins another shard."""
        self._file, self._count = None, 0
        self._made += 1
        return file
