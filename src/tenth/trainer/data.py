"""Token shards on disk, built once from the documents, and the fixed order in which an epoch reads them.

A shard is the tokens of all its documents one after another, a separator before each, as uint16 or uint32. The cache
folder is made under a temporary name and renamed when it is whole, so a killed build leaves nothing that could be taken
for a corpus; `corpus.json` holds the digest of every file in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import documents as docs
from . import tokenizer
from .documents import Document
from .errors import CorpusError
from .loss import IGNORED
from .recipe import DataRecipe
from .tokenizer import Text

CACHE_VERSION = 1
ENCODED_AT_ONCE = 4_000_000  # characters handed to the tokenizer in one batch
PIECE = 1 << 20  # characters; a longer document is encoded piece by piece, cut at line ends
TRAIN, HELD_OUT = "train.bin", "held_out.bin"
FILES = ("documents.jsonl", "tokenizer.json", TRAIN, HELD_OUT)


@dataclass(frozen=True)
class Corpus:
    """An opened cache folder."""

    folder: Path
    key: str
    digest: str  # of corpus.json, hence of every file
    documents: tuple[Document, ...]
    train: NDArray[Any]  # memory-mapped tokens
    separator: int
    vocabulary: int
    bytes_per_token: float  # of the training documents
    report: dict[str, Any]

    def spans(self, paths: frozenset[str]) -> NDArray[np.int64]:
        """(n, 2) start and stop in `train` of the training documents whose path is in `paths`."""
        spans, at = [], 0
        for document in self.documents:
            if document.held_out:
                continue
            if document.path in paths and document.tokens:
                spans.append((at, at + document.tokens))
            at += document.tokens
        return np.array(spans, dtype=np.int64).reshape(-1, 2)


class Epoch:
    """Batches of one epoch: chunks of `context` tokens in an order fixed by the seed.

    Step s reads chunks [s x batch, (s + 1) x batch) of that order. Excluded documents move no boundary: their tokens
    are replaced by separators and carry no loss, so nothing of them reaches the model.
    """

    def __init__(
        self, corpus: Corpus, context: int, batch: int, seed: int, number: int, excluded: frozenset[str] = frozenset()
    ) -> None:
        self._tokens, self._separator = corpus.train, corpus.separator
        self._context, self._batch = context, batch
        self._excluded = corpus.spans(excluded)
        chunks = (len(corpus.train) - 1) // context
        if chunks < 1:
            raise CorpusError(
                "The corpus was refused.", f"{len(corpus.train)} tokens where one sequence takes {context + 1}",
                "add documents, or lower model.context",
            )  # fmt: skip
        self._order = shuffled(chunks, seed, number)
        self.steps = -(-chunks // batch)

    def batch(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets of a step, both (B, T); the last step of an epoch may be smaller."""
        chunks = self._order[step * self._batch : (step + 1) * self._batch].astype(np.int64)
        places = chunks[:, None] * self._context + np.arange(self._context + 1)
        tokens = self._tokens[places].astype(np.int64)
        hidden = self._is_excluded(places)
        targets = np.where(hidden, IGNORED, tokens)
        return np.where(hidden, self._separator, tokens)[:, :-1], targets[:, 1:]

    def batches(self, start: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for step in range(start, self.steps):
            yield self.batch(step)

    def _is_excluded(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not len(self._excluded):
            return np.zeros(places.shape, dtype=np.bool_)
        span = np.searchsorted(self._excluded[:, 0], places, side="right") - 1
        inside: NDArray[np.bool_] = (span >= 0) & (places < self._excluded[np.maximum(span, 0), 1])
        return inside


def shuffled(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """A permutation of range(count): the indices sorted by their SplitMix64 hash.

    Written out because numpy's generators may change their streams between versions, and a resumed run must not.
    """
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint64) + _mix(np.array([seed], np.uint64) + _mix(np.array([epoch], np.uint64)))
        return np.argsort(_mix(x), kind="stable")


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def open_fresh(listing: Path, root: Path, work: Path, recipe: DataRecipe) -> Corpus:
    """The corpus of a run's first lease: its listing becomes the base of the order."""
    settings: list[object] = [CACHE_VERSION, hashlib.sha256(listing.read_bytes()).hexdigest(), recipe.held_out]
    given: Text | None = None
    if recipe.tokenizer == "bpe":
        settings += ["bpe", recipe.vocabulary, tokenizer.PATTERN]
    elif recipe.tokenizer == "bytes":
        settings += ["bytes"]
    else:
        given = tokenizer.from_file(root / recipe.tokenizer)
        settings += ["file", given.to_json()]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    corpus = _open(work, key)
    if corpus is not None:
        return corpus
    base = docs.split(docs.read_listing(listing), recipe.held_out)
    if given is None:
        given = tokenizer.byte_tokenizer() if recipe.tokenizer == "bytes" else _train_bpe(root, base, recipe.vocabulary)
    return _build(work, key, root, base, given, frozenset())


def open_again(checkpoint: Path, key: str, digest: str, root: Path, work: Path, excluded: frozenset[str]) -> Corpus:
    """The corpus of a later lease: the cache if it is the one that the checkpoint names, else built anew.

    The checkpoint's own document index and tokenizer are the base; an excluded document need not exist any more.
    """
    corpus = _open(work, key)
    if corpus is not None and corpus.digest == digest:
        return corpus
    base = docs.load((checkpoint / "documents.jsonl").read_text("utf-8"))
    given = tokenizer.from_file(checkpoint / "tokenizer.json")
    return _build(work, key, root, base, given, excluded)


def _train_bpe(root: Path, base: Iterable[Document], vocabulary: int) -> Text:
    def texts() -> Iterator[str]:
        left = tokenizer.TRAINING_BYTES
        # By digest: a fair sample of the corpus when it is larger than what the tokenizer is trained on.
        for document in sorted(base, key=lambda d: (d.sha256, d.path)):
            if document.held_out or left <= 0:
                continue
            text, _ = docs.to_text(docs.read_bytes(root, document))
            if text:
                left -= len(text)
                yield text

    return tokenizer.train_bpe(texts(), vocabulary)


def _build(
    work: Path, key: str, root: Path, base: tuple[Document, ...], text: Text, excluded: frozenset[str]
) -> Corpus:
    final = _place(work, key)
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    kind = np.uint16 if text.vocabulary <= 1 << 16 else np.uint32
    report = {"bytes": 0, "tokens": 0, "held_out_tokens": 0, "binary": 0, "replaced": 0}
    index: list[Document] = []
    with (partial / TRAIN).open("wb") as train, (partial / HELD_OUT).open("wb") as held_out:
        for document, ids in _encoded(root, base, text, excluded, report):
            if document.tokens and document.tokens != len(ids):
                raise CorpusError(
                    "The corpus was refused.", f"{document.path}: {len(ids)} tokens, {document.tokens} before",
                    "use the version of `tokenizers` that the run began with",
                )  # fmt: skip
            index.append(dataclasses.replace(document, tokens=len(ids)))
            (held_out if document.held_out else train).write(np.array(ids, dtype=kind).tobytes())
            report["held_out_tokens" if document.held_out else "tokens"] += len(ids)
    if report["tokens"] == 0:
        raise CorpusError(
            "The corpus was refused.", f"no text to train on ({report['binary']} binary files of {len(base)})",
            "name folders of text in the charter",
        )  # fmt: skip
    (partial / "documents.jsonl").write_text(docs.dump(index), "utf-8")
    (partial / "tokenizer.json").write_text(text.to_json(), "utf-8")
    files = {name: _digest(partial / name) for name in FILES}
    about = {"version": CACHE_VERSION, "dtype": np.dtype(kind).name, "files": files, "report": report}
    about |= {"separator": text.separator, "vocabulary": text.vocabulary}
    (partial / "corpus.json").write_text(json.dumps(about, sort_keys=True), "utf-8")
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)
    corpus = _open(work, key)
    if corpus is None:
        raise CorpusError("The corpus was refused.", "the shards changed while written", "look into the work folder")
    return corpus


def _encoded(
    root: Path, base: Iterable[Document], text: Text, excluded: frozenset[str], report: dict[str, int]
) -> Iterator[tuple[Document, list[int]]]:
    """Each document with its tokens, encoded in batches so that memory does not grow with the corpus."""
    waiting: list[tuple[Document, list[str]]] = []
    size = 0
    for document in base:
        if document.path in excluded:  # its tokens are never read: only their number matters
            yield from _flush(waiting, text)
            waiting, size = [], 0
            yield document, [text.separator] * document.tokens
            continue
        content = docs.read_bytes(root, document)
        decoded, replaced = docs.to_text(content)
        report["replaced"] += replaced
        if decoded is None:
            report["binary"] += 1
            document = dataclasses.replace(document, skipped="binary")
        elif not document.held_out:
            report["bytes"] += len(content)
        waiting.append((document, list(_pieces(decoded or ""))))
        size += len(decoded or "")
        if size >= ENCODED_AT_ONCE:
            yield from _flush(waiting, text)
            waiting, size = [], 0
    yield from _flush(waiting, text)


def _flush(waiting: list[tuple[Document, list[str]]], text: Text) -> Iterator[tuple[Document, list[int]]]:
    encoded = iter(text.encode([piece for _, pieces in waiting for piece in pieces]))
    for document, pieces in waiting:
        ids = [text.separator] if pieces else []
        for _ in pieces:
            ids.extend(next(encoded))
        yield document, ids


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        stop = at + PIECE
        if stop < len(text):
            stop = text.rfind("\n", at, stop) + 1 or stop
        yield text[at:stop]
        at = stop


def _place(work: Path, key: str) -> Path:
    return work / "cache" / f"corpus-{key[:16]}"


def _open(work: Path, key: str) -> Corpus | None:
    """The cache folder if it is whole and says the truth about itself, else None."""
    folder = _place(work, key)
    try:
        raw = (folder / "corpus.json").read_bytes()
        about = json.loads(raw)
        if any(_digest(folder / name) != about["files"][name] for name in FILES):
            return None
    except (OSError, ValueError, KeyError):
        return None
    report = about["report"]
    return Corpus(
        folder=folder, key=key, digest=hashlib.sha256(raw).hexdigest(),
        documents=docs.load((folder / "documents.jsonl").read_text("utf-8")),
        train=np.memmap(folder / TRAIN, dtype=about["dtype"], mode="r"),
        separator=about["separator"], vocabulary=about["vocabulary"],
        bytes_per_token=report["bytes"] / max(1, report["tokens"]), report=report,
    )  # fmt: skip


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
