"""The held-out documents of a sealed checkpoint, as text: from the files, or from a prepared folder's tokens.

After a phase of sft these are held-out rows. Where nothing is held out (dpo, kto, self-play) there are none.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import numbering, tokenizer
from .data import find_prepared
from .documents import Entry, fraction, matcher, read_bytes, read_listing, tail, to_utf8
from .row_store import row_digest
from .rows import read_rows, spoken
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
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text("utf-8"))
    if "corpus" not in state:
        known = [sha256 for sha256, _ in state.get("rows", {}).get("files", ())]
        share = float(state["recipe"]["data"]["held_out"]) if state.get("rows", {}).get("kind") == "sft" else 0.0
        found = _held_out_rows(known, share, listing, root, excluded)
        return [(document, text[:characters]) for document, text in itertools.islice(found, documents)]
    if prepared := find_prepared(listing, root):
        return _from_tokens(open_prepared(*prepared), excluded, characters, documents)
    return _from_files(checkpoint, listing, root, excluded, characters, documents)


def _held_out_rows(
    known: Collection[str], share: float, listing: Path, root: Path, excluded: Callable[[str], bool]
) -> Iterator[tuple[Document, str]]:
    for entry in read_listing(listing) if share else ():
        if entry.sha256 in known:
            for name, row in read_rows(root / entry.path, entry.path, "sft"):
                digest = row_digest(row)
                if fraction(digest) < share and not excluded(name):
                    yield Document(name, digest), spoken(row)


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
