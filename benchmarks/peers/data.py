"""The one corpus of all contenders: prepared by tenth's own data path, and shared as plain arrays.

`train.npy` holds the batches in the order in which tenth's own trainer reads them, `held_out.npy` the windows that
every contender is evaluated on, `bytes.npy` the bytes that each token stands for. All three are made once, from a
folder of text, with one tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenth.trainer import data as shards
from tenth.trainer import tokenizer
from tenth.trainer.epoch import Epoch
from tenth.trainer.recipe import Recipe, shape
from tenth.trainer.shards import open_prepared

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))

SEED = 1234
WINDOWS = 256
"""Held-out windows of one context each that are scored at every look: spread evenly over all held-out documents."""
NOT_SHIPPED = frozenset({"site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True)
class Shared:
    """What was prepared. Arrays lie in `folder` beside `shared.json`."""

    folder: Path
    root: Path
    """What the listing's paths are relative to."""
    facts: dict[str, Any]

    @property
    def listing(self) -> Path:
        return self.folder / "listing.jsonl"

    def train(self) -> NDArray[np.uint16]:
        """(chunks, context + 1), in the order of the epoch; step s reads rows [s x batch, (s + 1) x batch)."""
        rows: NDArray[np.uint16] = np.load(self.folder / "train.npy", mmap_mode="r")
        return rows

    def held_out(self) -> NDArray[np.uint16]:
        """(windows, context + 1)."""
        windows: NDArray[np.uint16] = np.load(self.folder / "held_out.npy")
        return windows

    def token_bytes(self) -> NDArray[np.int64]:
        """(vocabulary,): bytes of text that each token stands for; 0 for the separator."""
        sizes: NDArray[np.int64] = np.load(self.folder / "bytes.npy")
        return sizes


def standard_library(folder: Path) -> Path:
    """A copy of this Python's library, its tests included, without installed packages."""
    from live import copy_standard_library

    if not folder.exists():
        copy_standard_library(folder / "python", NOT_SHIPPED)
    return folder


def write_listing(root: Path, path: Path) -> None:
    """Every file below `root` with digest and size, in the order of the paths' bytes (docs/formats.md §2)."""
    rows = []
    for file in root.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            name = file.relative_to(root).as_posix()
            rows.append({"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)})
    rows.sort(key=lambda row: str(row["path"]).encode())
    path.write_text("".join(json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n" for row in rows), "utf-8")


def prepare(folder: Path, root: Path, recipe: Recipe) -> Shared:
    """Tokenize what lies below `root` as tenth's trainer does, or find it prepared.

    `folder/work` is what tenth's own contender gets as its work folder: the same shards, so it tokenizes nothing anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listing = folder / "listing.jsonl"
    write_listing(root, listing)
    (folder / "work").mkdir(exist_ok=True)
    corpus = shards.open_fresh(listing, root, folder / "work", recipe.data)
    m = shape(recipe, corpus.vocabulary)
    facts = {
        "digest": corpus.digest, "vocabulary": corpus.vocabulary, "separator": corpus.separator,
        "train_tokens": len(corpus.train), "bytes_per_token": round(corpus.bytes_per_token, 4),
        "held_out_tokens": len(held_out_stream(corpus)), "seed": SEED, "batch": recipe.train.batch, "shape": asdict(m),
    }  # fmt: skip
    shared = Shared(folder, root, facts)
    known = folder / "shared.json"
    if known.exists() and json.loads(known.read_text()) == facts:
        return shared
    epoch = Epoch(corpus, m.context, recipe.train.batch, SEED, 1)
    np.save(folder / "train.npy", np.concatenate([_rows(*epoch.batch(step)) for step in range(epoch.steps)]))
    text = tokenizer.from_file(corpus.folder / "tokenizer.json")
    np.save(folder / "bytes.npy", token_bytes(text))
    np.save(folder / "held_out.npy", held_out_windows(held_out_stream(corpus), m.context))
    known.write_text(json.dumps(facts))
    return shared


def load(folder: Path, root: Path) -> Shared:
    """What `prepare` left."""
    return Shared(folder, root, json.loads((folder / "shared.json").read_text()))


def _rows(inputs: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.uint16]:
    return np.concatenate([inputs, targets[:, -1:]], axis=1).astype(np.uint16)


def token_bytes(text: tokenizer.Text) -> NDArray[np.int64]:
    """Byte-level BPE writes one character for each byte."""
    entries = json.loads(text.to_json())["model"]["vocab"]
    lengths = np.zeros(text.vocabulary, dtype=np.int64)
    for token, number in entries.items():
        lengths[number] = 0 if number == text.separator else len(token)
    return lengths


def held_out_stream(corpus: shards.Corpus) -> NDArray[np.int64]:
    """The tokens of all held-out documents, a separator before each."""
    tokens = open_prepared(corpus.folder).held_out
    return tokens.read(0, len(tokens))


def held_out_windows(stream: NDArray[np.int64], context: int) -> NDArray[np.uint16]:
    """`WINDOWS` windows of `context` + 1 tokens at even distances, or as many as there are."""
    possible = (len(stream) - 1) // context
    if possible < 1:
        raise SystemExit(f"{len(stream)} held-out tokens: fewer than one window of {context + 1}")
    count = min(WINDOWS, possible)
    starts = [at * possible // count * context for at in range(count)]
    return np.stack([stream[start : start + context + 1] for start in starts]).astype(np.uint16)
