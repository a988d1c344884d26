"""What a run keeps of its witnesses: the newest head that each cosigned, beside the log, in ``log/cosignatures``.

Six lines each, in the order of the witnesses' names: a head with the log's signature, then the cosignature. It is no
part of the log, and is checked whenever it is read. Does not protect against: somebody who takes the file away, or puts
an older one in its place; the witnesses' own memories tell.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tenth.charter import Charter
from tenth.encoding import read_plain, write_durably
from tenth.errors import BrokenPromise, TenthError
from tenth.keys import PublicKey
from tenth.log.head import origin
from tenth.witness.note import LOG, WITNESS, Checkpoint, NamedKey, signature_line

FILE = "cosignatures"
LINES = 6


@dataclass(frozen=True)
class Cosignature:
    """One witness's newest word on a log."""

    witness: NamedKey
    checkpoint: Checkpoint
    time: int
    """Seconds since 1970, by the witness's clock."""
    note: bytes
    """The six lines."""


@dataclass(frozen=True)
class Parties:
    """Who signs what in one run."""

    log: NamedKey
    witnesses: Mapping[str, NamedKey]

    @classmethod
    def of(cls, run: str, log_key: PublicKey, charter: Charter) -> Parties:
        named = {name: NamedKey(name, WITNESS, key) for name, key in charter.witnesses.items()}
        return cls(NamedKey(origin(run), LOG, log_key), named)


def only(checkpoint: Checkpoint, log: NamedKey, witness: NamedKey) -> bytes:
    """The head with just these two signatures, as it is kept."""
    signed = [(key, found) for key in (log, witness) for found in checkpoint.by(key)[:1]]
    return checkpoint.text + b"\n" + b"".join(signature_line(key.name, key.id + found) for key, found in signed)


def read_bytes(folder: Path) -> bytes | None:
    """The file as it is; None where there is none. Raises BrokenPromise(7)."""
    try:
        return read_plain(folder / FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BrokenPromise(7, f"log/{FILE} cannot be read", str(error)) from None


def read(folder: Path, parties: Parties) -> dict[str, Cosignature]:
    """Of each witness that cosigned, by name. Raises BrokenPromise(7) if anything else stands there."""
    data = read_bytes(folder)
    return parse(data, parties) if data is not None else {}


def parse(data: bytes, parties: Parties) -> dict[str, Cosignature]:
    """As ``read``, of what ``read_bytes`` gave."""
    lines = data.split(b"\n")
    if len(lines) % LINES != 1 or lines[-1]:
        raise BrokenPromise(7, f"log/{FILE} is damaged", "it does not consist of cosigned heads, of six lines each")
    found: dict[str, Cosignature] = {}
    for at in range(0, len(lines) - 1, LINES):
        note = b"\n".join(lines[at : at + LINES]) + b"\n"
        try:
            one = _one(note, parties)
        except TenthError as error:
            raise BrokenPromise(7, f"log/{FILE} is damaged", f"line {at + 1}: {error}"[:300]) from None
        if one is None or any(name >= one.witness.name for name in found):
            what = f"lines {at + 1} to {at + LINES} are not a head of this log that the next witness cosigned"
            raise BrokenPromise(7, f"log/{FILE} is damaged", what)
        found[one.witness.name] = one
    return found


def _one(note: bytes, parties: Parties) -> Cosignature | None:
    head = Checkpoint.parse(note)
    witness = parties.witnesses.get(head.signatures[-1][0])
    if witness is None or head.origin != parties.log.name or not head.signed_by(parties.log):
        return None
    when = head.cosigned_at(witness)
    if when is None or only(head, parties.log, witness) != note:
        return None
    return Cosignature(witness, head, when, note)


def keep(folder: Path, parties: Parties, fresh: Cosignature) -> bool:
    """Put it in the place of that witness's last one, durably; False if that is newer, and stays."""
    with _held(folder):
        found = read(folder, parties)
        last = found.get(fresh.witness.name)
        if last and (last.checkpoint.size, last.time) > (fresh.checkpoint.size, fresh.time):
            return False
        found[fresh.witness.name] = fresh
        write_durably(folder / FILE, b"".join(found[name].note for name in sorted(found)))
    return True


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One writer at a time."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
