"""A table of judgements for tests: a folder, items, and annotators with keys who say what they are told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenth.feedback.desk import Annotator, Desk
from tenth.feedback.events import Event
from tenth.keys import PublicKey, SigningKey

RUN = "poet-7f3a9c21"


def pair(number: int, **facts: Any) -> dict[str, Any]:
    return {"kind": "pair", "prompt": f"p{number}", "a": f"left {number}", "b": f"right {number}", **facts}


class Sitting:
    """One run's table, and those who judge."""

    def __init__(self, folder: Path, listed: dict[str, PublicKey] | None = None) -> None:
        self.folder, self.listed = folder, listed or {}
        self.desk = Desk(folder, RUN, self.listed)
        self.keys: dict[str, SigningKey] = {}
        self.people: dict[str, Annotator] = {}

    def person(self, name: str) -> Annotator:
        if name not in self.people:
            self.keys[name] = SigningKey.generate()
            self.people[name] = Annotator(self.desk, name, self.keys[name])
        return self.people[name]

    def add(self, *items: dict[str, Any]) -> list[str]:
        return self.desk.table.add(items)

    def judge(self, name: str, item: str, answer: str, shown: str = "ab") -> Event:
        return self.person(name).say("judged", item, answer=answer, shown=shown, seconds=2.5)

    def edit(self, name: str, item: str, text: str, side: str = "first", shown: str = "ab") -> Event:
        return self.person(name).say("edited", item, side=side, shown=shown, text=text, seconds=9)

    def grade(self, name: str, item: str, answer: str) -> Event:
        return self.person(name).say("graded", item, answer=answer, seconds=1)

    def read(self) -> Desk:
        """Again, from the files."""
        desk = Desk(self.folder, RUN, self.listed)
        desk.table.update()
        return desk
