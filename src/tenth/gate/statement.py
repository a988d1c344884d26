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
from tenth.log.entry import TIME

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATES = {
    "consented": "urn:tenth:consent:v1",
    "objected": "urn:tenth:objection:v1",
    "adjusted": "urn:tenth:adjustment:v1",
    "reopened": "urn:tenth:reopening:v1",
    "noted": "urn:tenth:note:v1",
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


def draft(
    event: str, *, run: str, signatory: str, anchor: str, time: str,
    subjects: Subjects | None = None, note: str = "", patch: Mapping[str, Any] | None = None,
) -> bytes:  # fmt: skip
    """The payload. ``subjects`` default to the anchor alone, as for everything but consents and objections."""
    predicate = {"run": run, "signatory": signatory, "anchor": anchor, "time": time, "note": note}
    payload = canonical(
        _body(event, subjects or [("anchor", anchor)], {**predicate, **({"patch": patch} if patch else {})})
    )
    _parse(payload)
    return payload


def sign(event: str, key: SigningKey, **facts: Any) -> dict[str, Any]:
    """The envelope around the ``draft`` of these facts."""
    payload = draft(event, **facts)
    return envelope(payload, key.public.fingerprint, key.sign(pae(payload)))


def read(value: Any, charter: Charter) -> Statement:
    """Open an envelope: well-formed, and signed by the signatory that it names. Raises BadStatement or BadEncoding."""
    payload, signature = open_envelope(value)
    statement = _parse(payload)
    key = charter.signatories.get(statement.signatory)
    if key is None:
        who = "they are: " + ", ".join(sorted(charter.signatories))
        raise BadStatement("this statement is refused", f"'{statement.signatory}' is not a signatory", who)
    key.verify(signature, pae(payload))
    return statement


def _body(event: str, subjects: Subjects, predicate: Mapping[str, Any]) -> dict[str, Any]:
    subject = [{"name": name, "digest": {"sha256": found}} for name, found in subjects]
    return {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATES[event], "predicate": predicate}


def _parse(payload: bytes) -> Statement:
    """Take the statement apart, and refuse it unless it is just what putting it together again gives."""
    body = decode(payload, "the statement")
    try:
        event, predicate = EVENTS[body["predicateType"]], body["predicate"]
        subjects = [(one["name"], one["digest"]["sha256"]) for one in body["subject"]]
        fields = {name: predicate[name] for name in _FIELDS}
        sound = body == _body(event, subjects, predicate) and set(predicate) - {"patch"} == _FIELDS
    except (KeyError, TypeError, IndexError):
        sound = False
    if not sound or ("patch" in predicate) is not (event == "adjusted"):
        raise BadEncoding("this is not a statement for tenth", repr(body)[:200], "docs/formats.md, section 4")
    texts = [*fields.values(), *(name for name, _ in subjects)]
    if not all(isinstance(text, str) for text in texts) or not all(is_digest(found) for _, found in subjects):
        raise BadEncoding("this statement is refused", "a name or digest of it has the wrong type")
    if not TIME.fullmatch(fields["time"]):
        raise BadEncoding("this statement is refused", f"its time {fields['time']!r} is not UTC with milliseconds")
    if len(fields["note"]) > MAX_NOTE:
        raise BadEncoding("this statement is refused", f"its note is longer than {MAX_NOTE:,} characters")
    if event not in ON_DOSSIER and subjects != [("anchor", fields["anchor"])]:
        raise BadEncoding("this statement is refused", "its only subject must be the anchor")
    patch = check_patch(predicate["patch"]) if event == "adjusted" else None
    return Statement(event=event, subjects=subjects, patch=patch, **fields)
