"""What does an annotator sign? One statement for each judgement, chained to the same annotator's statement before it.

A statement is an in-toto Statement in a DSSE envelope, as signatories sign them (docs/formats.md, section 4), with one
subject: the item that was judged, the event that is undone, or the key that joins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenth.charter import NAME
from tenth.encoding import canonical, decode, digest, envelope, is_digest, pae
from tenth.errors import BadEncoding
from tenth.keys import SigningKey
from tenth.log.entry import TIME

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:tenth:feedback:v1"
SUBJECTS = {"joined": "key", "judged": "item", "edited": "item", "graded": "item", "undone": "event"}
"""Event -> what its subject is the digest of."""
SIDES = ("first", "second")
ANSWERS = (*SIDES, "tie", "bad", "skip", "flag")
"""Of two samples: the one shown first, the one shown second, equal, both bad, no answer, not fit to be trained on."""
GRADES = ("useful", "junk", "unsafe", "skip")
"""Of a proposal of self-play."""
MOST_TEXT = 16_384
"""Characters of an edit; the frames of the trainer hold no more."""


@dataclass(frozen=True)
class Event:
    """One signed statement of one annotator."""

    run: str
    by: str
    number: int
    """Counts this annotator's events from 0, which is the joining."""
    before: str | None
    """Digest of this annotator's event before it: none can be taken out or moved unseen."""
    time: str
    """The annotator's clock, in UTC with milliseconds."""
    event: str
    subject: str
    facts: Mapping[str, Any]
    digest: str
    """Of the payload."""

    @property
    def answer(self) -> str:
        """Of two samples ``a``, ``b``, ``tie``, ``bad``, ``skip`` or ``flag``; of a proposal its grade."""
        said = str(self.facts["answer"])
        return side(said, self.facts["shown"]) if said in SIDES else said


def side(place: str, shown: str) -> str:
    """``a`` or ``b``: which of the item's two samples stood in that ``place``."""
    return str(shown[SIDES.index(place)])


def draft(
    event: str, subject: str, *, run: str, by: str, number: int, before: str | None, time: str, **facts: Any
) -> bytes:
    """The payload to sign. ``subject`` is a digest; ``facts`` are those of the event."""
    predicate = {"run": run, "by": by, "number": number, "before": before, "time": time, "event": event, **facts}
    payload = canonical(_body(event, subject, predicate))
    parse(payload)
    return payload


def sign(key: SigningKey, payload: bytes) -> dict[str, Any]:
    """The envelope around a ``draft``."""
    return envelope(payload, key.public.fingerprint, key.sign(pae(payload)))


def parse(payload: bytes) -> Event:
    """Take a payload apart. Raises BadEncoding unless it is just what ``draft`` makes of its parts."""
    body = decode(payload, "the judgement")
    try:
        facts = dict(body["predicate"])
        subject = body["subject"][0]["digest"]["sha256"]
        sound = body == _body(facts["event"], subject, body["predicate"]) and is_digest(subject)
        fixed = {name: facts.pop(name) for name in ("run", "by", "number", "before", "time", "event")}
        sound = sound and _fixed(**fixed) and _SOUND[fixed["event"]](facts)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise BadEncoding("this is no judgement", repr(body)[:200], "docs/feedback.md says what one looks like")
    return Event(subject=subject, facts=facts, digest=digest(payload), **fixed)


def _body(event: str, subject: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    subjects = [{"name": SUBJECTS[event], "digest": {"sha256": subject}}]
    return {"_type": STATEMENT, "subject": subjects, "predicateType": PREDICATE, "predicate": predicate}


def _fixed(run: Any, by: Any, number: Any, before: Any, time: Any, event: Any) -> bool:
    chained = type(number) is int and (before is None if number == 0 else number > 0 and is_digest(before))
    named = isinstance(run, str) and isinstance(by, str) and NAME.fullmatch(by) is not None
    return chained and named and TIME.fullmatch(time) is not None and (event == "joined") is (number == 0)


def _judged(facts: Mapping[str, Any]) -> bool:
    return set(facts) == {"answer", "shown", "seconds"} and facts["answer"] in ANSWERS and _timed(facts)


def _edited(facts: Mapping[str, Any]) -> bool:
    text = facts["text"]
    fits = set(facts) == {"side", "shown", "seconds", "text"} and facts["side"] in SIDES
    return fits and isinstance(text, str) and 0 < len(text.strip()) <= len(text) <= MOST_TEXT and _timed(facts)


def _timed(facts: Mapping[str, Any]) -> bool:
    seconds = facts["seconds"]
    return type(seconds) in (int, float) and 0 <= seconds <= 86_400 and facts.get("shown", "ab") in ("ab", "ba")


_SOUND: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "joined": lambda facts: set(facts) == {"key"} and isinstance(facts["key"], str),
    "judged": _judged,
    "edited": _edited,
    "graded": lambda facts: set(facts) == {"answer", "seconds"} and facts["answer"] in GRADES and _timed(facts),
    "undone": lambda facts: not facts,
}
"""Event -> are these its facts? ``shown`` says which sample stood first; ``seconds`` how long it took to answer."""
