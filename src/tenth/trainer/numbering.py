"""The numbering of a run's documents in 16 bytes each: what a checkpoint keeps, so that exclusion moves nothing.

A row stands for what lies of a document on one side, in the order of the first listing. It knows the path by its hash
only: enough to see which documents the present listing lacks, and where their tokens stood.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .documents import Entry
from .errors import CheckpointError

FILE = "numbering.bin"
ROW = np.dtype([("path", "<u8"), ("tokens", "<u4"), ("side", "<u4")])
HELD_OUT, HALF = 1, 2  # bits of `side`; HALF: of a lone document

Rows = NDArray[Any]


def path_key(path: str) -> int:
    return int.from_bytes(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()[:8], "little")


def row(path: str, tokens: int, held_out: bool, half: bool) -> bytes:
    side = (HELD_OUT if held_out else 0) | (HALF if half else 0)
    return np.array([(path_key(path), tokens, side)], dtype=ROW).tobytes()


def load(folder: Path) -> Rows:
    """The rows that lie in a checkpoint. Raises CheckpointError where they are missing or torn."""
    try:
        return np.frombuffer((folder / FILE).read_bytes(), dtype=ROW)
    except (OSError, ValueError) as error:
        raise CheckpointError("The checkpoint was refused.", f"{error}", "go back to an earlier checkpoint") from error


def missing(rows: Rows, entries: Iterable[Entry]) -> NDArray[np.bool_]:
    """For each row whether the listing lacks its document."""
    present = np.fromiter((path_key(entry.path) for entry in entries), dtype=np.uint64)
    lacks: NDArray[np.bool_] = ~np.isin(rows["path"], present)
    return lacks


def known(rows: Rows, entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries that have a row."""
    keys = np.sort(rows["path"])
    for entry in entries:
        key = np.uint64(path_key(entry.path))
        at = int(np.searchsorted(keys, key))
        if at < len(keys) and keys[at] == key:
            yield entry


def spans(rows: Rows, gone: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 2) start and stop in the training tokens of the rows that are gone."""
    training = (rows["side"] & HELD_OUT) == 0
    stops = np.cumsum(rows["tokens"][training], dtype=np.int64)
    chosen = gone[training] & (rows["tokens"][training] > 0)
    found: NDArray[np.int64] = np.stack([stops - rows["tokens"][training], stops], axis=1)[chosen].reshape(-1, 2)
    return found
