"""What is asked at a gate: items of twelve families, drawn from a seed that nobody knew while the weights were made.

The seed is a digest of the run and of the log's newest entry `reached`, as it stands there. That entry is written when
the checkpoint is sealed and the trainer gone; the checkpoint's digest and the supervisor's clock and meter are in it.
So no trainer could choose its weights for these very items, and whoever has the log can draw them again, with the same
version of Python.

Not guaranteed: that a model was not trained for these *families*, which anyone can read here; nor anything against who
holds the log's key, and could write another time into that entry until a draw is to their liking.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tenth.evidence.sealed import EvidenceError, Sealed, log_of

from .asked import ASKED, Item, page, program
from .passages import cloze, line


def seed_of(sealed: Sealed) -> str:
    """Raises EvidenceError where the log cannot be read, or has no such entry."""
    lines = (line for line in reversed(log_of(sealed)) if json.loads(line)["event"] == "reached")
    if (line := next(lines, None)) is None:
        raise EvidenceError("Nothing was asked.", "the log has no entry 'reached'", "gather evidence after a tenth")
    return hashlib.sha256(sealed.run.encode() + b"\0" + line).hexdigest()


def draw(seed: str, texts: Sequence[str], count: int) -> list[Item]:
    """About `count` items, as many of each family. `texts`: held out; without any, two families are left out."""
    families: dict[str, Callable[[random.Random], list[Item]]] = {
        name: partial(page, ask) for name, ask in ASKED.items()
    }
    families["programs"] = program
    if texts:
        families |= {"lines": partial(line, texts=texts), "cloze": partial(cloze, texts=texts)}
    items, each = [], -(-count // len(families))
    for family, make in families.items():
        made = (make(random.Random(f"{seed} {family} {number}")) for number in range(each))
        mine = itertools.islice(itertools.chain.from_iterable(made), each)
        items += [replace(item, family=family, number=number) for number, item in enumerate(mine)]
    return items
