"""What did the trainer report, step by step? Read from a run's folder, at rest or while it grows.

Two sources: `work/metrics.jsonl`, which the trainer's client writes at full resolution, and the log, which has the
meter, the gates, and a claim every two seconds for trainers that write no such file. Both hold claims; the file is the
trainer's own, so it is read as hostile: no link is followed, lines and names are bounded, only finite numbers pass.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tenth.encoding import parse
from tenth.errors import TenthError

MAX_LINE = 65_536
MAX_NAMES = 1_000
MAX_NAME = 64
MOST_AT_ONCE = 16 << 20
"""Bytes of one reading; the rest comes with the next."""


@dataclass(frozen=True)
class Point:
    """What was reported of one step. `step` counts from the run's beginning, over all epochs and phases."""

    step: int
    gate: int
    """The gate that the lease leads to."""
    time: float
    """Seconds since 1970."""
    values: Mapping[str, float]


class Tail:
    """A file that grows, line by line."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, 0

    def exists(self) -> bool:
        return self._path.exists()

    def lines(self) -> Iterator[bytes]:
        """Whole lines since the last call; too long ones are left out."""
        while True:
            data = self._read()
            end = data.rfind(b"\n") + 1
            if not end:
                if len(data) >= MOST_AT_ONCE:  # one endless line: none of ours
                    self._at += len(data)
                    continue
                return
            self._at += end
            yield from (line for line in data[: end - 1].split(b"\n") if len(line) <= MAX_LINE)

    def _read(self) -> bytes:
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.pread(file, MOST_AT_ONCE, self._at) if stat.S_ISREG(os.fstat(file).st_mode) else b""
        finally:
            os.close(file)


class Reader:
    """The points of one run. `new` gives what came since it was last asked."""

    def __init__(self, run: Path) -> None:
        self._log = Tail(run / "log" / "entries.jsonl")
        self._file = Tail(run / "work" / "metrics.jsonl")
        self._lease: dict[str, Any] = {"gate": 1, "tenth": 1, "of": 10}
        self._base = 0  # steps of all epochs before the present one
        self._bases = {1: 0}  # by the gate that a lease leads to
        self._claimed = 0  # the newest step that the log has, from the run's beginning
        self._halts = 0
        self._names: set[str] = set()
        self.closed = False
        """The log says that nothing follows."""

    def new(self) -> list[Point]:
        """In the order in which they were written. A step that was trained again comes again."""
        own = self._file.exists()
        points = [point for line in self._log.lines() if (point := self._entry(line, own))]
        return points + [point for line in self._file.lines() if (point := self._row(line))]

    def _row(self, line: bytes) -> Point | None:
        """A line of the trainer's own file."""
        try:
            row = parse(line, "a row")
            gate, step, when = int(row["gate"]), int(row["step"]), float(row["time"])
            values = self._numbers(row["values"])
        except (TenthError, TypeError, KeyError, ValueError, OverflowError, AttributeError):
            return None
        known = max((one for one in self._bases if one <= gate), default=1)
        if not values or not 0 <= step < 1 << 53 or not math.isfinite(when):
            return None
        return Point(self._bases[known] + step, gate, when, values)

    def _entry(self, line: bytes, own: bool) -> Point | None:
        """An entry of the log. Its claims are left out where the trainer keeps a file of its `own`."""
        try:
            entry = parse(line, "an entry")
            event, body = entry["event"], entry["body"]
            when = datetime.fromisoformat(entry["time"]).timestamp()
        except (TenthError, TypeError, KeyError, ValueError):
            return None
        self.closed = self.closed or event == "closed"
        if event == "leased":
            self._lease = body["lease"]
            self._bases[self._lease["gate"]] = self._base
        claims = body.get("claims") or {}
        values: dict[str, float] = {}
        if isinstance(claims.get("step"), int):
            self._claimed = max(self._claimed, self._base + claims["step"])
            if not own:
                values = self._numbers({"loss": claims.get("loss"), **(claims.get("metrics") or {})})
        if event in ("pulled", "tripped"):
            self._halts += 1
            values = {"tenth/halts": float(self._halts)}
        if event == "reached":
            values["tenth/gate"] = float(body["gate"])
        if "spent" in body:
            values["tenth/device_seconds"] = float(body["spent"]["device_seconds"])
        point = Point(self._claimed, self._lease["gate"], when, values) if values else None
        if event == "reached" and self._lease["tenth"] == self._lease["of"]:
            self._base = self._claimed = self._base + _steps(body)
        return point

    def _numbers(self, values: Mapping[str, Any]) -> dict[str, float]:
        kept = {}
        for given, value in values.items():
            name = spelled(given)
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
                continue
            if len(self._names) < MAX_NAMES or name in self._names:
                self._names.add(name)
                kept[name] = float(value)
        return kept


def _steps(reached: Mapping[str, Any]) -> int:
    """Steps of the epoch that has ended, as the trainer says."""
    position = reached.get("position")
    step = position.get("step") if isinstance(position, dict) else None
    return step if isinstance(step, int) and 0 <= step < 1 << 53 else 0


def spelled(name: str) -> str:
    """A name that no tracker, terminal or spreadsheet takes for anything else."""
    kept = re.sub(r"[^A-Za-z0-9_./-]", "_", name[:MAX_NAME])
    return kept if kept[:1].isalnum() and ".." not in kept else "_" + kept.replace("..", "__")


def newest(points: list[Point]) -> list[Point]:
    """In order of steps, each step once: what was trained again counts as it was trained last."""
    steps: dict[int, Point] = {}
    for point in points:
        before = steps.get(point.step)
        values = {**(before.values if before else {}), **point.values}
        steps[point.step] = Point(point.step, point.gate, point.time, values)
    return [steps[step] for step in sorted(steps)]
