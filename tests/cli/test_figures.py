"""How the figures of a panel are laid out."""

from __future__ import annotations

from tenth.cli import words
from tenth.cli.gate.dossier import _aligned


def test_a_figure_has_its_bounds_and_bounds_are_no_figures() -> None:
    metrics = {"a": 1, "a_low": 0, "a_high": 2, "b": 3, "b_error": 0.5, "c_low": 4, "d": 5, "d_low": 6}
    assert list(words.figures(metrics)) == [
        ("a", 1, (0, 2)), ("b", 3, (0.5,)), ("c_low", 4, ()), ("d", 5, ()),
    ]  # fmt: skip


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    rows = [["family", "now", "change"], ["sums", "9.5", "+0.1"], ["copying", "14.0%", "–"]]
    assert _aligned(rows) == ["family     now  change", "sums       9.5    +0.1", "copying  14.0%       –"]
    assert _aligned([]) == []
    assert _aligned([["a"], ["b", "c"]]) == ["a", "b  c"]
