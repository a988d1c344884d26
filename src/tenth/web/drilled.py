"""The drill of a gate in the control room: shown and answered in the gate's place, as `tenth consent` does it.

This server has no keys. A passkey signs the answer, and then, when the person was told, the note that puts it on
record. Whoever signs with a key file answers through the command line.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tenth.drills import answers, packet
from tenth.drills.packet import Drill
from tenth.errors import BadStatement
from tenth.gate import statement
from tenth.web import dossier
from tenth.web.room import Room

Facts = dict[str, Any]


def _open(room: Room, who: str) -> Drill | None:
    """The drill of the dossier on the table that this signatory has not put on record."""
    row = room.index.last("sealed")
    if who not in room.charter.signatories or room.status.get("stance") != "GATE" or not row:
        return None
    drill = packet.find(room.path, dossier.read(room, room.body(row)))
    noted = (room.body(one) for one in room.index.rows("SELECT * FROM entries WHERE event = 'noted' ORDER BY idx"))
    done = {answer.packet for answer in answers.on_record(noted) if answer.by == who}
    return drill if drill and drill.packet not in done else None


def asks(room: Room, who: str) -> Drill | None:
    """The drill that this person has yet to answer."""
    drill = _open(room, who)
    return drill if drill and "answer" not in answers.kept(drill, who) else None


def owes(room: Room, who: str) -> Facts | None:
    """What they were told of a drill, and the note of it that they have yet to sign."""
    drill = _open(room, who)
    found = answers.kept(drill, who) if drill else {}
    return _told(drill, found) if drill and "answer" in found and "recorded" not in found else None


def shown(room: Room, drill: Drill, who: str) -> Facts | None:
    """The drill as if it were the gate."""
    answers.saw(drill, who)
    with drill.laid_out() as path:
        there = copy.copy(room)
        there.path = path
        return dossier.gate(there, instead=drill.dossier)


def take(room: Room, envelope: Any) -> Facts | None:
    """Keep an answer to a drill that they have before their eyes. None of anything else, which is the supervisor's.

    Raises BadStatement or Unlawful.
    """
    said = statement.read(envelope, room.charter)
    drill = asks(room, said.signatory)
    if drill is None or said.run != room.name or said.event not in (*answers.NOTICED, "consented"):
        return None
    if said.event not in statement.ON_DOSSIER:  # it would be taken; but whoever has opened the drill says it of that
        if "shown" not in answers.kept(drill, said.signatory):
            return None
        return _told(drill, answers.keep(drill, said.signatory, said.event, {}, said.note))
    if said.anchor != drill.digest:
        return None
    if list(said.subjects) != list(drill.subjects):
        raise BadStatement("this statement is refused", "it covers other digests than the dossier's")
    drill.judge(said.event, said.note)
    return _told(drill, answers.keep(drill, said.signatory, said.event, envelope, said.note))


def recorded(room: Room, envelope: Any) -> None:
    """The supervisor has taken this statement. If it is the note that they owed, it is asked for no more; the index of
    the log is a moment behind."""
    said = statement.read(envelope, room.charter)
    drill = _open(room, said.signatory)
    if drill and said.event == "noted":
        answers.recorded(drill, said.signatory, said.note)


def _told(drill: Drill, found: Mapping[str, Any]) -> Facts:
    """For the page: what it was, and the text of the note."""
    return {"says": answers.told(drill, found), "note": answers.text(found)}
