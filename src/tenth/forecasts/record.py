"""Who has foretold what of a run, and how did it come? Read from its folder: the log, and each gate's evidence.

Signatures are the supervisor's to check, and `tenth verify`'s. A forecast counts when its commitment stands in the log
before the tenth that it speaks of had ended; of several by one person the last, so that nobody files two and opens the
better one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tenth.encoding import open_envelope, parse
from tenth.errors import TenthError
from tenth.forecasts import sealed
from tenth.forecasts.told import Told

AUTOMATIC = "automatic"
"""Who the forecasts are by that `tenth-evidence forecast` makes; its evidence is sealed with the gate before."""
HALTED = "halted"
"""The question whether the run is pulled or tripped before the tenth ends."""
MOST_BYTES = 4 << 20


@dataclass(frozen=True)
class Filed:
    """One person's forecast of one gate."""

    by: str
    gate: int
    sha256: str
    index: int
    """Entry of the log that files it."""
    content: Mapping[str, Any] | None = None
    """None until it is revealed."""

    @property
    def quantiles(self) -> dict[str, Told]:
        told = (self.content or {}).get("quantiles", {})
        return {name: Told.read(values) for name, values in told.items()}


@dataclass
class Record:
    """What a run's folder tells of forecasts and outcomes."""

    gate: int = 0
    """Tenths finished."""
    filed: dict[tuple[str, int], Filed] = field(default_factory=dict)
    """By person and gate; those that count."""
    late: list[Filed] = field(default_factory=list)
    outcomes: dict[int, dict[str, float]] = field(default_factory=dict)
    """Gate -> "panel.metric" -> what its evidence says."""
    halted: dict[int, bool] = field(default_factory=dict)
    """Gate -> whether the run was stopped on the way there."""
    folders: dict[int, Path] = field(default_factory=dict)
    """Gate -> folder of its evidence, as it was sealed first."""


def read(run: Path) -> Record:
    """Of what the log has now."""
    record, stopped = Record(), False
    owners: dict[str, str] = {}  # who wrote a digest first
    for index, event, body in _entries(run / "log" / "entries.jsonl"):
        if event in ("pulled", "tripped"):
            stopped = True
        elif event == "reached":
            record.gate = body["gate"]
            record.halted[record.gate], stopped = stopped, False
        elif event == "sealed" and body["gate"] > 0 and body["gate"] not in record.folders:
            record.folders[body["gate"]] = run / body["path"] / "evidence"
        elif event == "noted":
            _note(record, owners, index, body)
    for gate, folder in record.folders.items():
        record.outcomes[gate] = measured(folder)
        record.filed |= {(AUTOMATIC, one.gate): one for one in _automatic(folder, gate)}
    return record


def _entries(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for line in path.read_bytes().split(b"\n")[:-1]:
        entry = parse(line, "an entry")
        yield entry["index"], entry["event"], entry["body"]


def _note(record: Record, owners: dict[str, str], index: int, body: Mapping[str, Any]) -> None:
    said = parse(open_envelope(body["envelope"])[0], "a note")["predicate"]
    who, found = said["signatory"], sealed.read(said["note"])
    if found is None:
        return
    if "sha256" in found:
        one = Filed(who, found["gate"], found["sha256"], index)
        if owners.setdefault(one.sha256, who) == who:
            if one.gate > record.gate:
                record.filed[who, one.gate] = one
            else:
                record.late.append(one)
        return
    filed = record.filed.get((who, found["gate"]))
    if filed and filed.sha256 == found["opens"]:
        record.filed[who, found["gate"]] = replace(filed, content=found["content"])


def _automatic(folder: Path, gate: int) -> Iterator[Filed]:
    """What the panels of a gate foretold of the next one."""
    for file in sorted(folder.glob("*/forecast.json")):
        try:
            quantiles = json.loads(file.read_bytes()[:MOST_BYTES])["quantiles"]
            found = {"quantiles": {name: dict(Told.read(told).record()) for name, told in quantiles.items()}}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, TenthError):
            continue
        yield Filed(AUTOMATIC, gate + 1, "", -1, found)


def measured(folder: Path) -> dict[str, float]:
    """ "panel.metric" -> value, of a gate's evidence."""
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*/summary.json")):
        try:
            metrics = json.loads(file.read_bytes()[:MOST_BYTES])["metrics"]
            found |= {
                f"{file.parent.name}.{name}": float(value)
                for name, value in metrics.items()
                if type(value) in (int, float) and math.isfinite(value)
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return found
