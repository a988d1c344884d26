"""Promise 13: the charter changes only by everyone's signatures. Today, in its strictest form: it does not change."""

from __future__ import annotations

import pytest

from tenth.errors import BadEncoding, BadStatement
from tenth.gate import statement
from tenth.gate.adjustment import check_patch
from tenth.keys import SigningKey
from tenth.state import TABLE

PROMISE = 13
STATUS = "kept"

EVENTS = {
    "sealed",
    "consented",
    "objected",
    "adjusted",
    "noted",
    "leased",
    "metered",
    "sampled",
    "reached",
    "pulled",
    "tripped",
    "reopened",
    "closed",
}
"""Every event that may follow ``opened``, which names the charter. None of them names another."""


def test_no_event_changes_the_charter() -> None:
    assert set(TABLE) == EVENTS, "a new event: does it touch the charter? Then promise 13 needs a new test"


@pytest.mark.parametrize("part", ["charter", "signatory", "watcher", "ceiling", "gates", "quarantine", "phase"])
def test_an_adjustment_cannot_reach_the_charter(part: str) -> None:
    with pytest.raises(BadStatement):
        check_patch({part: {"name": "eve"}})
    with pytest.raises(BadStatement):
        check_patch({"recipe": {"depth": 2}, part: {"name": "eve"}})


def test_a_note_carries_nothing_but_words() -> None:
    facts = {"run": "r", "signatory": "ada", "anchor": "0" * 64, "time": "2026-11-21T00:00:00.000Z", "note": "words"}
    with pytest.raises(BadEncoding):
        statement.sign("noted", SigningKey.generate(), **facts, patch={"recipe": {"depth": 2}})
