"""Promise 10's exit: whatever goes in, nothing comes out that steers, hides, reorders or piles up."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from tenth.sanitise import BLANKS, MARKS, SPELLED, plain

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=300)
"""Lone surrogates included."""


def dangerous(text: str, kept: str = "") -> list[str]:
    return [
        char
        for char in text
        if char not in kept
        and (unicodedata.category(char) in SPELLED or char in BLANKS or (char.isspace() and char != " "))
    ]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("def f(x): return x", "def f(x): return x"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]8;;http://a.example\x07link\x1b]8;;\x07", "\\x1b]8;;http://a.example\\x07link\\x1b]8;;\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb", "a\\rb"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x00\x08\x7f", "\\x00\\x08\\x7f"),
        ("if admin\u202e } \u2066", "if admin\\u202e } \\u2066"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("soft\u00adhyphen", "soft\\xadhyphen"),
        ("\ud800", "\\ud800"),
        ("\ue000\U0010ffff", "\\ue000\\U0010ffff"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("no\u00a0break", "no break"),
        ("\u3164\u2800", "\\u3164\\u2800"),
        ("❤\ufe0f", "❤\\ufe0f"),
        ("naïve 中文 кириллица", "naïve 中文 кириллица"),
        ("e\u0301", "e\u0301"),
        ("e" + "\u0301" * 40, "e" + "\u0301" * 2 + "[+38 marks]"),
        ("\u0301lonely", "[+1 marks]lonely"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ],
)
def test_what_is_shown(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_lines_are_kept_when_asked_for() -> None:
    assert plain("a\n\tb\r\n", lines=True) == "a\n\tb\\r\n"


def test_the_length_is_bounded_and_said() -> None:
    shown = plain("x" * 10_000, limit=100)
    assert len(shown) == 100
    assert shown.endswith("more]")
    assert len(plain("\x1b" * 10_000, limit=100)) <= 100


@given(ANYTHING)
def test_no_output_is_dangerous(raw: str) -> None:
    assert dangerous(plain(raw)) == []
    assert dangerous(plain(raw, lines=True), "\n\t") == []


@given(ANYTHING)
def test_marks_never_pile_up(raw: str) -> None:
    run = 0
    for char in plain(raw):
        run = run + 1 if unicodedata.category(char).startswith("M") else 0
        assert run <= MARKS


@given(ANYTHING, st.integers(0, 400))
def test_the_limit_holds(raw: str, limit: int) -> None:
    assert len(plain(raw, limit=limit)) <= limit


@given(ANYTHING)
def test_what_is_plain_stays_as_it_is(raw: str) -> None:
    once = plain(raw, limit=100_000)
    assert plain(once, limit=100_000) == once


@given(ANYTHING)
def test_a_terminal_gets_nothing_but_text(raw: str) -> None:
    console = Console(width=200, force_terminal=True, color_system="truecolor", file=None)
    with console.capture() as captured:
        console.print(Text(plain(raw)))
    assert "\x1b" not in captured.get()
