"""What has been raised on a run: alarms, kept beside it by whoever follows it. Derived, and light to read.

The file is made anew by each follower, from everything that the run reported; one writes at a time.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.errors import TenthError

NAME = "alarms.jsonl"
MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Raised:
    """One alarm: which report raised it, at which step of the run, by which rule."""

    series: str
    step: int
    gate: int
    time: float
    """Seconds since 1970, as the trainer says."""
    rule: str
    kind: str
    """``nominal`` or ``guaranteed`` (tenth.alarms)."""
    value: float
    threshold: float
    says: str

    def record(self) -> dict[str, Any]:
        value = self.value if math.isfinite(self.value) else None
        return {**vars(self), "value": value}


class Keeper:
    """Writes alarms down, if nobody else follows the run; the descriptor's life is the lock's."""

    def __init__(self, run: Path) -> None:
        file = os.open(run / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._file: int | None = file if _lock(file, fcntl.LOCK_EX) else None
        if self._file is None:
            os.close(file)
        else:
            os.ftruncate(file, 0)

    def keep(self, raised: Raised) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(raised.record()).encode() + b"\n")


def _lock(file: int, kind: int) -> bool:
    """Tried for a moment: whoever only asks holds it as long as that takes."""
    for _ in range(10):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False


def standing(run: Path) -> dict[str, Any]:
    """``asked``: what the charter has watched; ``followed``: somebody does; ``count`` and ``newest`` of the alarms."""
    found: dict[str, Any] = {"asked": [], "followed": False, "count": 0, "newest": None}
    try:
        found["asked"] = list(charters.parse((run / "charter.toml").read_bytes()).watch.alarms)
        with (run / NAME).open("rb") as file:
            found["followed"] = not _lock(file.fileno(), fcntl.LOCK_SH)
            rows = [json.loads(line) for line in file.read(MOST_BYTES).split(b"\n")[:-1]]
    except (OSError, ValueError, TenthError):
        return found
    return {**found, "count": len(rows), "newest": rows[-1] if rows else None}


def count(run: Path) -> int:
    """How many were raised, as far as a follower kept them."""
    try:
        with (run / NAME).open("rb") as file:
            return file.read(MOST_BYTES).count(b"\n")
    except OSError:
        return 0


def words(found: dict[str, Any], *, live: bool) -> str:
    """One line; empty where there is nothing to say."""
    newest, asked, said = found["newest"], ", ".join(found["asked"]), []
    if live and asked and not found["followed"]:
        said.append(f"nobody watches {asked}: start  tenth alarms --pull")
    if newest:
        where = f"step {newest['step']:,} of {newest['series']}"
        said.append(f"{found['count']:,}, the newest at {where}: {newest['says']}")
    return "; ".join(said)
