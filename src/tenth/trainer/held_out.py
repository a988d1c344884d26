"""The held-out documents of a sealed checkpoint, as text: from the files, or from a prepared folder's tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import numbering, tokenizer
from .data import find_prepared
from .documents import Entry, matcher, read_bytes, read_listing, tail, to_utf8
from .shards import Prepared, open_prepared


@dataclass(frozen=True)
class Document:
    """A held-out document. `path` names it as the index does; `sha256` may be the first half only."""

    path: str
    sha256: str


def held_out_texts(
    checkpoint: Path, listing: Path, root: Path, exclude: tuple[str, ...], characters: int, documents: int
) -> list[tuple[Document, str]]:
    """At most `documents` held-out documents, each cut to `characters`, in an order that no gate changes.

    Documents that were excluded meanwhile are left out.
    """
    excluded = matcher(exclude)
    if found := find_prepared(listing, root):
        return _from_tokens(open_prepared(*found), excluded, characters, documents)
    return _from_files(checkpoint, listing, root, excluded, characters, documents)


def _from_tokens(
    prepared: Prepared, excluded: Callable[[str], bool], characters: int, documents: int
) -> list[tuple[Document, str]]:
    index, text = prepared.held_out_documents, tokenizer.from_file(prepared.folder / "tokenizer.json")
    digests = np.ascontiguousarray(index.digests())
    texts: list[tuple[Document, str]] = []
    for number in np.argsort(digests.view(">u8").reshape(-1, 2)[:, 0], kind="stable").tolist():
        name = index.name(number)
        if len(texts) == documents:
            break
        if not excluded(name):
            start, stop = index.span(number)
            ids = prepared.held_out.read(start + 1, min(stop, start + 1 + 4 * characters)).tolist()
            texts.append((Document(name, digests[number].tobytes().hex()), text.decode(ids)[:characters]))
    return texts


def _from_files(
    checkpoint: Path, listing: Path, root: Path, excluded: Callable[[str], bool], characters: int, documents: int
) -> list[tuple[Document, str]]:
    rows = numbering.load(checkpoint)
    held = rows[(rows["side"] & numbering.HELD_OUT) != 0]
    halves = {int(key) for key in held["path"][(held["side"] & numbering.HALF) != 0]}
    chosen = [entry for entry in numbering.known(held, read_listing(listing)) if not excluded(entry.path)]
    chosen.sort(key=lambda entry: (entry.sha256, entry.path))
    texts = []
    for entry in chosen[:documents]:
        content, _ = to_utf8(read_bytes(root / entry.path, entry))
        if content and numbering.path_key(entry.path) in halves:
            content = content[tail(content, _share(checkpoint)) :]
        if content:
            texts.append((_document(entry), content.decode()[:characters]))
    return texts


def _document(entry: Entry) -> Document:
    return Document(entry.path, entry.sha256)


def _share(checkpoint: Path) -> float:
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text("utf-8"))
    return float(state["recipe"]["data"]["held_out"])
