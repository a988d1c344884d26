"""What self-play remembers from one step to the next: what was found, what is learned from, how deep it dares to go.

Plain JSON in the checkpoint. Nothing else does: random numbers are drawn anew for each step, from the run's seed and
the step's number.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from tenth.environments import Lesson, Proposal, Task

from .errors import CheckpointError

FILE = "selfplay.json"
PATIENCE = 4
"""Rounds by which it is decided whether programs may be deeper, by what each had of the deepest allowed."""
GOOD = 0.5
"""Share of attempts at these that succeed: then they are mastered."""
RARE = 0.25
"""Share of sound proposals of these that are new: then there is little left to learn from them."""
SOME = 0.05
"""Share of attempts at these that succeed: with less, what is deeper still would teach nothing."""
FADING = 0.8
"""What the attempts of a round are worth, one round later, to say how hard a depth is."""
MOST_PROGRAMS = 16_384
"""The newest: to be composed."""
MOST_PUZZLES = 2_048
"""The newest: to be solved once more."""


class Remembered(NamedTuple):
    """A lesson, and what its weight is made of."""

    prompt: str
    completion: str
    depth: int  # of its program
    solved: int
    attempts: int  # at its puzzle
    share: float  # of the weight that such lessons get
    weight: float  # as of the last round


@dataclass
class Memory:
    """Everything, and the counts of this tenth beside it."""

    cap: int
    """How deep a program may be."""
    successes: list[float] = field(default_factory=list)
    """Share of the attempts that solved puzzles as deep as the cap, round by round since it was raised."""
    fresh: list[float] = field(default_factory=list)
    """Share of the sound proposals as deep as the cap that were new, likewise."""
    attempts: dict[str, list[float]] = field(default_factory=dict)
    """Depth -> how many succeeded, and how many there were; older rounds count less."""
    rounds: int = 0
    known: dict[str, int] = field(default_factory=dict)
    """Behaviour -> the round that found it."""
    programs: list[dict[str, Any]] = field(default_factory=list)
    """Proposals that were sound and new."""
    puzzles: list[dict[str, Any]] = field(default_factory=list)
    """Tasks with the weight of each, for the policy gradient."""
    lessons: list[Remembered] = field(default_factory=list)
    """What is replayed."""
    counts: dict[str, float] = field(default_factory=dict)
    """Of this tenth: what the rounds counted."""

    def count(self, **numbers: float) -> None:
        for name, number in numbers.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def learn(self, lesson: Lesson, depth: int, solved: int = 0, attempts: int = 0, share: float = 1.0) -> None:
        self.lessons.append(Remembered(lesson.prompt, lesson.completion, depth, solved, attempts, share, 0.0))

    def weigh(self, most: int) -> None:
        """Weigh all anew, by how their depths fare now; keep the `most` that teach most, of equals the newest."""
        rates = {depth: self.rate(depth) for depth in {one.depth for one in self.lessons}}
        worth = [learnability(one.solved, one.attempts, rates[one.depth]) for one in self.lessons]
        places: Sequence[int] = range(len(worth))
        if len(worth) > most:
            places = sorted(sorted(places, key=lambda place: (-worth[place], -place))[:most])
        self.lessons = [
            self.lessons[place]._replace(weight=self.lessons[place].share * worth[place]) for place in places
        ]

    def keep(self, proposal: Proposal, behaviour: str) -> None:
        self.known[behaviour] = self.rounds
        self.programs.append(asdict(proposal))
        del self.programs[:-MOST_PROGRAMS]

    def forget(self, refused: Callable[[str], bool]) -> None:
        """Programs that are refused, every lesson that one of them stands in, and the puzzles that such lessons solve.

        Lessons in proposing share their prompts with those of other programs, which stay.
        """
        gone = {one["source"] for one in self.programs if refused(one["source"])}
        taught = [one for one in self.lessons if any(source in one.prompt + one.completion for source in gone)]
        dropped, asked = set(taught), {one.prompt for one in taught}
        self.programs = [one for one in self.programs if one["source"] not in gone]
        self.lessons = [one for one in self.lessons if one not in dropped]
        self.puzzles = [one for one in self.puzzles if one["prompt"] not in asked]

    def pose(self, task: Task, weight: float) -> None:
        self.puzzles.append({**asdict(task), "weight": weight})
        del self.puzzles[:-MOST_PUZZLES]

    def earlier(self) -> list[Proposal]:
        return [Proposal(**one) for one in self.programs]

    def replayed(self, rng: random.Random, n: int) -> list[Lesson]:
        """Drawn by weight, with replacement."""
        weights = list(accumulate(one.weight for one in self.lessons))
        found = rng.choices(self.lessons, cum_weights=weights, k=n)
        return [Lesson(one.prompt, one.completion) for one in found]

    def posed(self, rng: random.Random, n: int) -> list[Task]:
        """The same for puzzles."""
        found = rng.choices(self.puzzles, [one["weight"] for one in self.puzzles], k=n)
        return [Task(**{name: one[name] for name in ("id", "prompt", "seed", "meta")}) for one in found]

    def tried(self, depth: int, solved: float, attempts: int) -> None:
        """Note a round's attempts at puzzles of this depth."""
        before = self.attempts.get(str(depth), [0.0, 0.0])
        self.attempts[str(depth)] = [FADING * before[0] + solved, FADING * before[1] + attempts]

    def rate(self, depth: int) -> float:
        """Share of attempts at puzzles of this depth that succeed, estimated with one success and one failure more."""
        solved, attempts = self.attempts.get(str(depth), [0.0, 0.0])
        return (solved + 1) / (attempts + 2)

    def succeeded(self, share: float, deepest: int) -> None:
        """Note a round's success at the cap; raise the cap if the last few were good."""
        self.successes.append(share)
        if len(self.successes) >= PATIENCE and _mean(self.successes[-PATIENCE:]) >= GOOD:
            self._deeper(deepest)

    def renewed(self, share: float, deepest: int) -> None:
        """Note a round's share of what was new at the cap; raise the cap if there was little, and some are solved."""
        self.fresh.append(share)
        rare = len(self.fresh) >= PATIENCE and _mean(self.fresh[-PATIENCE:]) < RARE
        if rare and self.rate(self.cap) >= SOME:
            self._deeper(deepest)

    def _deeper(self, deepest: int) -> None:
        if self.cap < deepest:
            self.cap, self.successes, self.fresh = self.cap + 1, [], []


def save(memory: Memory, folder: Path) -> Path:
    """Write it below `folder`; returns the file, which a checkpoint copies."""
    path = folder / FILE
    path.write_text(json.dumps(asdict(memory), separators=(",", ":")) + "\n", "utf-8")
    return path


def load(checkpoint: Path) -> Memory:
    """Raises CheckpointError."""
    try:
        found = json.loads((checkpoint / FILE).read_text("utf-8"))
        found["lessons"] = [Remembered(*one) for one in found["lessons"]]
        return Memory(**found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            "The checkpoint was refused.", f"{checkpoint / FILE}: {error!r}", "go back to an earlier checkpoint"
        ) from error


def learnability(solved: int, attempts: int, rate: float) -> float:
    """p (1 - p) of a puzzle; its share p is estimated from its own attempts and two that succeed as others so deep."""
    p = (solved + 2 * rate) / (attempts + 2)
    return p * (1 - p)


def shortest(sources: Sequence[str]) -> str:
    return min(sources, key=lambda one: (len(one), one))


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares)
