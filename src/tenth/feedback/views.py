"""What follows from a table of judgements for training? Pairs, labels and edits, in the columns of TRL's trainers.

Every view is a function of the events that stand. Items with a known answer and items that anybody flagged are in
none of them; rows come in the order of their items' digests, so one table gives one file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tenth.feedback.agreement import answers
from tenth.feedback.events import Event, side
from tenth.feedback.table import Item, standing

Row = dict[str, Any]
Items = Mapping[str, Item]


def dpo(events: Iterable[Event], items: Items) -> Iterator[Row]:
    """``prompt``, ``chosen``, ``rejected`` and ``share``, the part of the votes for one of the two that ``chosen`` has.

    Ties are left out, and so is an even split. An edit is preferred to what it was made from, with share 1.
    """
    told = list(standing(events))
    for item, said in _votes(told, items):
        a, b = said.count("a"), said.count("b")
        if a != b:
            better, worse = ("a", "b") if a > b else ("b", "a")
            yield _pair(items[item], items[item][better], items[item][worse]) | {"share": max(a, b) / (a + b)}
    for item, event in _edits(told, items):
        made_from = items[item][side(event.facts["side"], event.facts["shown"])]
        yield _pair(items[item], event.facts["text"], made_from) | {"share": 1.0}


def reward(events: Iterable[Event], items: Items) -> Iterator[Row]:
    """As ``dpo``, but ties count half for each side and stay; ``margin``, from 0 to 1: how far the votes lie apart."""
    for item, said in _votes(standing(events), items):
        a, b, tie = said.count("a"), said.count("b"), said.count("tie")
        if a or b or tie:
            better, worse = ("a", "b") if a >= b else ("b", "a")
            share = (max(a, b) + tie / 2) / (a + b + tie)
            row = _pair(items[item], items[item][better], items[item][worse])
            yield row | {"share": share, "margin": 2 * share - 1}


def kto(events: Iterable[Event], items: Items) -> Iterator[Row]:
    """``prompt``, ``completion`` and ``label``: preferred more often than not, or not. "Both bad" is against both."""
    for item, said in _votes(standing(events), items):
        for mine, other in (("a", "b"), ("b", "a")):
            liked, disliked = said.count(mine), said.count(other) + said.count("bad")
            if liked != disliked:
                row = {"prompt": items[item]["prompt"], "completion": items[item][mine]}
                yield row | {"label": liked > disliked}


def sft(events: Iterable[Event], items: Items) -> Iterator[Row]:
    """``prompt`` and ``completion``: what people wrote instead."""
    for item, event in _edits(standing(events), items):
        yield {"prompt": items[item]["prompt"], "completion": event.facts["text"]}


def grades(events: Iterable[Event], items: Items) -> Iterator[Row]:
    """``proposal``, and how many called it ``useful``, ``junk`` and ``unsafe``: what the Guide learns from."""
    said = answers(event for event in standing(events) if items[event.subject]["kind"] == "proposal")
    for item in sorted(said):
        given = list(said[item].values())
        yield {"proposal": items[item]["text"], **{name: given.count(name) for name in ("useful", "junk", "unsafe")}}


VIEWS: Mapping[str, Callable[[Iterable[Event], Items], Iterator[Row]]] = {
    "dpo": dpo, "kto": kto, "reward": reward, "sft": sft, "grades": grades,
}  # fmt: skip
"""Name -> the rows that follow."""


def _votes(told: Iterable[Event], items: Items) -> Iterator[tuple[str, list[str]]]:
    told = list(told)
    flagged = _flagged(told)
    said = answers(event for event in told if items[event.subject]["kind"] == "pair")
    for item in sorted(said):
        if "gold" not in items[item] and item not in flagged:
            yield item, list(said[item].values())


def _flagged(told: Iterable[Event]) -> set[str]:
    """Items that anybody flagged, be it when asked again."""
    return {event.subject for event in told if event.event == "judged" and event.answer == "flag"}


def _edits(told: Iterable[Event], items: Items) -> Iterator[tuple[str, Event]]:
    told = list(told)
    flagged = _flagged(told)
    made = [event for event in told if event.event == "edited" and event.subject not in flagged]
    for event in sorted(made, key=lambda one: (one.subject, one.by, one.number)):
        item = items[event.subject]
        if "gold" not in item and event.facts["text"] != item[side(event.facts["side"], event.facts["shown"])]:
            yield event.subject, event


def _pair(item: Item, chosen: str, rejected: str) -> Row:
    return {"prompt": item["prompt"], "chosen": chosen, "rejected": rejected}
