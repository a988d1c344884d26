"""Sources to a prepared folder: streaming, in several processes, and after a kill from where it stopped.

What is written depends on the sources and settings alone, not on the number of workers, nor on how often it was
interrupted. The folder is made beside its place under the name `FOLDER.partial` and renamed when it is whole.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import numbering, tokenizer
from .documents import Split, split, tail, to_utf8
from .duplicates import Seen
from .encode import Encoded, Encoders, Part, Work, contents, encoders
from .errors import CorpusError
from .shard_writer import PROGRESS, Writer, room_on_disk, write_whole
from .shards import MANIFEST, ROW, SIDES, Prepared, open_prepared
from .sources import Batch, Listed, Source
from .tokenizer import Text

PAUSE = 5.0  # seconds of work that a kill may cost
BAD_ROWS = 100  # more of them are a wrong file, not a few torn lines
WORTH_WORKERS = 8_000_000  # bytes; a smaller corpus is encoded before a second process has begun


@dataclass(frozen=True)
class Settings:
    """What decides the bytes that are written, together with the sources."""

    tokenizer: str = "bpe"  # "bpe", "bytes", or the text of a tokenizer.json
    vocabulary: int = 4096  # entries of a trained BPE
    held_out: float = 0.03
    column: str = "text"

    def known_as(self) -> dict[str, Any]:
        """For the manifest; a brought tokenizer by its digest."""
        name = self.tokenizer
        if name not in ("bpe", "bytes"):
            name = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        vocabulary = {"vocabulary": self.vocabulary} if name == "bpe" else {}
        return {"tokenizer": name, "held_out": self.held_out, "text_column": self.column, **vocabulary}


@dataclass
class Report:
    """What was met on the way."""

    bytes: int = 0  # of training text
    replaced: int = 0  # invalid UTF-8 sequences
    empty: int = 0
    binary: int = 0
    duplicates: int = 0
    excluded: int = 0
    links: int = 0
    bad_rows: int = 0
    other: int = 0


@dataclass(frozen=True)
class Progress:
    """For whoever shows it."""

    doing: str
    bytes: int = 0
    total: int = 0
    documents: int = 0
    tokens: int = 0


Show = Callable[[Progress], None]
Run = Callable[[Iterable[Batch]], Iterator[tuple[Batch, list[Encoded]]]]  # batches to what was made of them


@dataclass
class Job:
    """One preparation. `gone` holds the numbering of an earlier one, some of whose documents may not be read."""

    source: Source
    out: Path
    settings: Settings
    workers: int = 1
    show: Show = lambda _: None
    gone: numbering.Rows | None = None
    about: dict[str, Any] = field(default_factory=dict)  # goes into the manifest's settings, too

    def run(self) -> Prepared:
        """Prepare, or go on preparing, or find that it is done. Raises TrainerError."""
        settings = {**self.settings.known_as(), **self.about}
        if (self.out / MANIFEST).is_file():
            prepared = open_prepared(self.out)
            _refuse_others(self.out, prepared.manifest["settings"], settings)
            return prepared
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise CorpusError(
                "The folder was refused.", f"{self.out} is there, and is no prepared data", "name a new --out"
            )
        partial = self.out.with_name(f"{self.out.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial), room_on_disk(partial):
            self._build(partial, settings)
            if self.out.is_dir():
                self.out.rmdir()
            os.rename(partial, self.out)
        return open_prepared(self.out, _trusted(self.out))

    def _build(self, partial: Path, settings: dict[str, Any]) -> None:
        self.show(Progress("Looking at the sources"))
        found, size = self.source.fingerprint()
        state = self._state(partial, settings, found)
        with encoders(self.workers if size >= WORTH_WORKERS else 1) as workers:
            self._write(partial, settings, found, size, state, workers)

    def _write(
        self, partial: Path, settings: dict[str, Any], found: str, size: int, state: dict[str, Any], workers: Encoders
    ) -> None:
        if "split" not in state:
            state |= {"settings": settings, "sources": found, "split": _as_json(self._split())}
            self.show(Progress("Making the tokenizer"))
            write_whole(partial / "tokenizer.json", self._tokenizer(_split_from(state), size).to_json().encode())
            write_whole(partial / PROGRESS, json.dumps(state).encode())
        text = tokenizer.from_file(partial / "tokenizer.json")
        split_now = _split_from(state)
        writer = Writer(partial, text.vocabulary, isinstance(self.source, Listed), state.get("writer", {}))
        try:
            work = Work(text.to_json(), split_now, self.settings.column)
            self._encode(writer, lambda batches: workers.run(work, batches), state, size)
            report = state["report"]
            if not writer.tokens:
                left_out = ", ".join(f"{count} {name}" for name, count in report.items() if count) or "nothing there"
                raise CorpusError(
                    "The corpus was refused.", f"no text to train on ({left_out})", "name folders of text"
                )
            writer.finish({
                "settings": settings, "separator": text.separator, "vocabulary": text.vocabulary, "report": report,
            })  # fmt: skip
        finally:
            writer.abandon()

    def _state(self, partial: Path, settings: dict[str, Any], sources: str) -> dict[str, Any]:
        """What an earlier, interrupted preparation left. Raises CorpusError where it prepared something else."""
        try:
            state: dict[str, Any] = json.loads((partial / PROGRESS).read_bytes())
        except OSError:
            return {}
        _refuse_others(partial, state["settings"], settings)
        if state["sources"] != sources:
            raise CorpusError(
                "The preparation cannot go on.", "the sources changed since it was interrupted",
                f"remove {partial} and begin again",
            )  # fmt: skip
        return state

    def _split(self) -> Split:
        if self.gone is not None:
            assert isinstance(self.source, Listed)
            held = self.gone[(self.gone["side"] & numbering.HELD_OUT) != 0]
            lone = bool(((self.gone["side"] & numbering.HALF) != 0).any())
            chosen = frozenset(entry.sha256 for entry in numbering.known(held, self.source.entries()))
            return Split(self.settings.held_out, chosen, lone)
        return split(self._digests(), self.settings.held_out)

    def _digests(self) -> Iterator[str]:
        for _, content, why in self._contents(self.source.batches()):
            if content and not why and to_utf8(content)[0]:
                yield hashlib.sha256(content).hexdigest()

    def _contents(self, batches: Iterable[Batch]) -> Iterator[tuple[str, bytes, str]]:
        for batch in batches:
            yield from contents(batch, self.settings.column)

    def _tokenizer(self, now: Split, size: int) -> Text:
        if self.settings.tokenizer == "bytes":
            return tokenizer.byte_tokenizer()
        if self.settings.tokenizer != "bpe":
            return tokenizer.from_json(self.settings.tokenizer)
        wanted = tokenizer.training_bytes(self.settings.vocabulary)
        return tokenizer.train_bpe(self._sample(now, wanted, 1.25 * wanted / max(1, size)), self.settings.vocabulary)

    def _sample(self, now: Split, wanted: int, share: float) -> Iterator[str]:
        """About `wanted` bytes of training text from all over the corpus."""
        chosen = self.source.batches(lambda name: _fraction(name) < share)
        first = next(chosen, None)  # of a few large files, chance may choose none
        batches = self.source.batches() if first is None else itertools.chain([first], chosen)
        for _, content, why in self._contents(batches):
            text, _ = to_utf8(content)
            if why or not text or now.held_out(hashlib.sha256(content).hexdigest()):
                continue
            yield (text[: tail(text, now.share)] if now.lone else text).decode()
            wanted -= len(text)
            if wanted <= 0:
                return

    def _encode(self, writer: Writer, run: Run, state: dict[str, Any], size: int) -> None:
        report = Report(**state.get("report", {}))
        done, done_bytes = int(state.get("batches", 0)), int(state.get("bytes", 0))
        seen = _already_seen(writer)
        if not done:
            for file in self.source.inventory():
                if file.why_not:
                    if file.why_not != "excluded":  # that was asked for
                        writer.skip(file.name, file.why_not)
                    _count(report, file.why_not)
        paused, rows_before = time.monotonic(), _GoneRows(self.gone, writer)
        batches = itertools.islice(self.source.batches(), done, None)
        for batch, documents in run(batches):
            fresh = iter(seen.add([document.digest for document in documents if not document.skipped]))
            for document in documents:
                if document.skipped:
                    self._skip(writer, report, document)
                elif not next(fresh) and self.gone is None:
                    writer.skip(document.name, "duplicate")
                    report.duplicates += 1
                else:
                    rows_before.up_to(document)
                    writer.write(document)
                    report.replaced += document.replaced
                    report.bytes += sum(part.size for part in document.parts if not part.held_out)
            done, done_bytes = done + 1, done_bytes + batch.size
            state |= {"batches": done, "bytes": done_bytes, "report": dataclasses.asdict(report)}
            self.show(Progress("Encoding", done_bytes, size, writer.documents, writer.tokens))
            if time.monotonic() - paused > PAUSE and self.gone is None:
                state["writer"] = writer.pause()
                write_whole(writer.folder / PROGRESS, json.dumps(state).encode())
                paused = time.monotonic()
        rows_before.finish()
        state["report"] = dataclasses.asdict(report)

    def _skip(self, writer: Writer, report: Report, document: Encoded) -> None:
        writer.skip(document.name, document.skipped)
        _count(report, document.skipped)
        if report.bad_rows > BAD_ROWS:
            raise CorpusError(
                "A source was refused.", f"{report.bad_rows} bad rows, the last {document.name}: {document.skipped}",
                "mend the file, or leave it out with --exclude",
            )  # fmt: skip


class _GoneRows:
    """Puts separators where documents stood that may not be read, and holds the others to their numbering."""

    def __init__(self, rows: numbering.Rows | None, writer: Writer) -> None:
        self._rows, self._writer, self._at = rows, writer, 0

    def up_to(self, document: Encoded) -> None:
        if self._rows is None:
            return
        key = numbering.path_key(document.name)
        while self._at < len(self._rows) and int(self._rows[self._at]["path"]) != key:
            self._write_gone()
        width = np.dtype(self._writer.dtype).itemsize
        for part in document.parts:
            row = self._rows[self._at : self._at + 1]
            if len(part.tokens) // width != row["tokens"].sum() or part.held_out != bool(row["side"].sum() & 1):
                raise moved(document.name)
            self._at += 1

    def finish(self) -> None:
        while self._rows is not None and self._at < len(self._rows):
            self._write_gone()

    def _write_gone(self) -> None:
        assert self._rows is not None
        row = self._rows[self._at]
        separator = tokenizer.from_file(self._writer.folder / "tokenizer.json").separator
        tokens = np.full(int(row["tokens"]), separator, dtype=self._writer.dtype).tobytes()
        self._writer.write_gone(Part(bool(row["side"] & numbering.HELD_OUT), 0, tokens), row.tobytes())
        self._at += 1


def moved(name: str) -> CorpusError:
    return CorpusError(
        "The corpus was refused.", f"{name} does not have the tokens that it had before",
        "use the version of `tokenizers` that the run began with",
    )  # fmt: skip


def _count(report: Report, why: str) -> None:
    kind = {"empty": "empty", "binary": "binary", "excluded": "excluded", "no readable file": "other"}.get(why)
    kind = kind or ("links" if why.startswith("link ") else "bad_rows")
    setattr(report, kind, getattr(report, kind) + 1)


def _already_seen(writer: Writer) -> Seen:
    """The digests of the documents that an interrupted preparation wrote."""
    seen = Seen()
    for side in SIDES:
        with (writer.folder / f"{side}.documents").open("rb") as file:
            while part := file.read(4096 * ROW.itemsize):
                seen.add([digest.tobytes() for digest in np.frombuffer(part, dtype=ROW)["digest"]])
    return seen


def _fraction(name: str) -> float:
    return int.from_bytes(hashlib.sha256(b"sample " + name.encode("utf-8", "replace")).digest()[:8], "big") / 2**64


def _as_json(found: Split) -> dict[str, Any]:
    chosen = None if found.chosen is None else sorted(found.chosen)
    return {"share": found.share, "chosen": chosen, "lone": found.lone}


def _split_from(state: dict[str, Any]) -> Split:
    kept = state["split"]
    return Split(kept["share"], None if kept["chosen"] is None else frozenset(kept["chosen"]), kept["lone"])


def _refuse_others(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise CorpusError(
                "The folder was refused.",
                f"{folder} was made with {key} = {before.get(key)!r}, and {now.get(key)!r} is asked for now",
                "name a new --out, or remove this one",
            )


def _trusted(folder: Path) -> dict[str, str]:
    """The digests of a folder that this process has just written."""
    raw = (folder / MANIFEST).read_bytes()
    files: dict[str, list[Any]] = json.loads(raw)["files"]
    return {name: str(row[0]) for name, row in files.items()} | {MANIFEST: hashlib.sha256(raw).hexdigest()}


@contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """One preparation of a folder at a time."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CorpusError("The preparation was refused.", f"another process prepares {partial}", "let it end") from None
    finally:
        os.close(descriptor)


def discard(out: Path) -> None:
    """Remove what an interrupted preparation left."""
    shutil.rmtree(out.with_name(f"{out.name}.partial"), ignore_errors=True)
