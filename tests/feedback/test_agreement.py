"""Alpha is the one that Krippendorff published; repeats and known answers are counted as people gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback.sitting import Sitting, pair
from tenth.feedback.agreement import agreement, alpha

# K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): sections A, B and C, coders by row, "." missing.
PUBLISHED = {
    "two observers, two values": (0.095, ["0100000010", "1110010000"]),
    "two observers, five values": (0.692, ["aabbdcccedda", "babbbccceddd"]),
    "four observers, values missing": (0.743, ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_alpha_of_published_examples(name: str) -> None:
    wanted, coders = PUBLISHED[name]
    units = [[value for value in column if value != "."] for column in zip(*coders, strict=True)]
    found = alpha(units)
    assert found is not None
    assert round(found, 3) == wanted


def test_alpha_at_its_ends() -> None:
    assert alpha([["a", "a"], ["b", "b"]]) == 1
    assert alpha([["a"], ["b"]]) is None  # nobody shared anything
    assert alpha([["a", "a"], ["a", "a"]]) is None  # nothing could differ
    below = alpha([["a", "b"], ["b", "a"]])
    assert below is not None
    assert below < 0


def test_what_a_table_comes_to(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path)
    one, two, known = sitting.add(pair(1), pair(2), pair(3, gold="b"))
    sitting.judge("ada", one, "first")
    sitting.judge("bob", one, "second", shown="ba")  # the same sample, on the other side
    sitting.judge("ada", two, "tie")
    sitting.judge("bob", two, "first")
    sitting.judge("ada", one, "second")  # a repeat, answered otherwise
    sitting.judge("bob", two, "first")  # a repeat, answered alike
    sitting.judge("ada", known, "second")
    sitting.judge("bob", known, "skip")
    found = agreement(sitting.desk.table.events, sitting.desk.table.items)
    assert (found.judgements, found.annotators, found.shared) == (8, 2, 2)
    assert (found.repeats, found.repeated_alike) == (2, 1)
    assert (found.gold, found.gold_right) == (1, 1)
    assert found.seconds == 2.5
    assert found.alpha == alpha([["a", "a"], ["tie", "a"]])
    assert "8 judgements by 2 annotators" in found.words()
    assert found.words().endswith("; median time of an answer 2.5 s")
