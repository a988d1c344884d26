"""Generated questions: ten families, each an unlimited supply, with right answers that we compute ourselves.

Questions of a family stand on pages, one below the other, each behind those before it, which are solved, so that a
model which only continues text can see what is wanted; the first two of a page are only shown. One reading of a page
asks everything on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SHOTS, PAGE = 2, 5  # questions of a page that are shown, and asked
BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">"}
TESTS, SHOWN = 8, 2  # inputs on which a program is run, and how many of them its prompt shows


@dataclass(frozen=True)
class Item:
    """One question with its right answer, which stands directly behind the prompt."""

    prompt: str
    answer: str
    others: tuple[str, ...] = ()
    """Wrong answers. Where there are some, a model ranks them; else it writes, up to the end of the line."""
    tests: tuple[tuple[Any, Any], ...] = ()
    """Input and output of the program whose last line is asked for."""
    family: str = ""
    number: int = 0

    @property
    def id(self) -> str:
        return f"{self.family}-{self.number:03d}"


Ask = Callable[[random.Random], tuple[str, str]]
"""A question and its answer; one of them has the space or line break between them, and the answer ends its line."""


def page(ask: Ask, rng: random.Random) -> list[Item]:
    """PAGE questions; a prompt is everything that stands before its answer."""
    items, text = [], ""
    for number in range(SHOTS + PAGE):
        question, answer = ask(rng)
        if number >= SHOTS:
            items.append(Item(text + question, answer))
        text += f"{question}{answer}\n"
    return items


def _word(rng: random.Random, syllables: int = 2) -> str:
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(syllables))


def _numbers(rng: random.Random, least: int = 3, most: int = 5) -> list[int]:
    return [rng.randint(0, 20) for _ in range(rng.randint(least, most))]


def copying(rng: random.Random) -> tuple[str, str]:
    words = " ".join(_word(rng) for _ in range(rng.randint(2, 4)))
    return f"copy {words} =>", f" {words}"


def brackets(rng: random.Random) -> tuple[str, str]:
    opened = [rng.choice(list(BRACKETS)) for _ in range(rng.randint(2, 5))]
    return f"close {' '.join(opened)} with", "".join(f" {BRACKETS[one]}" for one in reversed(opened))


def sums(rng: random.Random) -> tuple[str, str]:
    one, two = rng.randint(0, 49), rng.randint(0, 49)
    return f"{one} + {two} =", f" {one + two}"


def sorting(rng: random.Random) -> tuple[str, str]:
    letters = rng.sample("abcdefghijklmnopqrstuvwxyz", rng.randint(3, 5))
    return f"sort {' '.join(letters)} =>", "".join(f" {one}" for one in sorted(letters))


def edits(rng: random.Random) -> tuple[str, str]:
    word = _word(rng, 3)
    old, new = rng.sample("aeiou", 2)
    return rng.choice([
        (f"reverse {word} =>", f" {word[::-1]}"),
        (f"replace {old} by {new} in {word} =>", f" {word.replace(old, new)}"),
        (f"upper {word} =>", f" {word.upper()}"),
        (f"without the first letter {word} =>", f" {word[1:]}"),
        (f"twice {word} =>", f" {word}{word}"),
    ])  # fmt: skip


def recall(rng: random.Random) -> tuple[str, str]:
    held = {_word(rng): rng.randint(0, 99) for _ in range(rng.randint(2, 4))}
    asked = rng.choice(list(held))
    return f"{', '.join(f'{name} is {value}' for name, value in held.items())}; {asked} is", f" {held[asked]}"


def sequences(rng: random.Random) -> tuple[str, str]:
    start, step = rng.randint(0, 20), rng.choice([1, 2, 3, 4, 5, 10, -1, -2])
    *shown, following = (start + 40 + step * i if step < 0 else start + step * i for i in range(5))
    return f"next {' '.join(map(str, shown))} =>", f" {following}"


def counting(rng: random.Random) -> tuple[str, str]:
    letters = [rng.choice("abc") for _ in range(rng.randint(4, 9))]
    asked = rng.choice("abc")
    return f"count {asked} in {' '.join(letters)} =>", f" {letters.count(asked)}"


def values(rng: random.Random) -> tuple[str, str]:
    """What an expression of Python is worth, as its prompt shows it."""
    numbers, word, at = _numbers(rng), _word(rng), rng.randint(0, 2)
    expression, value = rng.choice([
        (f"sum({numbers})", sum(numbers)), (f"max({numbers})", max(numbers)), (f"min({numbers})", min(numbers)),
        (f"len({numbers})", len(numbers)), (f"sorted({numbers})", sorted(numbers)), (f"{numbers}[{at}]", numbers[at]),
        (f"{numbers}[{at}:]", numbers[at:]), (f"{word!r}[::-1]", word[::-1]), (f"{word!r}.upper()", word.upper()),
        (f"{word!r}[{at}]", word[at]), (f"{word!r} * 2", word * 2), (f"len({word * at!r})", len(word * at)),
    ])  # fmt: skip
    return f">>> {expression}\n", repr(value)


ASKED: dict[str, Ask] = {
    one.__name__: one for one in (copying, brackets, sums, sorting, edits, recall, sequences, counting, values)
}

FIRST = [
    "sorted({})", "{}[::-1]", "{}[1:]", "{}[:-1]", "{}[:2]", "{}[::2]", "({} + {})", "[n % 10 for n in {}]",
    "[n + 1 for n in {}]", "[n * 2 for n in {}]", "[-n for n in {}]", "[n for n in {} if n > 9]",
]  # fmt: skip
LAST = ["{}", "sum({})", "len({})", "max({})", "min({})", "{}[0]", "sorted({})", "{}[::-1]"]
"""Operations on a list; one of each makes a program."""


def program(rng: random.Random) -> list[Item]:
    """A function whose last line is missing, two examples of what it does, and three other last lines that do not."""
    inputs = [_distinct(rng) for _ in range(TESTS)]
    code, outputs = _made(rng, inputs)
    others: dict[str, str] = {}
    while len(others) < 3:
        other, its = _made(rng, inputs)
        if its[:SHOWN] != outputs[:SHOWN]:
            others[repr(its)] = f" {other}"
    shown = "".join(f"# f({one}) == {its}\n" for one, its in zip(inputs[:SHOWN], outputs[:SHOWN], strict=True))
    tests = tuple(zip(inputs, outputs, strict=True))
    return [Item(f"{shown}def f(x):\n    return", f" {code}", tuple(others.values()), tests)]


def _distinct(rng: random.Random) -> list[int]:
    """At least one above 9, so that no operation has nothing left to work on."""
    return rng.sample(range(10), rng.randint(2, 3)) + rng.sample(range(10, 21), rng.randint(1, 2))


def _made(rng: random.Random, inputs: list[list[int]]) -> tuple[str, list[Any]]:
    code = rng.choice(LAST).format(rng.choice(FIRST).format(*["x"] * 2))
    function = eval(f"lambda x: {code}")  # noqa: S307 - of our own tables
    return code, [function(one) for one in inputs]
