"""What an environment is: tasks, and a verdict on each completion, reached outside whatever the model wrote.

An environment lives in a package of its own that depends on tenth, never the reverse (``environments/``). Code that a
completion contains runs in a jail (tenth.jail), which never receives the expected outputs. ``reward_function`` makes of
an environment what TRL's trainers take as one of their ``reward_funcs``. ``SelfPlay`` is what self-play asks for: a
program that a model proposes is looked at, and becomes a task.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenth.jail.wire import Jail

Json = Any


@dataclass(frozen=True)
class Task:
    """One thing to do."""

    id: str
    """The same for equal tasks, whoever drew them."""
    prompt: str
    """All that the model is shown."""
    seed: int
    """From which the environment makes this task again."""
    meta: Mapping[str, Json]
    """What it takes to judge a completion, expected outputs included: never shown to a model, never sent to a jail."""


@dataclass(frozen=True)
class Verdict:
    """What a completion is worth, and why."""

    score: float
    """From 0 to 1."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the score was made of, by name; each from 0 to 1."""
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """What a person looks at who doubts it: JSON, with hostile text in it."""


class Env(Protocol):
    """An environment."""

    def tasks(self, rng: random.Random, n: int) -> Sequence[Task]:
        """``n`` tasks, the same ones whenever ``rng`` is in the same state."""

    def verify(self, task: Task, completion: str, jail: Jail) -> Verdict:
        """Judge one completion. Raises JailError; nothing that a completion says or does raises anything else."""


@dataclass(frozen=True)
class Lesson:
    """A prompt, and what is worth learning to write after it."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Proposal:
    """A program that may become a task. ``about`` is what the environment has to know of it: JSON."""

    source: str
    about: Mapping[str, Json]


@dataclass(frozen=True)
class Finding:
    """What a proposal did in the jail."""

    proposal: Proposal
    parts: Mapping[str, float]
    """What it is worth, by name, 0 or 1 each; all 1: it may be trained on."""
    depth: int
    """How many steps it is made of."""
    behaviour: str = ""
    """The same for programs that do the same; "" where it does not run."""
    examples: Sequence[tuple[Json, Json]] = ()
    """What it was given, and what it gave back."""
    jail: str = ""
    """The jail's verdict."""

    @property
    def sound(self) -> bool:
        return all(self.parts.values())


class SelfPlay(Protocol):
    """What self-play asks of an environment. Same arguments, same answers: nothing else is random."""

    deepest: int
    words: str
    """What is one word in its texts, for a tokenizer trained on them: a regular expression, "" for the usual."""

    def worked(self, rng: random.Random, n: int) -> Sequence[Lesson]:
        """Worked examples of the shallowest depths, in every role: the warm start."""

    def given(self, rng: random.Random, n: int) -> Sequence[Finding]:
        """Programs of the warm start, as tasks for a solver that nobody proposes to."""

    def invitation(self, rng: random.Random, depth: int) -> Task:
        """Asks for a program so deep."""

    def proposed(self, task: Task, completion: str) -> Proposal:
        """What was written after an invitation."""

    def drawn(self, rng: random.Random, depth: int) -> Proposal:
        """Drawn uniformly, without a model: the control."""

    def composed(self, rng: random.Random, depths: Sequence[int], earlier: Sequence[Proposal]) -> Sequence[Proposal]:
        """For each depth one earlier program after another, together so deep; none where nothing new is found."""

    def examine(self, proposals: Sequence[Proposal], jail: Jail, known: Container[str] = ()) -> Sequence[Finding]:
        """Run each, and what is sound and does nothing ``known`` more than once. Raises JailError."""

    def puzzle(self, finding: Finding) -> Task:
        """To write a program that does what this one did."""

    def judge(self, tasks: Sequence[Task], completions: Sequence[str], jail: Jail) -> Sequence[Verdict]:
        """A verdict for each puzzle's completion; parts "shown" and "hidden". Raises JailError."""

    def hindsight(self, task: Task, completion: str) -> Proposal:
        """What was written for a puzzle, as a proposal of its own right, on the puzzle's inputs."""

    def solution(self, finding: Finding, source: str) -> Lesson:
        """The puzzle of a finding, and a program that solves it."""

    def lessons(self, finding: Finding) -> Sequence[Lesson]:
        """What else a finding teaches: to propose it, and to deduce what it returns."""

    def varied(self, rng: random.Random, lesson: Lesson) -> Lesson:
        """A lesson as it is replayed: the same completion is right, though it may be asked for otherwise."""

    def cheats(self) -> Mapping[str, str]:
        """The tamper set: name -> a completion that tries to be rewarded without doing what a puzzle asks."""

    def held_out(self, depth: int, n: int) -> Sequence[Task]:
        """At most ``n`` puzzles of that depth, no two alike, whose behaviours are never trained on: always the same."""


def rows(tasks: Sequence[Task]) -> Iterator[dict[str, str]]:
    """What a dataset for ``reward_function`` consists of: a prompt, and the task's id to find it by."""
    return ({"prompt": task.prompt, "task": task.id} for task in tasks)


def reward_function(env: Env, tasks: Sequence[Task], jail: Jail) -> Callable[..., list[float]]:
    """A reward function as TRL calls it: by keyword, with the dataset's columns, one score per completion.

    The dataset has a column ``task`` (see ``rows``). Raises ValueError for a task that is not among ``tasks``.
    """
    known = {task.id: task for task in tasks}

    def reward(
        *, completions: Sequence[str | Sequence[Mapping[str, str]]], task: Sequence[str], **_: object
    ) -> list[float]:
        if unknown := set(task) - set(known):
            raise ValueError(f"no such task: {min(unknown)}")
        texts = (one if isinstance(one, str) else one[-1]["content"] for one in completions)
        return [env.verify(known[name], text, jail).score for name, text in zip(task, texts, strict=True)]

    reward.__name__ = type(env).__name__.lower()
    return reward
