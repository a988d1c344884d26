"""What an environment is: tasks, and a verdict on each completion, reached outside whatever the model wrote.

An environment lives in a package of its own that depends on tenth, never the reverse (``environments/``). Code that a
completion contains runs in a jail (tenth.jail), which never receives the expected outputs. ``reward_function`` makes of
an environment what TRL's trainers take as one of their ``reward_funcs``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
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
