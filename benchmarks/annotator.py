"""A small world for preferences: questions about animals, answers in many manners, and somebody who has a taste.

The taste is a number for each answer; of two answers the annotator chooses one with the probability that Bradley and
Terry give it, so that it contradicts itself now and then, as people do.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random

ANIMALS = "fox owl bear hare wolf crow mole swan goat frog lynx duck seal toad mouse horse".split()
COLOURS = "red grey brown white black golden spotted striped".split()
ASKED = ("Tell me about the {} {}.", "What does the {} {} do?", "Where is the {} {}?", "Describe the {} {}.")
OPENINGS = {"Gladly. ": 1.0, "Of course. ": 1.0, "": 0.0, "Well, fine. ": -0.5, "Must I? ": -1.0, "Whatever. ": -1.0}
FACTS = (
    "It sleeps under the {} hill. ", "It looks for food near the {} river. ", "It runs through the {} forest. ",
    "It hides from the {} rain. ", "It waits beside the {} road. ", "It listens to the {} wind. ",
)  # fmt: skip
PLACES = "old cold quiet dark long green".split()
CLOSINGS = {"Anything else?": 0.5, "": 0.0, "Now go away.": -1.0}
SPREAD = 0.5  # of the taste: the smaller, the more sure of itself


def prompts(held_out: bool) -> list[str]:
    """A quarter of all questions, by their hash, is kept for the end."""
    every = [asked.format(*what) for asked, *what in itertools.product(ASKED, COLOURS, ANIMALS)]
    return [one for one in every if (hashlib.sha256(one.encode()).digest()[0] < 64) == held_out]


def answer(rng: random.Random) -> str:
    """In any manner, good or bad."""
    facts = rng.sample(FACTS, rng.randint(1, 4))
    middle = "".join(fact.format(rng.choice(PLACES)) for fact in facts)
    return " " + (rng.choice(list(OPENINGS)) + middle + rng.choice(list(CLOSINGS))).strip()


def taste(text: str) -> float:
    """Politeness counts, and brevity; what is no answer at all is worst."""
    said = text.strip()
    manners = sum(worth for words, worth in (OPENINGS | CLOSINGS).items() if words and words.strip() in said)
    facts = said.count("It ")
    return manners - 0.5 * max(0, facts - 1) - (3.0 if not facts else 0.0)


def share(one: str, other: str) -> float:
    """How often the annotator would choose `one`."""
    return 1 / (1 + math.exp((taste(other) - taste(one)) / SPREAD))
