"""Questions drawn from held-out text: how a line goes on, and which word was taken out."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from .asked import Item

BEFORE = 160  # characters that are shown before the place
LONGEST = 40  # characters of an answer
TRIED = 50  # places that are looked at before a draw is given up
WORD = re.compile(r"(?<=\S )[A-Za-z]{4,}")


def line(rng: random.Random, texts: Sequence[str]) -> list[Item]:
    """The rest of a line, from one of its spaces on. Nothing if no place was found."""
    for _ in range(TRIED):
        text = rng.choice(texts)
        at = text.find(" ", rng.randrange(len(text)))
        rest = text[at : text.find("\n", at)] if 0 <= at < text.rfind("\n") else ""
        if 4 < len(rest) <= LONGEST and rest.strip() == rest[1:] and text[at - 1 : at].strip():
            return [Item(_before(text, at), rest)]
    return []


def cloze(rng: random.Random, texts: Sequence[str]) -> list[Item]:
    """A word and what follows it in its line, and the same with three other words of the text. Nothing as above."""
    for _ in range(TRIED):
        text = rng.choice(texts)
        places = [found for found in WORD.finditer(text) if found.start() > BEFORE // 4]
        words = sorted({found.group() for found in places})
        if len(words) < 8:
            continue
        found = rng.choice(places)
        follows = text[found.end() :].partition("\n")[0][: LONGEST - 20].rstrip()
        others = rng.sample([word for word in words if word != found.group()], 3)
        answer, *wrong = (f" {word}{follows}" for word in (found.group(), *others))
        return [Item(_before(text, found.start() - 1), answer, tuple(wrong))]
    return []


def _before(text: str, at: int) -> str:
    """From the beginning of a line, where there is one."""
    start = max(0, at - BEFORE)
    line_start = text.find("\n", start, at) + 1
    return text[line_start if start and line_start else start : at]
