"""Spoil one call of a story, let people go on, and say what was lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from faults.story import Story
from tenth.errors import TenthError

WRITES = {"write", "pwrite64"}
HOWS = ("before", "EIO", "ENOSPC", "after", "cut", "torn")
TRIES = 3
"""So often a call is looked for that did not come where it was expected."""
STARTS = 6
"""A supervisor that ends by itself may be started so often until the story is told."""

Json = Any
T, W = TypeVar("T"), TypeVar("W")


@dataclass(frozen=True)
class Point:
    """One call of the undisturbed story."""

    number: int
    name: str
    path: str
    same: frozenset[str] = field(default=frozenset(), compare=False)
    """Ways of spoiling it that leave what another leaves: nobody can have noticed anything in between."""


@dataclass
class Found:
    """What came of spoiling one call."""

    point: Point
    how: str
    reached: bool = False
    """The call came, and was spoiled."""
    status: int | None = None
    """Exit status of the supervisor whose call it was."""
    faults: list[str] = field(default_factory=list)
    exact: bool = False
    """The last checkpoint is, byte for byte, that of the undisturbed story."""

    @property
    def well(self) -> bool:
        return self.reached and self.exact and not self.faults

    def __str__(self) -> str:
        what = "; ".join(self.faults) or ("not exact" if self.reached else "not reached")
        return f"{self.how} at call {self.point.number}, {self.point.name} {self.point.path}: {what}"


def points(story: Story) -> list[Point]:
    """Tell the story undisturbed and list its calls. All must be well."""
    story.again()
    story.start({})
    status = story.go_on()
    assert (status, story.faults()) == (0, []), (status, story.faults(), story.run.said())
    return listed(story.calls())


def listed(calls: Sequence[Json]) -> list[Point]:
    """The calls that change files. To be killed after one is to be killed before the next, if nothing else happened in
    between; and the power going before one is the power going before the call before, if that synced nothing."""
    found: list[Point] = []
    for before, call, after in zip([{}, *calls], calls, [*calls[1:], {"number": 0}], strict=False):
        same = {"after"} if after["number"] else set()
        if before.get("number") and before["name"] not in ("fsync", "fdatasync"):
            same.add("cut")
        if call["number"]:
            found.append(Point(call["number"], call["name"], call["path"], frozenset(same)))
    return found


def spoil(story: Story, point: Point, how: str, result: bytes) -> Found:
    """Tell it with this call spoiled, look at what lies there, go on to the end, and look again."""
    for _ in range(TRIES):
        found = _spoil(story, point, how, result)
        if found.reached or found.faults:
            break
    return found


def _spoil(story: Story, point: Point, how: str, result: bytes) -> Found:
    found = Found(point, how)
    story.again()
    try:
        story.start({"at": point.number, "how": how})
        found.status = story.go_on()
        spoiled = [Point(call["number"], call["name"], call["path"]) for call in story.calls() if call["spoiled"]]
        found.reached = spoiled == [point]
        found.faults += story.faults()
        for _ in range(STARTS):
            if found.faults or story.run.events()[-1] == "closed":
                break
            story.start()
            story.go_on()
            found.faults += [f"after it was started again: {fault}" for fault in story.faults()]
        found.exact = story.run.events()[-1] == "closed" and story.result() == result
    except (AssertionError, OSError, TenthError) as error:
        found.faults.append(f"{type(error).__name__}: {error}"[:1500])
        story.run.close()
    return found


def wanted(all_of_them: Iterable[Point], hows: Sequence[str] = HOWS) -> list[tuple[Point, str]]:
    """Each call in each way in which it can be spoiled, but for those that are the same."""
    points = list(all_of_them)
    work = [(point, how) for how in hows for point in points if how not in point.same]
    return [(point, how) for point, how in work if how != "torn" or point.name in WRITES]


def spoil_all(
    stories: Sequence[Story], work: Sequence[tuple[Point, str]], result: bytes, until: float = float("inf")
) -> Iterator[Found]:
    """As many at a time as there are stories; none is begun after ``until``, by the monotonic clock."""

    def one(story: Story, task: tuple[Point, str]) -> Found | None:
        return spoil(story, *task, result) if time.monotonic() < until else None

    return at_once(stories, work, one)


def at_once(things: Sequence[T], work: Sequence[W], do: Callable[[T, W], Found | None]) -> Iterator[Found]:
    """Do all the work, each piece with one of the things that is idle; what comes of it, in order."""
    idle = list(things)

    def one(task: W) -> Found | None:
        thing = idle.pop()
        try:
            return do(thing, task)
        finally:
            idle.append(thing)

    with ThreadPoolExecutor(len(things)) as pool:
        yield from filter(None, pool.map(one, work))


def stories(folder: Path, count: int, *, seal: bool = False) -> list[Story]:
    return [Story(folder / f"{'sealed' if seal else 'story'}{number}", seal=seal) for number in range(count)]
