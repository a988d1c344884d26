"""How far do people agree, with others and with themselves? Krippendorff's alpha, repeats, known answers, with counts.

K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), for nominal data with missing values.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tenth.feedback.events import Event
from tenth.feedback.table import Item, standing

UNSAID = ("skip", "flag")
"""Answers that say nothing about which is better."""


def alpha(units: Iterable[Sequence[Hashable]]) -> float | None:
    """1 for full agreement, 0 for what chance gives, below 0 for less. ``units``: what each item's annotators said.

    Items with fewer than two answers say nothing. None where nothing can differ: no such item, or one value only.
    """
    counts = [Counter(unit) for unit in units if len(unit) > 1]
    every = sum(counts, Counter())
    total = every.total()
    expected = total * total - sum(n * n for n in every.values())
    if not expected:
        return None
    observed = sum((unit.total() ** 2 - sum(n * n for n in unit.values())) / (unit.total() - 1) for unit in counts)
    return 1 - (total - 1) * observed / expected


@dataclass(frozen=True)
class Agreement:
    """What a table comes to."""

    judgements: int
    annotators: int
    alpha: float | None
    shared: int
    """Items that two or more have answered: what alpha is computed from."""
    repeats: int
    repeated_alike: int
    gold: int
    gold_right: int
    seconds: float | None
    """Median time of an answer."""

    def words(self) -> str:
        """In one line."""
        parts = [f"{_counted(self.judgements, 'judgement')} by {_counted(self.annotators, 'annotator')}"]
        reached = "not defined" if self.alpha is None else f"{self.alpha:.2f}"
        parts.append(f"Krippendorff's alpha {reached} on {_counted(self.shared, 'shared item')}")
        if self.repeats:
            parts.append(f"{self.repeated_alike:,} of {_counted(self.repeats, 'repeat')} answered alike")
        if self.gold:
            parts.append(f"{self.gold_right:,} of {_counted(self.gold, 'known answer')} right")
        if self.seconds is not None:
            parts.append(f"median time of an answer {self.seconds:.1f} s")
        return "; ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def answers(told: Iterable[Event]) -> dict[str, dict[str, str]]:
    """Item -> annotator -> the first answer that stands. Skipping says nothing; a later answer is a repeat."""
    first: dict[str, dict[str, str]] = defaultdict(dict)
    for event in told:
        if event.event != "edited" and event.answer != "skip":
            first[event.subject].setdefault(event.by, event.answer)
    return dict(first)


def agreement(events: Iterable[Event], items: Mapping[str, Item], kind: str = "pair") -> Agreement:
    """Of all judgements of this kind of item that stand. An edit is a judgement, but says nothing that could agree."""
    told = [event for event in standing(events) if items[event.subject]["kind"] == kind]
    compared = [event for event in told if event.event != "edited" and event.answer not in UNSAID]
    first = answers(compared)
    repeats: list[bool] = []
    seen = set()
    for event in compared:
        if (event.subject, event.by) in seen:
            repeats.append(event.answer == first[event.subject][event.by])
        seen.add((event.subject, event.by))
    known = [
        answer == items[item]["gold"] for item in first if "gold" in items[item] for answer in first[item].values()
    ]
    times = [float(event.facts["seconds"]) for event in told]
    return Agreement(
        judgements=len(told), annotators=len({event.by for event in told}),
        alpha=alpha(list(said.values()) for said in first.values()),
        shared=sum(len(said) > 1 for said in first.values()), repeats=len(repeats), repeated_alike=sum(repeats),
        gold=len(known), gold_right=sum(known), seconds=statistics.median(times) if times else None,
    )  # fmt: skip
