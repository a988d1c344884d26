"""What people answered to a drill: kept beside the run until their signed note of it stands in the log.

``drills/PACKET/NAME.json`` in the run directory is one person's: when they first saw the packet, and the statement that
they signed of it. It is no part of the log, and the supervisor never hears of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth.drills.packet import Drill
from tenth.encoding import canonical, decode, is_digest, open_envelope, write_durably
from tenth.errors import BadEncoding, TenthError

NOTICED = ("objected", "adjusted", "closed")
"""Answers that do not let it pass."""
MOST_WORDS = 250
"""Characters of the note on an answer that go into the note on record."""


@dataclass(frozen=True)
class Answer:
    """What the log has of one answer."""

    by: str
    gate: int
    packet: str
    answer: str
    seconds: float | None
    """Since they first saw the packet; None if they never looked at it here."""

    @property
    def found(self) -> bool:
        return self.answer in NOTICED


def file_of(drill: Drill, who: str) -> Path:
    return drill.run / "drills" / drill.packet[:16] / f"{who}.json"


def kept(drill: Drill, who: str) -> dict[str, Any]:
    """What lies here of this person: maybe ``shown``, maybe ``answer`` and what belongs to it."""
    try:
        found = json.loads(file_of(drill, who).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def saw(drill: Drill, who: str) -> None:
    """They have the packet before their eyes."""
    if not kept(drill, who):
        _write(drill, who, {"shown": time.time()})


def keep(drill: Drill, who: str, event: str, envelope: Mapping[str, Any], words: str) -> dict[str, Any]:
    """Their answer, which nothing changes any more. Returns what is kept of them."""
    before = kept(drill, who)
    if "answer" not in before:
        shown = before.get("shown")
        seconds = None if shown is None else round(max(0.0, time.time() - shown), 1)
        before["envelope"] = dict(envelope)
        before["answer"] = {
            "gate": drill.gate, "packet": drill.packet, "dossier": drill.digest, "answer": event, "seconds": seconds,
            "words": words[:MOST_WORDS],
        }  # fmt: skip
        _write(drill, who, before)
    return before


def recorded(drill: Drill, who: str, note: str) -> None:
    """If this note is that of their answer: it is on record, whether or not the reader of the log has come so far."""
    found = kept(drill, who)
    if "answer" in found and note == text(found):
        _write(drill, who, {**found, "recorded": True})


def text(found: Mapping[str, Any]) -> str:
    """The note that puts on record what is kept of a person."""
    return canonical({"drill": found["answer"]}).decode()


def _write(drill: Drill, who: str, facts: Mapping[str, Any]) -> None:
    target = file_of(drill, who)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_durably(target, json.dumps(facts).encode(), mode=0o600)


def on_record(bodies: Iterable[Mapping[str, Any]]) -> Iterator[Answer]:
    """Answers among the bodies of ``noted`` entries, in order, of a log whose signatures were verified."""
    for body in bodies:
        try:
            said = decode(open_envelope(body["envelope"])[0])["predicate"]
            answer = _read(said["note"])
        except (BadEncoding, KeyError, TypeError):
            continue
        if answer:
            yield Answer(said["signatory"], *answer)


def _read(note: str) -> tuple[int, str, str, float | None] | None:
    """(gate, packet, answer, seconds) of a note's text; None if it is about something else."""
    try:
        facts = decode(note.encode(), "a note")["drill"]
        gate, packet, answer, seconds = (facts[name] for name in ("gate", "packet", "answer", "seconds"))
    except (TenthError, KeyError, TypeError, ValueError):
        return None
    timed = seconds is None or (type(seconds) in (int, float) and seconds >= 0)
    if type(gate) is not int or not is_digest(packet) or answer not in (*NOTICED, "consented") or not timed:
        return None
    return gate, packet, answer, seconds


def told(drill: Drill, found: Mapping[str, Any]) -> str:
    """What a reviewer is told after their answer."""
    answer = found["answer"]["answer"]
    verdict = f"You {answer}: {'found' if answer in NOTICED else 'missed'}."
    return (
        "This was a drill: what you saw was a shadow of the checkpoint, and your signature on it was not handed in.\n"
        f"Planted were {drill.planted}\n{verdict}"
    )
