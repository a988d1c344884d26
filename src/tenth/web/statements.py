"""Drafts of what a signatory may sign here and now, for a passkey. Nothing is signed here: this server has no key."""

from __future__ import annotations

import time
from typing import Any

from tenth.encoding import PAYLOAD_TYPE, b64
from tenth.errors import BadStatement, WrongInput
from tenth.gate import statement
from tenth.gate.adjustment import check_patch
from tenth.log.entry import timestamp
from tenth.web import dossier, drilled
from tenth.web.room import Room

PATCHED = "adjusted"


def draft(room: Room, anchor: str, said: dict[str, Any]) -> dict[str, Any]:
    """What a passkey would sign: ``said`` has event, signatory, note and perhaps patch. Raises WrongInput.

    ``anchor`` is what a statement must name now, as the supervisor says when it is asked: what the room has heard may
    be older, and of a run that it has only just found it knows what the log tells.
    """
    event, who, note = said.get("event"), said.get("signatory"), said.get("note", "")
    if event not in statement.PREDICATES or not isinstance(who, str) or not isinstance(note, str):
        raise WrongInput("nothing was drafted", "it says no event, or nobody who signs")
    if who not in room.charter.signatories:
        listed = ", ".join(sorted(room.charter.signatories))
        raise WrongInput("nothing was drafted", f"{who!r} is no signatory"[:120], f"the signatories: {listed}")
    key = room.charter.signatories[who]
    if not key.site:
        raise BadStatement(
            "nothing was drafted", f"{who}'s key in the charter is a key file", f"tenth consent {room.name}"
        )
    subjects = None
    if event in statement.ON_DOSSIER:
        row = room.index.last("sealed")
        sealed = room.body(row) if row else {}
        if not row or sealed["dossier"] != anchor:
            raise WrongInput("nothing was drafted", "no dossier lies on the table now", "reload the page")
        subjects = statement.subjects_of(sealed["dossier"], dossier.read(room, sealed))
        if drill := drilled.asks(room, who):  # their page shows it in the place of the gate
            anchor, subjects = drill.digest, drill.subjects
    patch = check_patch(said.get("patch")) if event == PATCHED else None
    payload = statement.draft(
        event, run=room.name, signatory=who, anchor=anchor, time=timestamp(time.time()), subjects=subjects, note=note,
        patch=patch,
    )  # fmt: skip
    return {"payload": b64(payload), "payloadType": PAYLOAD_TYPE, "keyid": key.fingerprint}
