"""Differences between two checkpoints: intervals that hold, and no arrow where nothing changed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tenth.evidence.questions.paired import Difference, means, ratios, shares, together


def test_a_ratio_and_its_error_are_those_of_the_textbook() -> None:
    """Cochran 1977, section 2.11, written out."""
    now, before, sizes = [3.0, 8.0, 2.0], [4.0, 9.0, 1.5], [2.0, 5.0, 1.0]
    found = ratios(now, before, sizes)
    assert found.change == pytest.approx(-1.5 / 8)
    spread = sum((a - b - found.change * size) ** 2 for a, b, size in zip(now, before, sizes, strict=True)) / 2
    assert found.error == pytest.approx(math.sqrt(3 * spread) / 8)
    assert (found.low, found.high) == (
        pytest.approx(found.change - 1.96 * found.error),
        pytest.approx(found.change + 1.96 * found.error),
    )
    assert means([1.0, 3.0], [0.0, 0.0]).change == 2.0


def test_what_is_hard_for_both_cancels() -> None:
    random = np.random.default_rng(1)
    hard = random.normal(5, 3, 200)
    now, before = hard - 0.2 + random.normal(0, 0.1, 200), hard
    assert means(now.tolist(), before.tolist()).direction == -1
    assert means(now.tolist(), random.permutation(before).tolist()).direction == 0, "unpaired, it drowns"


def test_no_arrow_where_nothing_changed_and_intervals_cover() -> None:
    random = np.random.default_rng(2)
    arrows, covered = 0, 0
    for _ in range(200):
        before, now = random.random((2, 167)) < 0.3
        found = [
            shares(now.tolist(), before.tolist()),
            ratios(random.normal(8, 2, 167), random.normal(8, 2, 167), [4.0] * 167),
        ]
        arrows += sum(one.direction != 0 for one in found)
        covered += sum(one.low <= 0 <= one.high for one in found)
    assert arrows <= 7, "at 2.8 standard errors one in two hundred is by chance"
    assert 0.92 <= covered / 400 <= 0.98


def test_no_failure_in_n_items_is_not_certainty() -> None:
    found = shares([True] * 60, [True] * 60)
    assert found.change == 0.0
    assert found.direction == 0
    assert 1 / 60 < found.detectable < 6 / 60
    assert found.low < 0 < found.high
    assert shares([False] * 3, [True] * 3).direction == 0, "three items show nothing"


def test_a_change_that_items_can_show_has_an_arrow() -> None:
    assert shares([True] * 60 + [False] * 107, [True] * 30 + [False] * 137).direction == 1
    assert shares([False] * 167, [True] * 20 + [False] * 147).direction == -1
    families = [Difference(change, 0, 0, 0.028) for change in (0.1, 0.2)]
    assert together(families).change == pytest.approx(0.15)
    assert together(families).error == pytest.approx(0.01 / math.sqrt(2))
