"""How often did people notice what was planted, and how often did they stop what was not?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tenth.drills.answers import Answer


@dataclass
class Person:
    """What the log tells of one reviewer, or of all of them."""

    name: str
    drills: int
    """That they were asked to answer."""
    answers: list[Answer] = field(default_factory=list)
    gates: int = 0
    """Dossiers of gates that they consented or objected to."""
    stops: int = 0
    """Of these, dossiers that they objected to."""

    @property
    def found(self) -> int:
        return sum(answer.found for answer in self.answers)

    @property
    def seconds(self) -> float | None:
        """Median of those who looked."""
        times = [answer.seconds for answer in self.answers if answer.seconds is not None]
        return statistics.median(times) if times else None

    @property
    def unopened(self) -> int:
        return sum(answer.seconds is None for answer in self.answers)

    def record(self) -> dict[str, object]:
        return {
            "by": self.name, "drills": self.drills, "answered": len(self.answers), "found": self.found,
            "interval": wilson(self.found, len(self.answers)), "seconds": self.seconds, "unopened": self.unopened,
            "gates": self.gates, "stops": self.stops, "stops_interval": wilson(self.stops, self.gates),
        }  # fmt: skip


def together(people: Sequence[Person]) -> Person:
    """All of them as one."""
    answers = [answer for person in people for answer in person.answers]
    asked = sum(person.drills for person in people)
    return Person("all", asked, answers, sum(person.gates for person in people), sum(person.stops for person in people))


def first_answers(answers: Iterable[Answer]) -> list[Answer]:
    """Of each person to each packet: whoever was told may not answer again."""
    seen: dict[tuple[str, str], Answer] = {}
    for answer in answers:
        seen.setdefault((answer.by, answer.packet), answer)
    return list(seen.values())


def wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927). Of nothing, all there is."""
    if not count:
        return 0.0, 1.0
    middle = (hits + z * z / 2) / (count + z * z)
    spread = z / (count + z * z) * math.sqrt(hits * (count - hits) / count + z * z / 4)
    return max(0.0, middle - spread), min(1.0, middle + spread)
