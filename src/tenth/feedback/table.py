"""The table of judgements: an append-only file of signed events beside a run, and the items that they are about.

Whoever reads it checks every signature and every chain, and is told the first event that does not hold. Does not
protect against: the newest events of an annotator being cut off by whoever can write the folder (a sealed batch says
how many there were), people who judge under several names with several keys, and judgements that are wrong.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenth.encoding import canonical, decode, digest, open_envelope, pae, sync_folder, write_all
from tenth.errors import BadStatement, TenthError
from tenth.feedback.events import Event, parse
from tenth.keys import PublicKey

FOLDER, EVENTS, ITEMS = "feedback", "events.jsonl", "items.jsonl"

Item = Mapping[str, Any]
Envelope = Mapping[str, Any]


class Table:
    """The table of one run, read so far. ``update`` takes in what others have written since."""

    def __init__(self, run: Path, name: str, listed: Mapping[str, PublicKey]) -> None:
        """``name`` is the run's; ``listed`` are the charter's people, whose names nobody else may use."""
        self.folder, self.run = run / FOLDER, name
        self.events: list[Event] = []
        self.items: dict[str, Item] = {}
        """Digest of its line -> item."""
        self.annotators: dict[str, PublicKey] = {}
        self._listed = listed
        self._heads: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._own: dict[str, Event] = {}
        """Digest -> event that may still be undone."""
        self._at = {EVENTS: 0, ITEMS: 0}
        self._lines = {EVENTS: 0, ITEMS: 0}

    def update(self) -> None:
        """Take in what is new. Raises BadStatement, which names the first line that does not hold."""
        events = self._fresh(EVENTS)  # before the items: an item is written before the judgements about it
        for line in self._fresh(ITEMS):
            with self._line(ITEMS, line):
                self.items[digest(line)] = _item(decode(line, "the item"))
        for line in events:
            with self._line(EVENTS, line):
                self._take(decode(line, "the envelope"))

    def place(self, by: str) -> tuple[int, str | None]:
        """``(number, before)`` of the next event of this annotator."""
        return self._counts.get(by, 0), self._heads.get(by)

    @property
    def counts(self) -> dict[str, int]:
        """Annotator -> how many events."""
        return dict(self._counts)

    def add(self, items: Iterable[Item]) -> list[str]:
        """Write the items that are not there yet; returns the digests of all."""
        lines = {digest(line): line for line in (canonical(_item(dict(item))) for item in items)}
        if not lines.keys() <= self.items.keys():
            with self._locked(ITEMS) as file:
                fresh = [line + b"\n" for name, line in lines.items() if name not in self.items]
                write_all(file, b"".join(fresh))
                os.fsync(file)
            self.update()
        return list(lines)

    def append(self, envelope: Envelope) -> Event:
        """Check one event, write it, and return it once it is durable. Raises BadStatement or BadEncoding."""
        line = canonical(envelope)
        with self._locked(EVENTS) as file:
            event = self._take(envelope)
            write_all(file, line + b"\n")
            os.fsync(file)
            self._at[EVENTS] += len(line) + 1
            self._lines[EVENTS] += 1
        return event

    def upto(self, counts: Mapping[str, int]) -> list[Event]:
        """The first events of these annotators: the table as it was when it had so many."""
        return [event for event in self.events if event.number < counts.get(event.by, 0)]

    # --- reading -----------------------------------------------------------------------------------------------------

    def _take(self, envelope: Any) -> Event:
        """Authenticate, judge, remember."""
        payload, signature = open_envelope(envelope)
        event = parse(payload)
        if event.run != self.run:
            raise BadStatement("this judgement is refused", f"it is about the run {event.run!r}"[:120])
        if (event.number, event.before) != self.place(event.by):
            found = f"it is number {event.number} of {event.by}, and number {self.place(event.by)[0]} is next"
            raise BadStatement("this judgement is refused", found, "another window of theirs was faster: begin again")
        key = self._key(event)
        key.verify(signature, pae(payload))
        if event.event in ("judged", "edited", "graded"):
            kind = self.items.get(event.subject, {}).get("kind")
            if kind != ("proposal" if event.event == "graded" else "pair"):
                raise BadStatement("this judgement is refused", "what it judges is not among the items")
        if event.event == "undone":
            undone = self._own.pop(event.subject, None)
            if undone is None or undone.by != event.by:
                raise BadStatement("this is not undone", f"{event.by} has no such judgement that stands")
        elif event.event == "joined":
            self.annotators[event.by] = key
        else:
            self._own[event.digest] = event
        self.events.append(event)
        self._heads[event.by], self._counts[event.by] = event.digest, event.number + 1
        return event

    def _key(self, event: Event) -> PublicKey:
        if event.event != "joined":
            return self.annotators[event.by]
        key = PublicKey.parse(str(event.facts["key"]))
        if key.line != event.facts["key"] or digest(key.line.encode()) != event.subject:
            raise BadStatement("this annotator is refused", "the digest is not that of the key")
        wanted = self._listed.get(event.by, key)
        other = next((name for name, one in self.annotators.items() if one == key), None)
        other = other or next((name for name, one in self._listed.items() if one == key and name != event.by), None)
        if wanted != key or other:
            found = f"this key is {other}'s" if other else f"the charter lists another key for {event.by}"
            raise BadStatement("this annotator is refused", found, "one name and one key for each person")
        return key

    @contextmanager
    def _line(self, name: str, line: bytes) -> Iterator[None]:
        """Whatever is wrong with a line is said with its number."""
        try:
            yield
        except (TenthError, KeyError) as error:
            where = f"line {self._lines[name] + 1} of {FOLDER}/{name}"
            found = f"{where}: {error}"
            raise BadStatement("the table of judgements does not hold", found[:400], "compare it with a copy") from None
        self._at[name] += len(line) + 1
        self._lines[name] += 1

    def _fresh(self, name: str) -> Sequence[bytes]:
        """The whole lines that were written since; a torn last one was never acknowledged."""
        try:
            with (self.folder / name).open("rb") as file:
                if os.fstat(file.fileno()).st_size < self._at[name]:
                    raise BadStatement("the table of judgements does not hold", f"{FOLDER}/{name} was cut back")
                file.seek(self._at[name])
                return file.read().split(b"\n")[:-1]
        except FileNotFoundError:
            return ()

    @contextmanager
    def _locked(self, name: str) -> Iterator[int]:
        """The file, open for one writer alone, with all that is in it read, and a torn last line cut off."""
        self.folder.mkdir(exist_ok=True)
        file = os.open(self.folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.update()
            if os.fstat(file).st_size > self._at[name]:
                os.ftruncate(file, self._at[name])
            if not self._at[name]:
                sync_folder(self.folder)
            yield file
        finally:
            os.close(file)


def _item(item: Item) -> Item:
    """Refuse what is neither a pair of samples nor a proposal."""
    texts = {"pair": ("prompt", "a", "b"), "proposal": ("text",)}.get(str(item.get("kind")), ("kind",))
    known = {"kind", *texts, "gate", "samples", "gold"}
    sound = all(isinstance(item.get(name), str) for name in texts) and set(item) <= known
    sound = sound and type(item.get("gate", 0)) is int and item.get("gold", "a") in ("a", "b")
    if not sound or ("a" in item and item["a"] == item["b"]):
        raise BadStatement(
            "this item is refused", repr(dict(item))[:120], "a pair has two different texts to one prompt"
        )
    return item


def standing(events: Iterable[Event]) -> list[Event]:
    """The judgements that were not undone, in order."""
    told = [event for event in events if event.event != "joined"]
    undone = {event.subject for event in told if event.event == "undone"}
    return [event for event in told if event.event != "undone" and event.digest not in undone]
