"""Logs for tests of witnesses: any number of entries, histories that part, heads and requests; and one witness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenth.keys import SigningKey
from tenth.log.entry import Entry
from tenth.log.head import Head, origin
from tenth.witness.consistency import root_of
from tenth.witness.cosigner import Cosigner
from tenth.witness.memory import Memory
from tenth.witness.note import LOG, NamedKey
from tenth.witness.request import Request, write_request

KEY, WIM = SigningKey.generate(), SigningKey.generate()
RUN = "poet-7f3a9c21"
NOW = 1_795_253_400


class History:
    """A log in memory. ``fork`` begins another that differs from entry ``at`` on."""

    def __init__(self, size: int, *, at: int = 10**9, key: SigningKey = KEY, run: str = RUN) -> None:
        self.key, self.run = key, run
        self.entries = [Entry.make(i, "sampled", {"n": i, "other": i >= at}, NOW) for i in range(size)]
        self.leaves = [entry.leaf for entry in self.entries]

    @property
    def named(self) -> NamedKey:
        return NamedKey(origin(self.run), LOG, self.key.public)

    def head(self, size: int) -> Head:
        return Head.sign(origin(self.run), size, root_of(self.leaves[:size]), self.key)

    def body(self, old: int, size: int) -> bytes:
        return write_request(self.leaves[:size], self.head(size).note, old)

    def request(self, old: int, size: int) -> Request:
        return Request.parse(self.body(old, size))


def witness(
    folder: Path, *logs: History, name: str = "wim", key: SigningKey = WIM, clock: Any = lambda: NOW
) -> Cosigner:
    memory = Memory(folder)
    for log in logs:
        memory.add(log.named)
    return Cosigner(name, key, memory, clock)
