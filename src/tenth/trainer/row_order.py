"""Which rows an epoch has still to read, and in which order: fixed by the seed, and kept in each checkpoint.

Files may come and go at any gate: batches of feedback are added, documents are excluded. What was read stays read; what
is left of the files that are still there, and the rows of new ones, are put into a new order. An epoch's length is what
was read and what is left to read, so its gates stay tenths of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CheckpointError, CorpusError
from .permutation import Permutation
from .row_store import Store

FILE = "order.bin"
ENTRY = np.dtype([("file", "<u4"), ("row", "<u4")])

Order = NDArray[np.int64]  # numbers of rows in the store


def fresh(store: Store, seed: int, epoch: int, exclude: Sequence[str]) -> Order:
    """All rows of an epoch. Raises CorpusError where there are none."""
    rows = store.side(held_out=False, exclude=exclude)
    if not len(rows):
        raise CorpusError("The rows were refused.", "all are held out, excluded or ties", "name more files")
    return rows[Permutation(len(rows), seed, epoch)[:]]


def left(
    store: Store, checkpoint: Path, known: Sequence[str], seed: int, epoch: int, step: int, exclude: Sequence[str]
) -> Order:
    """What a checkpoint of this epoch, made at `step`, left to read. `known`: digests of the files that it numbers."""
    try:
        entries = np.frombuffer((checkpoint / FILE).read_bytes(), dtype=ENTRY)
    except (OSError, ValueError) as error:
        raise CheckpointError("The checkpoint was refused.", f"{error}", "go back to an earlier checkpoint") from error
    now = [one.file.sha256 for one in store.cached]
    # Of the files that the checkpoint numbers: where their rows begin now, or -1.
    bases = np.array([int(store.bases[now.index(one)]) if one in now else -1 for one in known], dtype=np.int64)
    base = bases[entries["file"]]
    old: Order = (base + entries["row"])[base >= 0]
    candidates = store.side(held_out=False, exclude=exclude)
    old_left: Order = old[np.isin(old, candidates)]
    new = candidates[~np.isin(_file_of(store, candidates), [now.index(one) for one in known if one in now])]
    if len(old_left) == len(entries) and not len(new):
        return old_left
    rows = np.concatenate([old_left, new])
    return rows[Permutation(len(rows), seed + step, epoch)[:]] if len(rows) else rows


def save(folder: Path, store: Store, order: Order) -> None:
    """Write what is left to read into `folder`."""
    entries = np.empty(len(order), dtype=ENTRY)
    entries["file"] = _file_of(store, order)
    entries["row"] = order - store.bases[entries["file"]]
    (folder / FILE).write_bytes(entries.tobytes())


def _file_of(store: Store, rows: Order) -> NDArray[Any]:
    return np.searchsorted(store.bases, rows, side="right") - 1
