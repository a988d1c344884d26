"""What reviewers said of samples: fine, flagged, or noted. Kept beside the run, unsigned, and no part of its log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from tenth.encoding import canonical
from tenth.errors import WrongInput
from tenth.log.entry import timestamp
from tenth.sanitise import plain
from tenth.web.reading import read_from
from tenth.web.room import Room

VERDICTS = ("fine", "flag", "note")
MAX_NOTE = 2_000
MOST_BYTES = 64 << 20


def add(room: Room, name: str, said: dict[str, Any]) -> dict[str, Any]:
    """Keep one verdict on one sample, which is named by the digest of its line in the shard."""
    rows = room.index.rows("SELECT gate, step, sha FROM samples WHERE seq = ?", (said.get("seq"),))
    note = said.get("note", "")
    if not rows or said.get("verdict") not in VERDICTS or not isinstance(note, str) or len(note) > MAX_NOTE:
        raise WrongInput("this review is refused", "it names no sample, or says something else than fine, flag or note")
    row = {"by": name, "time": timestamp(time.time()), "verdict": said["verdict"], "note": note}
    row |= {"sample": rows[0]["sha"], "gate": rows[0]["gate"], "step": rows[0]["step"]}
    with (room.path / "reviews.jsonl").open("ab") as file:
        file.write(canonical(row) + b"\n")
    return row


def of(room: Room) -> dict[str, Any]:
    """How many, by whom, and what was flagged or noted: the newest 200 of these."""
    counts: dict[str, dict[str, int]] = {}
    said = []
    for row in _rows(room):
        mine = counts.setdefault(row["by"], dict.fromkeys(VERDICTS, 0))
        mine[row["verdict"]] += 1
        if row["verdict"] != "fine":
            said.append(row)
    return {"counts": counts, "said": said[-200:][::-1]}


def _rows(room: Room) -> Iterator[dict[str, Any]]:
    for line in read_from(room.path / "reviews.jsonl", 0, MOST_BYTES).splitlines():
        try:
            row = json.loads(line)
            if row["verdict"] in VERDICTS:
                yield {**row, "by": plain(row["by"], limit=40), "note": plain(row["note"], limit=MAX_NOTE)}
        except (ValueError, KeyError, TypeError):
            continue
