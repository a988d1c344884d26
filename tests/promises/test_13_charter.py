"""Promise 13: the charter changes only by everyone's signatures. Today, in its strictest form: it does not change."""

from __future__ import annotations

import pytest

from tenth.errors import BadStatement
from tenth.gate.adjustment import check_patch
from tenth.state import TABLE

PROMISE = 13
STATUS = "kept"

EVENTS = {
    "sealed",
    "consented",
    "objected",
    "adjusted",
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
