"""Sealed folders: plain files only, hashed file by file, then read-only. Also listings of data and code.

Hashing is done by generators that yield after each chunk, so that the supervisor hears the cord while it hashes.
Does not protect against: a root user who edits a file and sets its modes back; the digests tell that afterwards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tenth.encoding import canonical, digest, hash_file, parse, read_plain, sync_folder
from tenth.errors import WrongInput
from tenth.gate.adjustment import listing_line

SEALED, SHARES = ".sealed", ".shares.json"
"""Beside a checkpoint's folder: its encrypted form, and the shares of the key."""

MOST_SUMMARY_BYTES = 1 << 22
"""Of a summary.json: more would keep the cord waiting while it is read."""

T = TypeVar("T")
Work = Generator[None, None, T]
"""Something to be done in small steps; returns T."""


def finish(work: Work[T]) -> T:
    """Do it in one go."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def plain_files(folder: Path, depth: int = 16) -> Iterator[Path]:
    """The files below ``folder``. Refuses links, devices, FIFOs, sockets, files with a second name (hard link), names
    that are not UTF-8, and folders nested deeper than ``depth``."""
    if folder.is_symlink() or not depth:
        raise WrongInput(f"{folder.name!r} cannot be sealed", "it is a link, or nested too deep", "write plain folders")
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        status = entry.stat(follow_symlinks=False)
        path = Path(entry.path)
        if not entry.name.isprintable():  # a surrogate stands for a byte that is not UTF-8
            raise WrongInput(f"{entry.name!a} cannot be sealed", "its name is not printable UTF-8", "name it otherwise")
        if stat.S_ISDIR(status.st_mode):
            yield from plain_files(path, depth - 1)
        elif stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            yield path
        else:
            found = "it is a link or not a plain file"
            raise WrongInput(f"{entry.name!r} cannot be sealed", found, "write plain files")


def folder_listing(folder: Path) -> Work[list[dict[str, Any]]]:
    """``[{path, sha256, size}]`` of a folder of plain files, sorted by the bytes of the path."""
    listing = []
    for path in plain_files(folder):
        sha256, size = yield from _hashed(path)
        listing.append({"path": path.relative_to(folder).as_posix(), "sha256": sha256, "size": size})
    return sorted(listing, key=lambda row: row["path"].encode())


def folder_digest(folder: Path) -> Work[str]:
    """Refuses a folder that is missing or unreadable, too."""
    try:
        listing = yield from folder_listing(folder)
    except OSError as error:
        raise WrongInput(f"'{folder.name}' cannot be read", str(error)) from None
    return digest(canonical(listing))


def seal(source: Path, target: Path) -> Work[str]:
    """Move ``source`` to ``target``, make it durable and read-only, return its digest."""
    if not list(plain_files(source)):
        raise WrongInput(f"{source.name!r} cannot be sealed", "it is empty", "write the checkpoint there first")
    os.replace(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield from make_durable(target)
    return (yield from folder_digest(target))


def make_durable(folder: Path) -> Work[None]:
    """Everything below, whoever wrote it, and the folder's own name (promise 8)."""
    for path in (folder, *folder.rglob("*")):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        yield
    sync_folder(folder.parent)


def data_files(root: Path, given: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """``(path as listed, file)`` of the files and folders that a charter names; hidden files are left out."""
    for name in given:
        start = root / name
        if not start.exists():
            raise WrongInput(f"the data '{name}' cannot be used", f"{start} does not exist", "mend the charter")
        for file in [start] if start.is_file() else _walk(start):
            yield (str(file) if Path(name).is_absolute() else os.path.relpath(file, root)), file


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith("."))


def data_listing(root: Path, given: Iterable[str]) -> Work[bytes]:
    """The listing of a phase's documents (docs/formats.md, section 2). Refuses what is not a plain file when opened."""
    rows: dict[str, tuple[str, int]] = {}
    for listed, file in data_files(root, given):
        if not file.is_file() or not os.access(file, os.R_OK):
            raise WrongInput(f"the document {listed!r} cannot be used", "it is no readable file", "mend the data")
        rows[listed] = yield from _hashed(file)
    ordered = sorted(rows.items(), key=lambda row: row[0].encode("utf-8", "surrogateescape"))
    return b"".join(listing_line(path, sha256, size) for path, (sha256, size) in ordered)


def _hashed(path: Path) -> Work[tuple[str, int]]:
    for result in hash_file(path):
        if result is not None:
            return result
        yield
    raise AssertionError("hash_file ends with a result")


def surprised(panel: Path) -> bool:
    """Does this evidence say that it holds what nobody foresaw? Raises WrongInput if its summary cannot be read."""
    path = panel / "summary.json"
    small = path.is_file() and path.stat().st_size <= MOST_SUMMARY_BYTES
    summary = parse(read_plain(path), f"the summary.json of '{panel.name}'") if small else None
    if not isinstance(summary, dict) or type(says := summary.get("surprised", False)) is not bool:
        found = f"no summary.json of at most {MOST_SUMMARY_BYTES:,} bytes, or none that is an object of its form"
        raise WrongInput(f"'{panel.name}' is refused", found, "docs/evidence.md shows what to write")
    return says
