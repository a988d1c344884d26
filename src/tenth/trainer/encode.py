"""A batch of documents to tokens, in this process or in several: what comes out does not depend on how many."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from pathlib import Path

from . import tokenizer
from .documents import Entry, Split, read_bytes, tail, to_utf8
from .errors import CorpusError
from .sources import Batch, changed, no_column
from .words import Encoder

AHEAD = 3  # batches that wait for each worker


@dataclass(frozen=True)
class Part:
    """What of a document lies on one side."""

    held_out: bool
    size: int  # bytes of UTF-8
    tokens: bytes  # packed; the separator comes first


@dataclass(frozen=True)
class Encoded:
    """A document with its tokens, or the reason why it has none."""

    name: str
    digest: bytes  # SHA-256 of the content
    parts: tuple[Part, ...] = ()
    replaced: int = 0  # invalid UTF-8 sequences
    skipped: str = ""


@dataclass(frozen=True)
class Work:
    """What every worker needs to know."""

    tokenizer: str  # tokenizer.json
    split: Split
    column: str = "text"


class Worker:
    """Encodes batches; keeps the words that it has seen."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._encoder = Encoder(tokenizer.from_json(work.tokenizer))

    def __call__(self, batch: Batch) -> list[Encoded]:
        documents = contents(batch, self._work.column)
        return [self._one(name, content, why) for name, content, why in documents]

    def _one(self, name: str, content: bytes, why: str) -> Encoded:
        sha256 = hashlib.sha256(content)
        text, replaced = to_utf8(content)
        why = why or ("binary" if text is None else "" if text else "empty")
        if why or text is None:
            return Encoded(name, sha256.digest(), skipped=why)
        split = self._work.split
        if split.lone:
            cut = tail(text, split.share)
            halves = ((False, text[:cut]), (True, text[cut:]))
        else:
            halves = ((split.held_out(sha256.hexdigest()), text),)  # type: ignore[assignment]
        parts = tuple(Part(held, len(half), self._encoder.encode(half)) for held, half in halves)
        return Encoded(name, sha256.digest(), parts, replaced)


def contents(batch: Batch, column: str) -> Iterator[tuple[str, bytes, str]]:
    """Name, content, and why the document is left out, if it is: each file or row of a batch."""
    for entry, path in batch.files:
        if entry.sha256:
            yield entry.path, read_bytes(path, entry), ""
        else:
            yield entry.path, _whole(entry, path), ""
    for number, line in enumerate(batch.lines.removesuffix(b"\n").split(b"\n") if batch.lines else (), batch.first):
        yield f"{batch.name}#{number}", *_from_json(f"{batch.name} line {number}", line, column)
    for number, text in enumerate(batch.texts, batch.first):
        yield f"{batch.name}#{number}", (text or "").encode("utf-8", "replace"), ""


def _whole(entry: Entry, path: Path) -> bytes:
    content = path.read_bytes()
    if len(content) != entry.size:
        raise changed(path, entry.size, len(content))
    return content


def _from_json(where: str, line: bytes, column: str) -> tuple[bytes, str]:
    if not line.strip():
        return b"", ""
    try:
        row = json.loads(line)
    except ValueError as error:
        return line, f"no JSON: {error}"
    if not isinstance(row, dict):
        return line, f"no JSON object but {type(row).__name__}"
    if column not in row:
        raise no_column(where, column, list(row))
    text = row[column]
    if text is not None and not isinstance(text, str):
        return line, f"{column!r} holds {type(text).__name__}, not text"
    return (text or "").encode("utf-8", "replace"), ""


@contextmanager
def encoders(count: int) -> Iterator[Encoders]:
    """As many workers, on their way; they end with this block, or with this process, however it dies."""
    if count <= 1:
        yield Encoders()
        return
    spawn = multiprocessing.get_context("spawn")
    try:
        given = spawn.Queue()
        pool = ProcessPoolExecutor(count, spawn, _begin, (given,))
        for _ in range(count):  # else it starts none before there is work, and starting takes a while
            pool.submit(_loaded)
    except OSError:  # a quarantine without shared memory: slower, and the same bytes
        yield Encoders()
        return
    with pool:
        try:
            yield Encoders(pool, given, count)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            given.cancel_join_thread()  # what nobody took, after an error, is not waited for
            given.close()


@dataclass(frozen=True)
class Encoders:
    """Without a pool, this process is the only worker."""

    _pool: ProcessPoolExecutor | None = None
    _given: Queue[Work] | None = None
    count: int = 1

    def run(self, work: Work, batches: Iterable[Batch]) -> Iterator[tuple[Batch, list[Encoded]]]:
        """The batches in their order, a few of them ahead; once only. Raises CorpusError for what a worker refuses."""
        if self._pool is None or self._given is None:
            worker = Worker(work)
            for batch in batches:
                yield batch, worker(batch)
            return
        for _ in range(self.count):
            self._given.put(work)
        waiting: deque[tuple[Batch, Future[list[Encoded]]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, self._pool.submit(_encode, batch)))
                if len(waiting) > AHEAD * self.count:
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        except BrokenProcessPool:
            raise CorpusError(
                "The preparation stopped.", "a worker was killed, perhaps because memory ran out",
                "begin again with fewer --workers: it goes on from where it stopped",
            ) from None  # fmt: skip


_given: list[Queue[Work]] = []
_worker: list[Worker] = []


def _begin(given: Queue[Work]) -> None:
    """A worker's start. Ctrl-C is its parent's business, and it does not outlive its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _given.append(given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _loaded() -> None:
    import tokenizers  # noqa: F401 (what takes the time)


def _encode(batch: Batch) -> list[Encoded]:
    if not _worker:
        _worker.append(Worker(_given[0].get()))
    return _worker[0](batch)
