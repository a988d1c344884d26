"""What a source holds: folders of text, JSON lines, Parquet and Arrow, as batches of documents in a fixed order.

Files are batched by name, and whoever encodes them reads them. Rows are read here, in order and in pieces, so that
memory stays flat however large a file is.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .documents import Entry, matcher
from .errors import CorpusError

BATCH_BYTES = 2_000_000
BATCH_FILES = 512
JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst")
TABLES = (".parquet", ".arrow")

Sampled = Callable[[str], bool]


@dataclass(frozen=True)
class Found:
    """A file that a source holds. `name` is what its documents are called by; `why_not` says why it is left out."""

    name: str
    path: Path
    size: int
    modified: int = 0  # nanoseconds
    why_not: str = ""


@dataclass(frozen=True)
class Batch:
    """Documents to encode: either whole files, or rows of one file."""

    size: int  # bytes of the source that are done when this batch is
    files: tuple[tuple[Entry, Path], ...] = ()  # sha256 is "" where nothing was pinned
    name: str = ""  # of the file that the rows come from
    first: int = 0  # number of the first row
    lines: bytes = b""  # JSON lines
    texts: tuple[str | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Folders:
    """Sources as a person names them: folders and files, searched in the order given, each folder by name."""

    paths: tuple[Path, ...]
    exclude: tuple[str, ...] = ()
    column: str = "text"

    def inventory(self) -> Iterator[Found]:
        """Every file, in order. Raises CorpusError for a source that is not there or cannot be meant as a whole."""
        excluded = matcher(self.exclude)
        names = [source.resolve().name for source in self.paths]
        if len(set(names)) < len(names):
            raise CorpusError(
                "The sources were refused.", f"two are called {max(names, key=names.count)!r}",
                "rename one: documents are known by their source's name",
            )  # fmt: skip
        for source in self.paths:
            if not source.exists():
                raise CorpusError("A source was refused.", f"{source} does not exist", "name a file or a folder")
            if source.is_file():
                found = iter([_found(source.name, source)])
            else:
                _refuse_many_splits(source)
                found = _walk(source, source.resolve(), source.resolve().name)
            for file in found:
                yield Found(file.name, file.path, 0, 0, "excluded") if excluded(file.name) else file

    def fingerprint(self) -> tuple[str, int]:
        """A digest of names, sizes and times of all files, and their bytes: what a resumed preparation compares."""
        digest, size = hashlib.sha256(), 0
        for file in self.inventory():
            digest.update(f"{file.name}\0{file.size}\0{file.modified}\0{file.why_not}\n".encode("utf-8", "replace"))
            size += 0 if file.why_not else file.size
        return digest.hexdigest(), size

    def batches(self, sampled: Sampled = lambda _: True) -> Iterator[Batch]:
        """All documents, or those in files and blocks for whose name `sampled` says yes."""
        waiting: list[tuple[Entry, Path]] = []
        for file in self.inventory():
            if file.why_not:
                continue
            rows = file.name.endswith(JSON_LINES) or file.name.endswith(TABLES)
            if waiting and (rows or sum(e.size for e, _ in waiting) >= BATCH_BYTES or len(waiting) >= BATCH_FILES):
                yield _of_files(waiting)
                waiting = []
            if rows:
                yield from _rows(file, self.column, sampled)
            elif sampled(file.name):
                waiting.append((Entry(file.name, "", file.size), file.path))
        if waiting:
            yield _of_files(waiting)


@dataclass(frozen=True)
class Listed:
    """The documents of a data listing: whole files, each pinned by its digest."""

    entries: Callable[[], Iterator[Entry]]
    root: Path

    def inventory(self) -> Iterator[Found]:
        for entry in self.entries():
            yield Found(entry.path, self.root / entry.path, entry.size)

    def fingerprint(self) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        for entry in self.entries():
            digest.update(f"{entry.path}\0{entry.sha256}\n".encode("utf-8", "replace"))
            size += entry.size
        return digest.hexdigest(), size

    def batches(self, sampled: Sampled = lambda _: True) -> Iterator[Batch]:
        waiting: list[tuple[Entry, Path]] = []
        size = 0
        for entry in self.entries():
            if not sampled(entry.sha256):
                continue
            waiting.append((entry, self.root / entry.path))
            size += entry.size
            if size >= BATCH_BYTES or len(waiting) >= BATCH_FILES:
                yield _of_files(waiting)
                waiting, size = [], 0
        if waiting:
            yield _of_files(waiting)


Source = Folders | Listed


def _of_files(files: Sequence[tuple[Entry, Path]]) -> Batch:
    return Batch(sum(entry.size for entry, _ in files), tuple(files))


def _found(name: str, path: Path, why_not: str = "") -> Found:
    about = path.stat()
    return Found(name, path, about.st_size, about.st_mtime_ns, why_not)


def _walk(folder: Path, home: Path, name: str) -> Iterator[Found]:
    """Files below a folder, by name; hidden ones and what a Hugging Face dataset says about itself are left out."""
    is_dataset = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    for entry in sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name)):
        path, called = Path(entry.path), f"{name}/{entry.name}"
        if entry.name.startswith(".") or (is_dataset and not entry.name.endswith(".arrow")):
            continue
        if entry.is_symlink() and not path.resolve().is_relative_to(home):
            yield Found(called, path, 0, 0, "link out of the source")
        elif entry.is_symlink() and path.is_dir():
            yield Found(called, path, 0, 0, "link to a folder")
        elif entry.is_dir():
            yield from _walk(path, home, called)
        elif path.is_file() and os.access(path, os.R_OK):
            yield _found(called, path)
        else:
            yield Found(called, path, 0, 0, "no readable file")


def _refuse_many_splits(folder: Path) -> None:
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in folder.iterdir() if (p / "dataset_info.json").is_file())
        raise CorpusError(
            "A source was refused.", f"{folder} is a dataset with the splits {', '.join(splits)}",
            f"name one, such as {folder / (splits or ['train'])[0]}",
        )  # fmt: skip


def _rows(file: Found, column: str, sampled: Sampled) -> Iterator[Batch]:
    if file.name.endswith(JSON_LINES):
        return _json_lines(file, sampled)
    return _table(file, column, sampled)


def _json_lines(file: Found, sampled: Sampled) -> Iterator[Batch]:
    """Blocks of whole lines."""
    packed, first, number, read = not file.name.endswith((".jsonl", ".ndjson")), 1, 0, 0
    try:
        with opened(file.path) as stream:
            while block := stream.read(BATCH_BYTES):
                block += stream.readline()
                number, read = number + 1, read + len(block)
                if sampled(f"{file.name}@{number}"):
                    yield Batch(0 if packed else len(block), (), file.name, first, block)
                first += block.count(b"\n")
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise CorpusError("A source was refused.", f"{file.path}: {error}", "mend or exclude this file") from error
    if not packed and read != file.size:
        raise changed(file.path, file.size, read)
    if packed:
        yield Batch(file.size)


def opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """A file of lines, unpacked by its name."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rb")
    if path.name.endswith(".zst"):
        stream: IO[bytes] = arrow().input_stream(str(path), compression="zstd")
        return _Lines(stream)  # type: ignore[return-value]
    return path.open("rb")


class _Lines:
    """pyarrow's stream with the `readline` that it lacks."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._rest = stream, b""

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        block, self._rest = self._rest[:size], self._rest[size:]
        return block + self._stream.read(size - len(block)) if len(block) < size else block

    def readline(self) -> bytes:
        while b"\n" not in self._rest and (more := self._stream.read(1 << 16)):
            self._rest += more
        cut = self._rest.find(b"\n") + 1 or len(self._rest)
        line, self._rest = self._rest[:cut], self._rest[cut:]
        return line


def _table(file: Found, column: str, sampled: Sampled) -> Iterator[Batch]:
    """Rows of a Parquet or Arrow file; row numbers count from 0."""
    arrow()
    first = number = 0
    try:
        for part in _parts(file, column):
            at = 0
            while at < len(part):
                rows = max(1, min(len(part) - at, int(len(part) * BATCH_BYTES / max(1, part.nbytes))))
                number += 1
                if sampled(f"{file.name}@{number}"):
                    texts = tuple(part.slice(at, rows).to_pylist())
                    yield Batch(0, (), file.name, first, b"", texts)
                first, at = first + rows, at + rows
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        raise CorpusError("A source was refused.", f"{file.path}: {error}", "mend or exclude this file") from error
    yield Batch(file.size)


def _parts(file: Found, column: str) -> Iterator[Any]:
    """The text column, part by part."""

    def chosen(schema: Any) -> list[str]:
        _check_column(file, column, schema)
        return [column]

    for part in record_batches(file.path, chosen):
        yield part.column(column)


def record_batches(path: Path, choose: Callable[[Any], list[str]]) -> Iterator[Any]:
    """The columns that `choose` names, having seen the schema, of a Parquet or Arrow file, part by part."""
    pa = arrow()
    if path.name.endswith(".parquet"):
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(path) as table:
            yield from table.iter_batches(batch_size=1024, columns=choose(table.schema_arrow))
        return
    with pa.memory_map(str(path)) as mapped:
        try:
            stream = pa.ipc.open_stream(mapped)
        except pa.ArrowInvalid:
            blocks = pa.ipc.open_file(mapped)
            columns = choose(blocks.schema)
            for number in range(blocks.num_record_batches):
                yield blocks.get_batch(number).select(columns)
            return
        columns = choose(stream.schema)
        for part in stream:
            yield part.select(columns)


def _check_column(file: Found, column: str, schema: Any) -> None:
    if column not in schema.names:
        raise no_column(str(file.path), column, schema.names)
    kind = str(schema.field(column).type)
    if kind not in ("string", "large_string", "string_view"):
        raise CorpusError(
            "A source was refused.", f"{file.path}: the column {column!r} holds {kind}, not text",
            f"name another column with --text-column; there are {', '.join(schema.names)}",
        )  # fmt: skip


def no_column(where: str, column: str, names: Sequence[str]) -> CorpusError:
    return CorpusError(
        "A source was refused.", f"{where} has no column {column!r}, but {', '.join(map(str, names)) or 'none'}",
        "name the column that holds the text with --text-column",
    )  # fmt: skip


def changed(path: Path, before: int, now: int) -> CorpusError:
    return CorpusError(
        "A source was refused.", f"{path} changed while it was read: {before:,} bytes before, {now:,} now",
        "let nothing write to the sources, and begin again",
    )  # fmt: skip


def arrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise CorpusError(
            "A source was refused.", "this kind of file needs pyarrow", "pip install 'tenth[data]'"
        ) from None
    return pyarrow
