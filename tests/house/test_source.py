"""One room, one purpose: every file says what it answers, is short enough, and has a name that says something."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from house.repo import ROOT, SOURCE, python_files

LONGEST = 400
LONG_FOR_A_REASON: dict[str, str] = {}
"""Path below src/tenth -> why this file answers one question and still needs more than 400 lines."""

SAYS_NOTHING = {"manager", "managers", "helper", "helpers", "util", "utils", "common", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", list(python_files("src", "tools", "tests", "examples", "benchmarks")), ids=relative)
def test_a_file_says_in_its_first_line_what_it_answers(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "begin with a docstring"
    assert docstring.splitlines()[0].strip(), "the docstring's first line says it"


@pytest.mark.parametrize("path", list(python_files("src")), ids=relative)
def test_a_file_of_the_source_is_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    reason = LONG_FOR_A_REASON.get(str(path.relative_to(SOURCE)))
    if reason is None:
        assert lines <= LONGEST, "look for the second question this file answers, or list the reason here"
    else:
        assert lines > LONGEST, "it is short again: take it off the list"


def test_the_list_of_long_files_is_not_stale() -> None:
    assert [name for name in LONG_FOR_A_REASON if not (SOURCE / name).is_file()] == []


@pytest.mark.parametrize("path", list(python_files("src", "tools", "tests")), ids=relative)
def test_a_name_says_something(path: Path) -> None:
    words = {word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.lower().split("_")}
    assert not words & SAYS_NOTHING
