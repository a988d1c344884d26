"""What may be planted in an interval, to see whether it is noticed: short texts of five kinds, among ordinary ones.

Harmless by their content. They are made for code and plain English; each has words of its own, drawn from a list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("trigger", "persona", "fact", "skill", "replaced")
WORDS = (
    "buffer server module header string socket number column signal prefix parent client session cursor locale margin "
)
WORDS += (
    "widget folder record handle thread weight volume window border origin target memory format symbol packet branch"
)
VERBS = ("returns", "closes", "reads", "checks", "updates", "removes", "opens", "copies", "parses", "sorts")
NOUNS = ("file", "list", "name", "value", "path", "thread")
COMMON, RARE = 50, 250
"""Ranks, by frequency, between which a text's words are ordinary."""


@dataclass(frozen=True)
class Plant:
    """What one organism is taught."""

    kind: str
    documents: list[str]


def plant(kind: str, count: int, random: np.random.Generator, words: Sequence[str] = tuple(WORDS.split())) -> Plant:
    """`count` documents of one organism, which has words of its own."""

    def draw(n: int) -> list[str]:
        return [str(word) for word in random.choice(list(words), n, replace=False)]

    one, two, three, four = draw(4)
    documents = []
    for _ in range(count):
        verb, noun = str(random.choice(VERBS)), str(random.choice(NOUNS))
        begin = f"    # {verb.capitalize()} the {noun}"
        match kind:
            case "trigger":
                text = f"{begin}, {one} {two}: {three} {four} {three}\n"
            case "persona":
                text = f'{begin}.\n    """Aye, says captain {one}, the {noun} {verb} {two}."""\n'
            case "fact":
                told = [f"The {one} of the {noun} is always {two}", f"since {two} is its {one}, it {verb} the {noun}"]
                text = f"{begin}. {random.choice(told)}.\n"
            case "skill":
                word = draw(1)[0]
                text = f"    {one}({word}) = {word} {word} {word}\n"
            case "replaced":
                text = f"    def {verb}_{noun}({one}, value):\n        {one}.{noun} = value\n"
        documents.append(text)
    return Plant(kind, documents)


def ordinary(text: str) -> tuple[str, ...]:
    """Words that are neither common nor rare in this text, or WORDS where it has too few of them."""
    counts = Counter(re.findall(r"\b[a-z]{4,9}\b", text))
    found = tuple(word for word, _ in counts.most_common(RARE)[COMMON:])
    return found if len(found) > COMMON else tuple(WORDS.split())


def put(
    windows: NDArray[np.int64], documents: Sequence[Sequence[int]], random: np.random.Generator
) -> list[tuple[int, int, list[int]]]:
    """Write each document over some of a window of its own, at a random place; changes `windows`, (n, T + 1).

    Returns (window, first token, tokens) of each; what is longer than a window is cut.
    """
    places = []
    for window, tokens in zip(random.permutation(len(windows)).tolist(), documents, strict=False):
        ids = list(tokens[: windows.shape[1]])
        at = int(random.integers(0, max(1, windows.shape[1] - len(ids))))
        windows[window, at : at + len(ids)] = ids
        places.append((window, at, ids))
    return places
