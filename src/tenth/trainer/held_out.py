"""The held-out documents of a sealed checkpoint, as text: from the files, or from a prepared folder's tokens.

After a phase of sft these are held-out rows, as text or as training reads them. Where nothing is held out (dpo, kto,
self-play) there are none.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import chat, numbering, tokenizer
from .data import find_prepared
from .documents import Entry, fraction, matcher, read_bytes, read_listing, tail, to_utf8
from .row_store import row_digest
from .rows import Marked, Reader, Row, read_rows, spoken
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
    state = _state(checkpoint)
    if "corpus" not in state:
        rows = itertools.islice(_held_out_rows(state, listing, root, excluded), documents)
        return [(document, spoken(row)[:characters]) for document, row in rows]
    if prepared := find_prepared(listing, root):
        return _from_tokens(open_prepared(*prepared), excluded, characters, documents)
    return _from_files(checkpoint, listing, root, excluded, characters, documents)


def held_out_answers(
    checkpoint: Path, listing: Path, root: Path, exclude: tuple[str, ...], documents: int
) -> list[tuple[Document, Marked]]:
    """The same rows as training reads them, whole, with what carries loss marked; none after another phase than sft."""
    state = _state(checkpoint)
    rows = list(itertools.islice(_held_out_rows(state, listing, root, matcher(exclude)), documents))
    if not rows:
        return []
    text = tokenizer.from_file(checkpoint / "tokenizer.json")
    reader = Reader("sft", text, state["recipe"]["model"]["context"], chat.chat_template(checkpoint))
    examples = ((document, reader.example(document.path, row)) for document, row in rows)
    return [(document, example.sequences[0]) for document, example in examples if example]


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / "state.json").read_text("utf-8"))
    return state


def _held_out_rows(
    state: Mapping[str, Any], listing: Path, root: Path, excluded: Callable[[str], bool]
) -> Iterator[tuple[Document, Row]]:
    rows = state.get("rows", {})
    known = [sha256 for sha256, _ in rows.get("files", ())]
    share = float(state["recipe"]["data"]["held_out"]) if rows.get("kind") == "sft" else 0.0
    for entry in read_listing(listing) if share else ():
        if entry.sha256 in known:
            for name, row in read_rows(root / entry.path, entry.path, "sft"):
                digest = row_digest(row)
                if fraction(digest) < share and not excluded(name):
                    yield Document(name, digest), row


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
    return float(_state(checkpoint)["recipe"]["data"]["held_out"])
