"""What a person signs: an in-toto Statement in a DSSE envelope, bound to one moment of one run (promise 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenth.charter import Charter
from tenth.encoding import canonical, decode, envelope, is_digest, open_envelope, pae
from tenth.errors import BadEncoding, BadStatement
from tenth.gate.adjustment import check_patch
from tenth.keys import SigningKey

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATES = {
    "consented": "urn:tenth:consent:v1",
    "objected": "urn:tenth:objection:v1",
    "adjusted": "urn:tenth:adjustment:v1",
    "reopened": "urn:tenth:reopening:v1",
    "closed": "urn:tenth:closing:v1",
}
EVENTS = {predicate: event for event, predicate in PREDICATES.items()}
ON_DOSSIER = ("consented", "objected")
MAX_NOTE = 2000
_FIELDS = {"run", "signatory", "anchor", "time", "note"}

Subjects = Sequence[tuple[str, str]]
"""Pairs of (name, digest), in order."""


@dataclass(frozen=True)
class Statement:
    """A statement whose signature was verified against the charter."""

    event: str
    run: str
    signatory: str
    anchor: str
    subjects: Subjects
    time: str
    note: str
    patch: Mapping[str, Any] | None


def subjects_of(dossier_digest: str, dossier: Mapping[str, Any]) -> Subjects:
    """What a consent covers: one changed byte in any of these voids it."""
    pairs = [("dossier", dossier_digest)]
    pairs += [(name, dossier[name]) for name in ("charter", "recipe", "data", "manifest")]
    if dossier["checkpoint"]:
        pairs.append(("checkpoint", dossier["checkpoint"]["digest"]))
    return pairs


def sign(
    event: str,
    *,
    run: str,
    signatory: str,
    anchor: str,
    subjects: Subjects | None = None,
    time: str,
    key: SigningKey,
    note: str = "",
    patch: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The envelope. ``subjects`` default to the anchor alone, as for everything but consents and objections."""
    predicate: dict[str, Any] = {"run": run, "signatory": signatory, "anchor": anchor, "time": time, "note": note}
    if patch is not None:
        predicate["patch"] = dict(patch)
    body = {
        "_type": STATEMENT,
        "subject": [{"name": n, "digest": {"sha256": d}} for n, d in subjects or [("anchor", anchor)]],
        "predicateType": PREDICATES[event],
        "predicate": predicate,
    }
    payload = canonical(body)
    _parse(payload)
    return envelope(payload, key.public.fingerprint, key.sign(pae(payload)))


def read(value: Any, charter: Charter) -> Statement:
    """Open an envelope: well-formed, and signed by the signatory that it names. Raises BadStatement or BadEncoding."""
    payload, signature = open_envelope(value)
    statement = _parse(payload)
    key = charter.signatories.get(statement.signatory)
    if key is None:
        who = ", ".join(sorted(charter.signatories))
        raise BadStatement(
            "this statement is refused", f"'{statement.signatory}' is not a signatory", f"they are: {who}"
        )
    key.verify(signature, pae(payload))
    return statement


def _parse(payload: bytes) -> Statement:
    body = decode(payload, "the statement")
    if not isinstance(body, dict) or set(body) != {"_type", "subject", "predicateType", "predicate"}:
        raise BadEncoding(
            "this is not a statement", "an in-toto Statement has _type, subject, predicateType, predicate"
        )
    event = EVENTS.get(body["predicateType"]) if isinstance(body["predicateType"], str) else None
    if body["_type"] != STATEMENT or event is None:
        raise BadEncoding("this is not a statement for tenth", f"predicateType {body['predicateType']!r}"[:120])
    predicate = body["predicate"]
    wanted = _FIELDS | ({"patch"} if event == "adjusted" else set())
    if not isinstance(predicate, dict) or set(predicate) != wanted:
        raise BadEncoding("this statement is refused", f"its predicate must have {', '.join(sorted(wanted))}")
    if not all(isinstance(predicate[name], str) for name in _FIELDS) or not is_digest(predicate["anchor"]):
        raise BadEncoding("this statement is refused", "a field of its predicate has the wrong type")
    if len(predicate["note"]) > MAX_NOTE:
        raise BadEncoding("this statement is refused", f"its note is longer than {MAX_NOTE:,} characters")
    subjects = _subjects(body["subject"])
    if event not in ON_DOSSIER and subjects != [("anchor", predicate["anchor"])]:
        raise BadEncoding("this statement is refused", "its only subject must be the anchor")
    patch = check_patch(predicate["patch"]) if event == "adjusted" else None
    fields = {name: predicate[name] for name in _FIELDS}
    return Statement(event=event, subjects=subjects, patch=patch, **fields)


def _subjects(value: Any) -> list[tuple[str, str]]:
    pairs = []
    for subject in value if isinstance(value, list) else [None]:
        if not isinstance(subject, dict) or set(subject) != {"name", "digest"}:
            raise BadEncoding("this statement is refused", "a subject has name and digest")
        if not isinstance(subject["name"], str) or not isinstance(subject["digest"], dict):
            raise BadEncoding("this statement is refused", "a subject's name is a text, its digest a table")
        if set(subject["digest"]) != {"sha256"} or not is_digest(subject["digest"]["sha256"]):
            raise BadEncoding("this statement is refused", "a subject's digest is {'sha256': 64 hex digits}")
        pairs.append((subject["name"], subject["digest"]["sha256"]))
    return pairs
