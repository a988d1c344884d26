"""What a witness remembers: of each log it was told of, the log's key and the newest head that it cosigned.

One file per log, replaced as a whole, durable before a cosignature leaves. Does not protect against: one key that
witnesses from two memories, or a memory put back from an old copy; either could cosign two histories and not know it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tenth.encoding import canonical, decode, read_plain, sync_folder, write_durably
from tenth.errors import BadEncoding, BadKey, TenthError, WrongInput
from tenth.witness.note import LOG, Checkpoint, NamedKey

SUFFIX = ".json"
MOST_NAME = 200


@dataclass(frozen=True)
class Known:
    """What is remembered of one log."""

    log: NamedKey
    note: bytes | None
    """The newest head with the log's signature and our cosignature; None before the first."""

    @property
    def checkpoint(self) -> Checkpoint | None:
        return Checkpoint.parse(self.note) if self.note is not None else None

    def record(self) -> bytes:
        head = self.note.decode() if self.note is not None else None
        return canonical({"head": head, "log": self.log.line, "version": 1})

    @classmethod
    def parse(cls, data: bytes) -> Known:
        """Raises BadEncoding or BadKey."""
        value = decode(data.removesuffix(b"\n"), "what a witness remembers")
        if not isinstance(value, dict) or value.keys() != {"head", "log", "version"} or value["version"] != 1:
            raise BadEncoding("this is not what a witness remembers", "it has head, log and version 1")
        head, log = value["head"], NamedKey.parse(str(value["log"]))
        if log.kind != LOG or not (head is None or isinstance(head, str)):
            raise BadEncoding("this is not what a witness remembers", repr(value)[:120])
        known = cls(log, head.encode() if head is not None else None)
        if known.checkpoint is not None and known.checkpoint.origin != log.name:
            raise BadEncoding("this is not what a witness remembers", "its head is of another log")
        return known


class Memory:
    """The folder of one witness."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, origin: str) -> Path:
        return self.folder / (_file_name(origin) + SUFFIX)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else changes this memory meanwhile, neither a thread nor another process."""
        _make(self.folder)
        file = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def recall(self, origin: str) -> Known | None:
        """None for a log it was not told of.

        Raises WrongInput if what is there cannot be read: then nothing is cosigned.
        """
        if len(_file_name(origin)) > MOST_NAME:
            return None  # it cannot have been added
        path = self.path(origin)
        try:
            known = Known.parse(read_plain(path))
        except FileNotFoundError:
            return None
        except (OSError, TenthError) as error:
            raise WrongInput(
                f"the witness's memory of {origin} cannot be used",
                f"{path}: {error}",
                "nothing is cosigned from it; compare it with what was cosigned before",
            ) from None
        if known.log.name != origin:
            raise WrongInput(f"the witness's memory of {origin} cannot be used", f"{path} is of {known.log.name}")
        return known

    def keep(self, known: Known) -> None:
        """Durable when this returns."""
        _make(self.folder)
        write_durably(self.path(known.log.name), known.record())

    def add(self, log: NamedKey) -> bool:
        """Cosign this log from now on; False if it was known already.

        Raises BadKey if its name has another key here.
        """
        if log.kind != LOG:
            raise BadKey("this is not the key of a log", log.line, "give the line that 'tenth witness ask' prints")
        if len(_file_name(log.name)) > MOST_NAME:
            raise WrongInput("this log cannot be witnessed", "its name is too long")
        with self.held():
            known = self.recall(log.name)
            if known is None:
                self.keep(Known(log, None))
            elif known.log != log:
                found = f"{log.name} is known with the key {known.log.line}"
                raise BadKey(
                    "this log is not added", found, "two keys for one log are two logs: ask who made the second"
                )
        return known is None

    def all(self) -> list[Known]:
        """Raises WrongInput if one of them cannot be read."""
        names = sorted(self.folder.glob(f"*{SUFFIX}")) if self.folder.is_dir() else []
        found = []
        for path in names:
            try:
                found.append(Known.parse(read_plain(path)))
            except TenthError as error:
                raise WrongInput(f"{path} cannot be used", str(error)) from None
        return found


def _file_name(origin: str) -> str:
    """One name for one log, in characters that every file may have."""
    return quote(origin, safe="").replace(".", "%2E")


def _make(folder: Path) -> None:
    """Durably, with the folders above it: a memory that is gone after a crash could be begun anew."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
