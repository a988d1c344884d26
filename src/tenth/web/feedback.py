"""What the page ``feedback`` asks for: what to judge next; and what it hands in: judgements signed in the browser."""

from __future__ import annotations

import tomllib
from typing import Any
from weakref import WeakKeyDictionary

from tenth.encoding import digest_file
from tenth.errors import BadStatement, WrongInput
from tenth.feedback.desk import Desk, people
from tenth.feedback.events import SIDES, STATEMENT
from tenth.feedback.table import Item
from tenth.sanitise import plain
from tenth.web.room import Room

KINDS = ("pair", "proposal")
MOST_TEXT, MOST_NAME = 8_000, 25
AT_ONCE, MOST_KNOWN = 6, 24
"""Items of one answer; items that a browser may say it has."""
_DESKS: WeakKeyDictionary[Room, Desk] = WeakKeyDictionary()


def _desk(room: Room) -> Desk:
    return _DESKS.setdefault(room, Desk(room.path, room.name, people(room.charter)))


def asks(room: Room, name: str, said: dict[str, str]) -> dict[str, Any]:
    """The next items for the browser ``by`` of the person ``name``, and its place in the table.

    ``without``: digests of items that it has already, separated by commas. ``spelled`` names the texts that are not
    shown as they are, because something in them cannot be shown, or for their length: no edit begins with these.
    """
    by, kind = said.get("by", ""), said.get("kind", "pair")
    _own(by, name)
    if kind not in KINDS:
        raise WrongInput("nothing was asked", f"{kind!r} is no kind of item"[:80])
    desk, known = _desk(room), said.get("without", "").split(",")[:MOST_KNOWN]
    number, before, stand = desk.place(by)
    found = []
    for _ in range(AT_ONCE):
        one = desk.ask(by, kind, known)
        if one is None:
            break
        known.append(one.item)
        item = desk.item(one.item)
        texts = {"text": item["text"]} if kind == "proposal" else {"prompt": item["prompt"], **_sides(item, one.shown)}
        shown = {part: plain(text, lines=True, limit=MOST_TEXT) for part, text in texts.items()}
        spelled = [part for part, text in texts.items() if shown[part] != text]
        found.append({"item": one.item, "shown": one.shown, **shown, "spelled": spelled})
    return {"statement": STATEMENT, "number": number, "before": before, "stand": stand, "asks": found}


def _sides(item: Item, shown: str) -> dict[str, str]:
    return {place: item[side] for place, side in zip(SIDES, shown, strict=True)}


def take(room: Room, name: str, said: dict[str, Any]) -> dict[str, Any]:
    """Keep what a browser of ``name`` signed."""
    event = _desk(room).take(said.get("envelope", {}), lambda by: _own(by, name))
    return {"number": event.number, "digest": event.digest}


def batches(room: Room, recipe: str) -> list[tuple[bool, str]]:
    """Does each batch hold that the recipe with this digest names, and what it is in words."""
    for path in room.path.glob("*.toml"):
        if digest_file(path) == recipe:
            found = _desk(room).batches(tomllib.loads(path.read_text()))
            return [(holds, plain(line, limit=600)) for holds, line in found]
    return []


def _own(by: str, name: str) -> None:
    """A browser's key is not its person's key in the charter: it judges under their name with a tail."""
    if not by.startswith(f"{name[:MOST_NAME]}-"):
        raise BadStatement(
            "this judgement is refused", f"{by[:40]!r} is no name for a browser of {name}", "reload the page"
        )
