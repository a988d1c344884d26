"""Who is asked about what next? Mostly what nobody has judged; some again, some of others, some with a known answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tenth.feedback.events import Event
from tenth.feedback.table import Item, standing

GOLD, REPEATED, SHARED = 0.05, 0.10, 0.15
"""Shares of what one annotator is asked: known answers, their own again, and what another has judged."""
APART = 5
"""Judgements between an item and its repeat, at least."""


@dataclass(frozen=True)
class Ask:
    """One item for one annotator."""

    item: str
    shown: str
    """``ab`` or ``ba``: which of two samples stands first."""


def following(
    items: Mapping[str, Item], events: Iterable[Event], by: str, rng: random.Random,
    *, kind: str = "pair", without: Collection[str] = (),
) -> Ask | None:  # fmt: skip
    """What ``by`` is asked next; None when there is nothing left. ``without``: items that are on their way already.

    Each share is drawn by itself, so which kind of question this one is cannot be told from those before it.
    """
    items = {name: item for name, item in items.items() if item["kind"] == kind and name not in without}
    told = standing(events)
    own = [event.subject for event in told if event.by == by]
    known = set(own)
    theirs = {event.subject for event in told if event.by != by}
    new = [name for name in items if name not in known]
    choices = {
        "gold": [name for name in new if "gold" in items[name]],
        "repeated": _repeatable([name for name in own if name in items]),
        "shared": [name for name in new if name in theirs and "gold" not in items[name]],
        "fresh": _newest(items, [name for name in new if name not in theirs and "gold" not in items[name]]),
    }
    drawn = rng.random()
    wanted = (
        "gold" if drawn < GOLD else "repeated" if drawn < GOLD + REPEATED
        else "shared" if drawn < GOLD + REPEATED + SHARED else "fresh"
    )  # fmt: skip
    left = choices[wanted] or choices["fresh"] or choices["shared"]
    return Ask(rng.choice(left), rng.choice(("ab", "ba"))) if left else None


def _repeatable(own: list[str]) -> list[str]:
    """Judged once, and not just now."""
    recent = set(own[-APART:])
    return [name for name, times in Counter(own).items() if times == 1 and name not in recent]


def _newest(items: Mapping[str, Item], names: list[str]) -> list[str]:
    """Those of the newest tenth among them; those that are of no tenth count as newest."""
    gates = [items[name]["gate"] for name in names if "gate" in items[name]]
    newest = max(gates, default=0)
    return [name for name in names if items[name].get("gate", newest) == newest]
