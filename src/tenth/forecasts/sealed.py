"""A forecast that nobody can read before the outcome, and nobody can change after it: a commitment, then its content.

Both are notes in the run's log. The first holds a digest, the second what was digested, with a salt: without one, a few
guesses would find the content. Whoever writes a digest first owns it, so that nobody can file another's forecast.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from tenth.encoding import canonical, digest, is_digest, parse
from tenth.errors import TenthError, WrongInput
from tenth.forecasts.told import Told

Content = Mapping[str, Any]
"""``run``, ``gate``, ``quantiles`` {question: {level: value}}, ``chances`` {question: probability}, ``salt``."""

MOST_QUESTIONS = 16


def content(run: str, gate: int, quantiles: Mapping[str, Told], chances: Mapping[str, float]) -> Content:
    """What is foretold of this gate."""
    found = {
        "run": run, "gate": gate, "quantiles": {name: dict(told.record()) for name, told in quantiles.items()},
        "chances": dict(chances), "salt": secrets.token_hex(16),
    }  # fmt: skip
    check(found)
    return found


def check(given: Any) -> None:
    """Raises WrongInput unless it is a forecast."""
    refused = "this forecast is refused"
    if not isinstance(given, dict) or given.keys() != {"run", "gate", "quantiles", "chances", "salt"}:
        raise WrongInput(refused, repr(given)[:200], "it has run, gate, quantiles, chances and salt")
    questions = [given["quantiles"], given["chances"]]
    if not all(isinstance(one, dict) for one in questions) or not 0 < sum(map(len, questions)) <= MOST_QUESTIONS:
        raise WrongInput(refused, "it answers no question, or too many", f"answer 1 to {MOST_QUESTIONS}")
    for told in given["quantiles"].values():
        Told.read(told)
    for chance in given["chances"].values():
        if type(chance) not in (int, float) or not 0 <= chance <= 1:
            raise WrongInput(refused, f"a probability of {chance!r}"[:80], "give a number from 0 to 1")


def commitment(told: Content) -> str:
    """The note that files it."""
    return _text({"gate": told["gate"], "sha256": digest(canonical(dict(told)))})


def revelation(told: Content) -> str:
    """The note that opens it."""
    return _text({"content": dict(told), "gate": told["gate"]})


def _text(said: Mapping[str, Any]) -> str:
    return canonical({"forecast": dict(said)}).decode()


def read(note: str) -> Mapping[str, Any] | None:
    """``{"gate","sha256"}`` or ``{"gate","content","opens"}`` of a note; None if it is no forecast.

    ``opens`` is the digest that the content has.
    """
    if not note.startswith('{"forecast":'):
        return None
    try:
        said = parse(note.encode(), "a note")["forecast"]
        if type(said["gate"]) is not int:
            return None
        if is_digest(said.get("sha256")):
            return {"gate": said["gate"], "sha256": said["sha256"]}
        check(said["content"])
    except (TenthError, TypeError, KeyError, AttributeError):
        return None
    return {"gate": said["gate"], "content": said["content"], "opens": digest(canonical(said["content"]))}
