"""Programs as chains of operations: their source, what they do, and whether they are as deep as they look.

Only our own operations are evaluated here, in this process; whatever a model wrote runs in a jail.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from puzzles.operations import BY_NAME, KINDS, LIST, NUMBER, OPERATIONS, TEXT
from tenth.jail.wire import spell

DEEPEST = 6
TRIED = 2
"""All chains up to here are compared with, besides every part of a chain."""
HELD_OUT = 0.2
"""Share of all behaviours."""
PROBES = 16
"""Inputs that a behaviour is told by."""
LETTERS = "abcdefgeiouxyzABEXYZ"
SHOWN: dict[str, tuple[Any, ...]] = {
    LIST: ([-2, 6, -7, 19, 15], [-5, -2], [20, 3, 0, -3, 0, 13], [1, 2, 5, 10, 2, -8]),
    TEXT: ("yfZZzf", "dbcA", "gXZgeay", "uyu"),
    NUMBER: (209, 220, 354, -48),
}
"""What every puzzle of a kind shows the answers to. Of many drawn, those by which most programs of up to three steps
(none held out) are told apart: whose answers to these are the same, nobody could know what is asked for."""


def draw(kind: str, rng: random.Random) -> Any:
    """An input of that kind."""
    if kind == LIST:
        return [rng.randint(-9, 20) for _ in range(rng.randint(2, 6))]
    if kind == TEXT:
        return "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 7)))
    return rng.randint(-50, 400)


@cache
def probes(kind: str) -> tuple[Any, ...]:
    """The inputs by which behaviours are told apart, always the same."""
    rng = random.Random(f"probes of {kind}")
    return tuple(draw(kind, rng) for _ in range(PROBES))


def digest(kind: str, outputs: Iterable[str]) -> str:
    """Of a behaviour: what it answers to ``probes(kind)``, each in the spelling of the jail's wire."""
    return hashlib.sha256("\n".join((kind, *outputs)).encode()).hexdigest()


def held_out(behaviour: str) -> bool:
    """Is this behaviour kept for evaluation? Decided by what a program does, however it is written."""
    return int(behaviour[:8], 16) < HELD_OUT * 2**32


@cache
def _function(code: str) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = eval(f"lambda x: {code}")  # our own table
    return made


@dataclass(frozen=True)
class Chain:
    """Operations one after the other."""

    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Of its inputs."""
        return BY_NAME[self.names[0]].takes

    @property
    def depth(self) -> int:
        return len(self.names)

    def fits(self) -> bool:
        """Does each operation take what the one before it gives?"""
        return all(BY_NAME[one].gives == BY_NAME[two].takes for one, two in itertools.pairwise(self.names))

    def source(self) -> str:
        """A function ``f``."""
        *before, last = (BY_NAME[name].code for name in self.names)
        return "def f(x):\n" + "".join(f"    x = {code}\n" for code in before) + f"    return {last}\n"

    def __call__(self, value: Any) -> Any:
        for name in self.names:
            value = _function(BY_NAME[name].code)(value)
        return value

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Of the probes, spelled."""
        return tuple(spell(self(one)) for one in probes(self.kind))

    @cached_property
    def behaviour(self) -> str:
        return digest(self.kind, self.outputs)

    def constant(self) -> bool:
        return len(set(self.outputs)) == 1

    def deep(self) -> bool:
        """Does nothing shorter do the same, of all that is tried: every chain up to TRIED, every part of this one?"""
        if self.behaviour == _idle(self.kind):
            return False
        shorter = _short(self.kind).get(self.behaviour, DEEPEST + 1)
        return shorter >= self.depth and all(part.outputs != self.outputs for part in self._parts())

    def _parts(self) -> Iterable[Chain]:
        for length in range(1, self.depth):
            for names in itertools.combinations(self.names, length):
                if (part := Chain(names)).kind == self.kind and part.fits():
                    yield part


def _idle(kind: str) -> str:
    """The behaviour of a program that returns what it is given."""
    return digest(kind, map(spell, probes(kind)))


@cache
def _short(kind: str) -> dict[str, int]:
    """Behaviour -> depth of the shortest chain that has it, of all chains up to TRIED."""
    found: dict[str, int] = {}
    for depth in range(1, TRIED + 1):
        for names in itertools.product(BY_NAME, repeat=depth):
            if (chain := Chain(names)).kind == kind and chain.fits():
                found.setdefault(chain.behaviour, depth)
    return found


def compose(depth: int, rng: random.Random, before: Sequence[str] = ()) -> Chain:
    """A chain of exactly this depth that is deep and not constant; it begins with ``before``. Raises ValueError."""
    if not 1 <= depth <= DEEPEST or len(before) > depth:
        raise ValueError(f"depths go from 1 to {DEEPEST}")
    for _ in range(10_000):
        names = list(before)
        while len(names) < depth:
            kind = BY_NAME[names[-1]].gives if names else rng.choice(KINDS)
            names.append(rng.choice([one.name for one in OPERATIONS if one.takes == kind]))
        if (chain := Chain(tuple(names))).deep() and not chain.constant():
            return chain
    raise ValueError(f"no program of depth {depth} begins with {list(before)}")
