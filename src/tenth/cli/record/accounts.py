"""What a run's compute was spent on: the log's entries folded into rows that add up to what the meter charged.

Takes a log that was verified, returns rows. FLOP are given twice: at most (device-seconds times the measured peak of
one device), and as the trainer claimed them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tenth.charter import Charter
from tenth.encoding import read_plain
from tenth.errors import BrokenPromise
from tenth.log.entry import Entry

TRAINING, UNDONE, OPEN, EVIDENCE, AHEAD = "training", "undone", "open", "evidence", "ahead"
CLASSES: Mapping[str, str] = {
    TRAINING: "training that led to a checkpoint",
    OPEN: "training under way, or frozen",
    UNDONE: "training that was thrown away",
    EVIDENCE: "evidence at gates",
    AHEAD: "charged ahead, when a supervisor was lost",
}
"""Every row is of one class."""


@dataclass(frozen=True)
class Row:
    """One stretch of a run: under one lease, or at one gate."""

    kind: str
    first: int
    last: int
    """Entries of the log: where it began, where it was charged."""
    tenth: int
    """The tenth that was trained, counted over the run; for evidence, the one it is about."""
    phase: str
    epoch: int
    device_seconds: float
    flop_claimed: float | None
    """None where the trainer claimed nothing."""
    ended: str
    """The event that ended it; empty while it lasts."""
    detail: str = ""

    def record(self, peak: float | None) -> dict[str, Any]:
        return {**asdict(self), "flop_at_most": None if peak is None else self.device_seconds * peak}


def rows(entries: Sequence[Entry], charter: Charter, run: Path | None = None) -> list[Row]:
    """In the order of the log. ``run`` gives the evidence's parts, from the dossiers that the log names.

    Raises BrokenPromise(4) if compute falls, which the law forbids.
    """
    return list(_Fold(charter, run).all(entries))


class _Fold:
    """Walks through a log once."""

    def __init__(self, charter: Charter, run: Path | None) -> None:
        self.charter, self.run = charter, run
        self.spent, self.metered, self.reserved, self.gate = 0.0, 0.0, 0.0, 0
        """Charged to rows so far; as last metered under this lease; as written ahead; the last gate reached."""
        self.lease: Mapping[str, Any] | None = None
        self.began = 0
        self.claims: Any = None
        self.process_flop = 0.0
        """What this process of the trainer had claimed when the stretch began; None below: nothing, so far."""
        self.claimed: float | None = None
        self.chain: list[Row] = []
        """Training since the last checkpoint: it counts when the next is reached, unless it is undone before."""

    def all(self, entries: Sequence[Entry]) -> Iterator[Row]:
        for entry in entries:
            yield from self._entry(entry)
        if self.lease is not None:
            self._stretch(entries[-1], "", self.metered)
        yield from self.chain

    def _entry(self, entry: Entry) -> Iterator[Row]:
        body = entry.body
        match entry.event:
            case "leased":
                yield from self._leased(entry)
            case "metered":
                self.metered = float(body["spent"]["device_seconds"])
                self.reserved = float(body["reserved_device_seconds"])
                self._claim(body["claims"])
            case "reached":
                self._claim(body["claims"])
                self._stretch(entry, entry.event, body["spent"]["device_seconds"])
                self.gate = body["gate"]
                yield from self._done()
            case "sealed":
                yield from self._evidence(entry, self._panels(body["path"]))
            case "pulled" | "tripped":
                yield from self._halted(entry)
            case "closed":
                yield from self._undo()

    def _leased(self, entry: Entry) -> Iterator[Row]:
        lease = entry.body["lease"]
        if lease["resume"] != "thaw":
            yield from self._undo()
            self.process_flop, self.claimed = 0.0, None
        self.lease, self.began, self.reserved, self.metered = lease, entry.index, self.spent, self.spent

    def _claim(self, claims: Any) -> None:
        """What the process says now. Its lease begins with a repetition of what the one before it said last."""
        flop = claims.get("flop") if isinstance(claims, dict) else None
        known = isinstance(flop, int | float) and not isinstance(flop, bool) and 0 <= flop < float("inf")
        if known and (claims != self.claims or self.claimed is not None):
            self.claimed = float(flop or 0.0)
        self.claims = claims

    def _stretch(self, entry: Entry, ended: str, total: float) -> None:
        """End a stretch under a lease, and remember it until it is known whether it counts."""
        assert self.lease is not None
        claimed = None
        if self.claimed is not None:
            claimed = max(0.0, self.claimed - self.process_flop)
            self.process_flop = self.claimed
        place = (self.lease["gate"], self.lease["phase"], self.lease["epoch"])
        self.chain.append(Row(OPEN, self.began, entry.index, *place, self._charge(entry, total), claimed, ended))
        self.lease = None

    def _halted(self, entry: Entry) -> Iterator[Row]:
        body, total = entry.body, max(self.spent, float(entry.body["spent"]["device_seconds"]))
        if self.lease is None:  # while evidence was gathered, or nothing was done
            yield from self._evidence(entry, "", total)
            if entry.event == "tripped" and body["reason"] == "lost_supervisor":
                yield from self._undo()  # what was frozen is gone
            return
        lease, lost = self.lease, body.get("reason") == "lost_supervisor"
        self._stretch(entry, entry.event, self.metered if lost and total >= self.reserved else total)
        if entry.event == "pulled" and not body["frozen"]:
            yield from self._undo()
        if entry.event == "tripped":
            self.chain[-1] = replace(self.chain[-1], detail=str(body["reason"]))
            yield from self._undo()
        if lost and (total := max(total, self.reserved)) > self.spent:
            place = (lease["gate"], lease["phase"], lease["epoch"])
            yield Row(AHEAD, entry.index, entry.index, *place, self._charge(entry, total), None, entry.event)

    def _evidence(self, entry: Entry, detail: str, total: float | None = None) -> Iterator[Row]:
        total = float(entry.body["spent"]["device_seconds"]) if total is None else total
        charged = self._charge(entry, total)
        if charged or detail:
            tenth = self.charter.tenth_after(max(0, self.gate - 1))
            assert tenth is not None
            place = (self.gate, tenth.phase.name, tenth.epoch)
            yield Row(EVIDENCE, entry.index, entry.index, *place, charged, None, entry.event, detail)

    def _panels(self, path: str) -> str:
        """Each part of the evidence, with its device-seconds."""
        if self.run is None:
            return ""
        dossier = json.loads(read_plain(self.run / path / "dossier.json"))
        return ", ".join(f"{panel['name']} {panel['device_seconds']:g}" for panel in dossier["evidence"])

    def _done(self) -> Iterator[Row]:
        """A checkpoint was reached: all since the last one counts."""
        told = self.chain[-1].flop_claimed is not None
        for row in self.chain:
            late = told and row.flop_claimed is None  # pulled before it said anything: told after the thaw
            yield replace(row, kind=TRAINING, flop_claimed=0.0 if late else row.flop_claimed)
        self.chain = []

    def _undo(self) -> Iterator[Row]:
        """What was trained since the last checkpoint is not in any model."""
        yield from (replace(row, kind=UNDONE) for row in self.chain)
        self.chain = []

    def _charge(self, entry: Entry, total: float) -> float:
        if total < self.spent:
            raise BrokenPromise(4, "the compute spent falls", f"from {self.spent} to {total}", entry=entry.index)
        charged, self.spent = total - self.spent, total
        return round(charged, 3)
