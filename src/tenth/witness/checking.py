"""Does a log go on from every head that was kept elsewhere? What a witness's word is worth to an auditor (promise 7).

Does not protect against: witnesses who all help the one who cut the log back; entries newer than the newest head that
was cosigned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tenth.encoding import read_plain
from tenth.errors import BadStatement, BrokenPromise, TenthError, WrongInput
from tenth.log.entry import Entry, timestamp
from tenth.log.store import ENTRIES
from tenth.log.tree import leaf_hash
from tenth.witness import kept
from tenth.witness.consistency import root_of
from tenth.witness.kept import Cosignature, Parties
from tenth.witness.memory import Known
from tenth.witness.note import MOST_BYTES, Checkpoint

SKEW_SECONDS = 300
"""How far two honest clocks may differ."""


@dataclass(frozen=True)
class Seen:
    """A head that somebody kept, and that this log begins with."""

    who: str
    """Name of the witness; empty for a head that nobody cosigned."""
    size: int
    time: int | None
    """When it was cosigned: seconds since 1970, by the witness's clock."""
    source: str
    notes: tuple[str, ...] = ()
    """What is odd about it, in words."""

    def record(self, entries: int, now: float) -> dict[str, object]:
        ago = None if self.time is None or self.time > now + SKEW_SECONDS else max(0, round(now - self.time))
        when = None if self.time is None else timestamp(self.time)
        facts = {"witness": self.who or None, "entries": self.size, "newer_entries": entries - self.size, "time": when}
        return {**facts, "seconds_ago": ago, "source": self.source, "notes": list(self.notes)}


@dataclass(frozen=True)
class Witnessed:
    """A log that was verified, for heads to be held against."""

    parties: Parties
    lines: Sequence[bytes]
    """The log's entries, as they are hashed."""

    @classmethod
    def of(cls, run: Path, parties: Parties, entries: int, root: str) -> Witnessed:
        """The first ``entries`` of the run's log, whose ``root`` (hex) was verified.

        Raises BrokenPromise if it is another.
        """
        lines = read_plain(run / "log" / ENTRIES).split(b"\n")[:entries]
        found = cls(parties, lines)
        if found.root(entries).hex() != root:
            raise BrokenPromise(7, "the log changed while it was read", f"root {found.root(entries).hex()}")
        return found

    @cached_property
    def _leaves(self) -> Sequence[bytes]:
        return [leaf_hash(line) for line in self.lines]

    def root(self, size: int) -> bytes:
        return root_of(self._leaves[:size])

    def hold(self, head: Checkpoint, who: str, source: str) -> None:
        """Raise BrokenPromise(7) unless the log begins with ``head``."""
        by = f"{who} has cosigned" if who else "there was"
        signed = "" if who == "" or head.by(self.parties.log) else ", which the log's key did not sign"
        if head.size > len(self.lines):
            found = f"{by} a head of {head.size} entries{signed}, and there are {len(self.lines)} here"
            raise BrokenPromise(7, "the log was cut back", f"{found} ({source})")
        if self.root(head.size) != head.root:
            found = f"{by} another head of {head.size} entries{signed}: root {head.root.hex()[:16]}… ({source})"
            raise BrokenPromise(7, "somebody was shown another log", found, entry=max(0, head.size - 1))

    def cosigned(self, one: Cosignature, source: str, now: float) -> Seen:
        head, notes = one.checkpoint, []
        self.hold(head, one.witness.name, source)
        if one.time > now + SKEW_SECONDS:
            notes.append(f"it is dated {timestamp(one.time)}, which is yet to come: how fresh it is cannot be said")
        if head.size and (written := Entry.parse(self.lines[head.size - 1]).time) > timestamp(one.time + SKEW_SECONDS):
            notes.append(f"it is dated {timestamp(one.time)}, before the last entry that it covers ({written})")
        return Seen(one.witness.name, head.size, one.time, source, tuple(notes))

    def of_run(self, cosignatures: dict[str, Cosignature], now: float) -> list[Seen]:
        """What is kept beside the log. Raises BrokenPromise(7)."""
        return [self.cosigned(one, f"log/{kept.FILE}", now) for _, one in sorted(cosignatures.items())]

    def of_file(self, path: Path, now: float) -> list[Seen]:
        """What was kept elsewhere: a witness's memory, a cosigned head, or a head of the log that somebody copied.

        Raises WrongInput if it says nothing of this log, and BrokenPromise(7) if the log does not go on from it.
        """
        head = _head_in(path)
        if head.origin != self.parties.log.name:
            raise WrongInput(f"{path} says nothing of this run", f"it is a head of {head.origin}")
        found = []
        try:
            signed = head.signed_by(self.parties.log)
        except BadStatement:
            signed = False
        for name, witness in sorted(self.parties.witnesses.items()):
            try:
                when = head.cosigned_at(witness)
            except BadStatement as error:
                raise WrongInput(
                    f"{path} is not believed", f"it bears a forged cosignature of {name}: {error}"
                ) from None
            if when is not None:
                found.append(self.cosigned(Cosignature(witness, head, when, b""), str(path), now))
        if not found and not signed:
            do = "give a witness's memory, a cosigned head, or five lines of log/heads"
            raise WrongInput(f"{path} is not believed", "neither the log nor a witness of its charter signed it", do)
        if not found:
            self.hold(head, "", str(path))
            found.append(Seen("", head.size, None, str(path)))
        return found


def _head_in(path: Path) -> Checkpoint:
    try:
        data = read_plain(path)
        if data.startswith(b"{"):
            head = Known.parse(data).checkpoint
            if head is None:
                raise WrongInput(f"{path} says nothing of this run", "this witness has cosigned no head yet")
            return head
        return Checkpoint.parse(data[: MOST_BYTES + 1])
    except (OSError, TenthError) as error:
        if isinstance(error, WrongInput) and error.refused.endswith("says nothing of this run"):
            raise
        raise WrongInput(
            f"{path} cannot be used", str(error)[:300], "give a witness's memory or a cosigned head"
        ) from None
