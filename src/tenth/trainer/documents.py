"""Documents: the listing that names them, which of them are held out, and how their bytes become text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import CorpusError

SNIFFED_BYTES = 8192
TAIL = 0.05  # share of a lone document that is held out
REPLACEMENT = b"\xef\xbf\xbd"  # U+FFFD in UTF-8


@dataclass(frozen=True)
class Entry:
    """One line of a data listing (docs/formats.md §2)."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Document:
    """A stretch of a file (nearly always all of it) on one side of the split; `tokens` counts its separator."""

    path: str
    sha256: str
    start: int  # bytes
    stop: int
    held_out: bool
    tokens: int = 0
    skipped: str = ""  # why it has no tokens


def read_listing(path: Path) -> tuple[Entry, ...]:
    """The entries in their order. Raises CorpusError for a listing that cannot be read."""
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
        return tuple(Entry(str(row["path"]), str(row["sha256"]), int(row["size"])) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError("The data listing was refused.", f"{path}: {error!r}", "let tenth write it") from error


def split(entries: Iterable[Entry], share: float) -> tuple[Document, ...]:
    """Put each document on its side by the hash of its content, so that copies of one text fall together.

    When no hash falls below `share`, the smallest is held out; a lone document gives its tail.
    """
    full = [entry for entry in entries if entry.size]
    if not full:
        raise CorpusError(
            "The corpus was refused.", "no document with any content", "name folders of text in the charter"
        )
    if share <= 0:
        return tuple(Document(e.path, e.sha256, 0, e.size, False) for e in full)
    kinds = {e.sha256 for e in full}
    if len(kinds) == 1:
        first = full[0]
        cut = first.size - max(1, int(first.size * max(share, TAIL)))
        return (
            Document(first.path, first.sha256, 0, cut, False),
            Document(first.path, first.sha256, cut, first.size, True),
        )
    chosen = {digest for digest in kinds if _fraction(digest) < share} or {min(kinds)}
    if len(chosen) == len(kinds):
        chosen.discard(max(kinds))
    return tuple(Document(e.path, e.sha256, 0, e.size, e.sha256 in chosen) for e in full)


def _fraction(digest: str) -> float:
    # Hashed once more: the corpus's own digests may have been used to choose it.
    return int.from_bytes(hashlib.sha256(b"held-out " + digest.encode()).digest()[:8], "big") / 2**64


def read_bytes(root: Path, document: Document) -> bytes:
    """The document's bytes, checked against the listing. Raises CorpusError when the file changed or is gone."""
    path = root / document.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(
            "A document was refused.", f"{path}: {error}", "restore it, or exclude it at a gate"
        ) from error
    if hashlib.sha256(content).hexdigest() != document.sha256:
        raise CorpusError(
            "A document was refused.", f"{path} is not what the listing pinned ({len(content)} bytes now)",
            "restore it, or exclude it at a gate",
        )  # fmt: skip
    return content[document.start : document.stop]


def to_text(content: bytes) -> tuple[str | None, int]:
    """The text and how many invalid UTF-8 sequences were replaced; None for binary content (a zero byte early on)."""
    if b"\0" in content[:SNIFFED_BYTES]:
        return None, 0
    try:
        return content.decode("utf-8"), 0
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        return text, text.count("\ufffd") - content.count(REPLACEMENT)


def dump(documents: Iterable[Document]) -> str:
    """The document index as JSON lines: with it a checkpoint knows the corpus that its order was made from."""
    return "".join(json.dumps(asdict(document), sort_keys=True) + "\n" for document in documents)


def load(text: str) -> tuple[Document, ...]:
    return tuple(Document(**json.loads(line)) for line in text.splitlines())
