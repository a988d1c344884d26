"""Where annotators sit: the table of a run, the samples that could be judged, what each is asked, what each says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from tenth.charter import Charter
from tenth.encoding import canonical, digest, open_envelope
from tenth.feedback import batch, pairs
from tenth.feedback.asking import Ask, following
from tenth.feedback.events import Event, draft, parse, sign
from tenth.feedback.table import Envelope, Item, Table, standing
from tenth.keys import PublicKey, SigningKey
from tenth.log.entry import timestamp

LOOK_SECONDS = 5.0
"""The run's samples are looked through again after so long."""


def people(charter: Charter) -> dict[str, PublicKey]:
    """Those whose names nobody else may use."""
    return {**charter.signatories, **charter.watchers}


class Desk:
    """For any number of annotators, from any number of threads. An item is written down when it is first judged."""

    def __init__(self, run: Path, name: str, listed: Mapping[str, PublicKey]) -> None:
        self.table = Table(run, name, listed)
        self._run, self._rng = run, random.SystemRandom()
        self._found: dict[str, Item] = {}
        """What can be judged among the run's samples."""
        self._asked: dict[str, Item] = {}
        """Those that somebody was asked about: their answer is kept even after the samples have grown old."""
        self._looked = -LOOK_SECONDS
        self._lock = threading.Lock()

    def ask(self, by: str, kind: str, without: Collection[str] = ()) -> Ask | None:
        """What ``by`` is asked next. Raises BadStatement where the table does not hold."""
        with self._lock:
            self.table.update()
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._found = {digest(canonical(item)): item for item in pairs.of_run(self._run)}
                self._looked = time.monotonic()
            items = {**self._found, **self.table.items}
            found = following(items, self.table.events, by, self._rng, kind=kind, without=without)
            if found:
                self._asked[found.item] = items[found.item]
            return found

    def item(self, name: str) -> Item:
        """One that somebody was asked about."""
        return self._asked[name]

    def batches(self, recipe: Mapping[str, Any]) -> list[tuple[bool, str]]:
        """For each batch of a recipe: does it hold, and what it is in words."""
        with self._lock:
            return batch.review(self.table, recipe)

    def place(self, by: str) -> tuple[int, str | None, int]:
        """``(number, before)`` of the next event of ``by``, and how many judgements of theirs stand."""
        with self._lock:
            self.table.update()
            return (*self.table.place(by), sum(event.by == by for event in standing(self.table.events)))

    def take(self, envelope: Envelope, allowed: Callable[[str], None] = lambda _: None) -> Event:
        """Keep what was signed, and the item that it is about. Raises BadStatement or BadEncoding.

        ``allowed`` is called with the name of who signed, and raises what it pleases.
        """
        with self._lock:
            event = parse(open_envelope(envelope)[0])
            allowed(event.by)
            if event.subject in self._asked:
                self.table.add([self._asked[event.subject]])
            return self.table.append(envelope)


class Annotator:
    """A person whose key lies here."""

    def __init__(self, desk: Desk, by: str, key: SigningKey) -> None:
        self.desk, self.by, self._key = desk, by, key
        if desk.place(by)[0] == 0:
            self.say("joined", digest(key.public.line.encode()), key=key.public.line)

    def say(self, event: str, subject: str, **facts: Any) -> Event:
        """Sign, and keep."""
        number, before, _ = self.desk.place(self.by)
        payload = draft(
            event, subject, run=self.desk.table.run, by=self.by, number=number, before=before,
            time=timestamp(time.time()), **facts,
        )  # fmt: skip
        return self.desk.take(sign(self._key, payload))
