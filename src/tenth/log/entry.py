"""One entry of the log: an event with its place and time."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tenth.encoding import canonical, decode
from tenth.errors import BadEncoding
from tenth.log.tree import leaf_hash

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_KEYS = {"body", "event", "index", "time"}


@dataclass(frozen=True)
class Entry:
    """``line`` is the canonical JSON of the other four, without a newline: what is hashed."""

    index: int
    time: str
    event: str
    body: dict[str, Any]
    line: bytes

    @classmethod
    def make(cls, index: int, event: str, body: dict[str, Any], when: float) -> Entry:
        """``when`` in seconds since 1970, UTC."""
        time = timestamp(when)
        line = canonical({"body": body, "event": event, "index": index, "time": time})
        # What is kept is what a reader of the line would see, to the last digit.
        return cls(index, time, event, decode(line)["body"], line)

    @classmethod
    def parse(cls, line: bytes) -> Entry:
        value = decode(line, "an entry")
        if not isinstance(value, dict) or value.keys() != _KEYS:
            raise BadEncoding("this is not an entry", "an entry has body, event, index and time")
        index, time, event, body = value["index"], value["time"], value["event"], value["body"]
        sound = type(index) is int and index >= 0 and isinstance(event, str) and isinstance(body, dict)
        if not sound or not isinstance(time, str) or not TIME.fullmatch(time):
            raise BadEncoding("this is not an entry", f"index {index!r}, event {event!r}, time {time!r}"[:200])
        return cls(index, time, event, body, line)

    @cached_property
    def leaf(self) -> bytes:
        """RFC 6962 leaf hash, 32 bytes."""
        return leaf_hash(self.line)

    @property
    def digest(self) -> str:
        """The leaf hash in hex: how statements point at an entry."""
        return self.leaf.hex()


def timestamp(when: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
