"""Every report at full resolution, in a file of the work folder: what `tenth metrics` makes curves of.

The channel carries at most twenty reports a second, and the log keeps one of two seconds. This file keeps them all, so
that a spike of one step is not lost. Like everything that the trainer writes it is a claim; nothing depends on it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

NAME = "metrics.jsonl"
FLUSH_SECONDS = 1.0


class Record:
    """Appends one row of JSON for each report: {"gate", "step", "time", and numbers by name}."""

    def __init__(
        self, work: Path, gate: int, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._path, self._gate, self._clock, self._wall = work / NAME, gate, clock, wall
        self._rows: list[str] = []
        self._flushed = -FLUSH_SECONDS
        self._broken = False

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Write what is a plain number. A tensor is left out: reading it would wait for the device."""
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, Real)}
        if not numbers or self._broken:
            return
        row: dict[str, Any] = {"gate": self._gate, "step": step, "time": round(self._wall(), 3)}
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        row["values"] = finite if len(finite) == len(numbers) else {**finite, "nonfinite": 1.0}
        self._rows.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
        if self._clock() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered. A full disk must not end a training that can do without its curves."""
        self._flushed = self._clock()
        if not self._rows:
            return
        try:
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write("\n".join(self._rows) + "\n")
        except OSError as error:
            self._broken = True
            print(f"metrics are not kept any more: {self._path}: {error}", flush=True)
        self._rows = []
