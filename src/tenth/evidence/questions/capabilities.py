"""What can the model do now that it could not before, and the reverse? Fresh questions, asked of both checkpoints.

Each family is scored in bits per byte of the right answer, which moves long before a model gets anything right, and in
right answers: what it would write, or which of four it finds likeliest, or whether its program passes its tests. Both
checkpoints answer the same items. A change below the smallest that so many items can reliably show gets no arrow.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tenth.evidence.sealed import Sealed, held_out_texts, write
from tenth.jail.wire import Jail

from . import inspect_log
from .answers import Reader
from .asked import Item
from .items import draw, seed_of
from .paired import Difference, ratios, shares, together
from .programs import opened, passed

DOCUMENTS, CHARACTERS = 60, 6_000  # of held-out text that two families are drawn from
PROGRAM_TOKENS = 24


@dataclass(frozen=True)
class Judged:
    """One item under one checkpoint."""

    bits: float
    bytes: int
    right: bool
    said: str
    """What it wrote, or ranked first."""


@dataclass(frozen=True)
class Family:
    """The items of one family."""

    name: str
    how: str
    items: int
    bits_per_byte: float
    accuracy: float
    bits: Difference | None
    """Change of bits per byte, downwards for the better. None without a checkpoint before."""
    right: Difference | None
    """Change of the share that is right."""


def main(sealed: Sealed, items: int = 300) -> None:
    """`items`: about how many, as many of each family."""
    if sealed.checkpoint is None:
        write(sealed, "No checkpoint yet: nobody to ask.", {}, {})
        return
    began = datetime.datetime.now(datetime.UTC)
    texts = [text for _, text in held_out_texts(sealed, sealed.checkpoint, CHARACTERS, DOCUMENTS)]
    asked = draw(seed_of(sealed), texts, items)
    with opened() as (jail, lacking):
        now = judge(sealed.checkpoint, asked, jail)
        before = judge(sealed.previous, asked, jail) if sealed.previous else None
    found = families(asked, now, before, jail is not None)
    for name, judged in (("now", now), ("before", before)):
        if judged:
            samples = [
                inspect_log.Sample(item, one.said, one.right, one.bits / one.bytes)
                for item, one in zip(asked, judged, strict=True)
            ]
            inspect_log.write(sealed.out / f"{name}.eval", f"{sealed.run} gate {sealed.gate} {name}", began, samples)
    about = {"items": len(asked), "seed": seed_of(sealed), "programs_ran": jail is not None, "no_jail": lacking}
    write(
        sealed, headline(found, len(asked), lacking), metrics(found, len(asked)),
        {"families": [asdict(family) for family in found], "about": about}, tables(found),
    )  # fmt: skip


def judge(checkpoint: Path, items: Sequence[Item], jail: Jail | None) -> list[Judged]:
    """Raises EvidenceError, TrainerError, JailError."""
    reader = Reader(checkpoint)
    run = {item.id: item for item in items if item.tests and jail}
    choices = [(item.answer, *(item.others if item.id not in run else ())) for item in items]
    asked = [(item.prompt, one) for item, some in zip(items, choices, strict=True) for one in some]
    answers = iter(reader.read(asked))
    written: dict[str, str] = {}
    fine: dict[str, bool] = {}
    if jail and run:
        lines = reader.write([item.prompt for item in run.values()], PROGRAM_TOKENS, ["\n"])
        written = dict(zip(run, lines, strict=True))
        fine = dict(zip(run, passed(jail, list(run.values()), lines), strict=True))
    judged = []
    for item, some in zip(items, choices, strict=True):
        right, *wrong = (next(answers) for _ in some)
        size, bits = right.bytes, right.nats / math.log(2)
        if item.id in run:
            judged.append(Judged(bits, size, fine[item.id], written[item.id]))
        elif wrong:
            place, first = min(enumerate((right, *wrong)), key=lambda one: one[1].bits_per_byte)
            judged.append(Judged(bits, size, first is right, some[place]))
        else:
            judged.append(Judged(bits, size, right.ends, right.written))
    return judged


def families(items: Sequence[Item], now: Sequence[Judged], before: Sequence[Judged] | None, ran: bool) -> list[Family]:
    found = []
    for name, group in groupby(range(len(items)), key=lambda number: items[number].family):
        places = list(group)
        mine, sizes = [now[n] for n in places], [now[n].bytes for n in places]
        others = items[places[0]].others
        how = "tests run" if ran and items[places[0]].tests else f"ranks {len(others) + 1}" if others else "writes"
        bits = right = None
        if before:
            theirs = [before[n] for n in places]
            bits = ratios([one.bits for one in mine], [one.bits for one in theirs], sizes)
            right = shares([one.right for one in mine], [one.right for one in theirs])
        bits_per_byte, accuracy = sum(one.bits for one in mine) / sum(sizes), sum(one.right for one in mine) / len(mine)
        found.append(Family(name, how, len(mine), bits_per_byte, accuracy, bits, right))
    return found


def headline(found: Sequence[Family], items: int, lacking: str) -> str:
    said = f"{items:,} fresh items of {len(found)} families"
    better = [one.name for one in found if 1 in _directions(one)]
    worse = [one.name for one in found if -1 in _directions(one)]
    if found[0].bits:
        names = [f"{word} at {', '.join(some)}" for word, some in (("better", better), ("WORSE", worse)) if some]
        said += f": {'; '.join(names) or 'no change that they could have shown'}"
    return said + (f" (programs were ranked and not run: {lacking[:120]})" if lacking else "")


def _directions(family: Family) -> tuple[int, ...]:
    """1 for the better, -1 for the worse, of both scores."""
    return (-family.bits.direction, family.right.direction) if family.bits and family.right else ()


def metrics(found: Sequence[Family], items: int) -> dict[str, float]:
    """Means over families, each counting alike."""
    said = {"items": float(items)}
    for name in ("bits_per_byte", "accuracy"):
        said[name] = sum(getattr(family, name) for family in found) / len(found)
        changes = [family.bits if name == "bits_per_byte" else family.right for family in found]
        if all(changes):
            change = together([one for one in changes if one])
            said |= {
                f"{name}_change": change.change,
                f"{name}_change_low": change.low,
                f"{name}_change_high": change.high,
            }
    if found[0].bits:
        said["families_better"] = float(sum(1 in _directions(family) for family in found))
        said["families_worse"] = float(sum(-1 in _directions(family) for family in found))
    return said


def tables(found: Sequence[Family]) -> list[dict[str, Any]]:
    paired = ["change", "95 % interval", "detectable from", "arrow"] if found[0].bits else []
    bits = [
        [f.name, f"{f.bits_per_byte:.3f}", *cells(f.bits, 1, "{:+.3f}", down="↓ better", up="↑ WORSE")] for f in found
    ]
    right = [
        [f.name, f.how, f"{f.accuracy:.1%}", *cells(f.right, 100, "{:+.1f}", down="↓ WORSE", up="↑ better")]
        for f in found
    ]
    return [
        {"title": "Bits per byte of the right answer", "columns": ["family", "now", *paired], "rows": bits},
        {"title": "Right answers, changes in points", "columns": ["family", "how", "now", *paired], "rows": right},
    ]


def cells(one: Difference | None, scale: float, form: str, down: str, up: str) -> list[str]:
    """Of a table: the change, its interval, what could be detected, and an arrow if it is above that."""
    if one is None:
        return []
    change, low, high = (form.format(scale * value) for value in (one.change, one.low, one.high))
    return [
        change,
        f"{low} to {high}",
        form.format(scale * one.detectable)[1:],
        {0: "–", 1: up, -1: down}[one.direction],
    ]
