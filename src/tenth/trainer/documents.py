"""Documents: the listing that names them, which of them are held out, and how their bytes become text."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import CorpusError

SNIFFED_BYTES = 8192
TAIL = 0.05  # share of a lone document that is held out
REPLACEMENT = b"\xef\xbf\xbd"  # U+FFFD in UTF-8
LOOKED_AT = 50  # documents that are expected to be held out among those that the split looks at beforehand


@dataclass(frozen=True)
class Entry:
    """One line of a data listing (docs/formats.md §2)."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Split:
    """Which side a document falls on: by the hash of its content, so that copies of one text fall together.

    `chosen` names the held-out documents of a corpus so small that chance might hold out none; `lone` is set where all
    documents are copies of one, which then gives its tail.
    """

    share: float
    chosen: frozenset[str] | None = None
    lone: bool = False

    def held_out(self, sha256: str) -> bool:
        return sha256 in self.chosen if self.chosen is not None else fraction(sha256) < self.share


def split(digests: Iterable[str], share: float) -> Split:
    """The split of a corpus whose documents have these digests; it reads on only until chance can be trusted.

    When no hash falls below `share`, the smallest is held out.
    """
    if share <= 0:
        return Split(0.0)
    enough = LOOKED_AT / min(share, max(1 - share, 1e-3))
    kinds: set[str] = set()
    for digest in digests:
        kinds.add(digest)
        if len(kinds) >= enough:
            return Split(share)
    if len(kinds) <= 1:
        return Split(share, frozenset(), lone=bool(kinds))
    chosen = {digest for digest in kinds if fraction(digest) < share} or {min(kinds)}
    if len(chosen) == len(kinds):
        chosen.discard(max(kinds))
    return Split(share, frozenset(chosen))


def tail(content: bytes, share: float) -> int:
    """Where the held-out tail of a lone document begins, never inside a character."""
    cut = len(content) - max(1, int(len(content) * max(share, TAIL)))
    while cut > 0 and content[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut


def fraction(digest: str) -> float:
    """Where a digest falls between 0 and 1: what is held out falls below a share."""
    # Hashed once more: the corpus's own digests may have been used to choose it.
    return int.from_bytes(hashlib.sha256(b"held-out " + digest.encode()).digest()[:8], "big") / 2**64


def read_listing(path: Path) -> Iterator[Entry]:
    """The entries in their order, one by one. Raises CorpusError for a listing that cannot be read."""
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield Entry(str(row["path"]), str(row["sha256"]), int(row["size"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError("The data listing was refused.", f"{path}: {error!r}", "let tenth write it") from error


def read_bytes(path: Path, entry: Entry) -> bytes:
    """The document's bytes, checked against the listing. Raises CorpusError when the file changed or is gone."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(
            "A document was refused.", f"{path}: {error}", "restore it, or exclude it at a gate"
        ) from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise CorpusError(
            "A document was refused.", f"{path} is not what the listing pinned ({len(content)} bytes now)",
            "restore it, or exclude it at a gate",
        )  # fmt: skip
    return content


def to_utf8(content: bytes) -> tuple[bytes | None, int]:
    """Valid UTF-8 and how many invalid sequences were replaced; None for binary content (a zero byte early on)."""
    if b"\0" in content[:SNIFFED_BYTES]:
        return None, 0
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
        return text.encode(), text.count("\ufffd") - content.count(REPLACEMENT)
    return content, 0


def matcher(globs: Iterable[str]) -> Callable[[str], bool]:
    """Does a document's name match one of the globs? Case-sensitive, and `*` matches slashes too."""
    patterns = [fnmatch.translate(glob) for glob in globs]
    if not patterns:
        return lambda _: False
    compiled = re.compile("|".join(patterns))
    return lambda name: compiled.match(name) is not None
