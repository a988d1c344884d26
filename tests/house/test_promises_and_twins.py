"""docs/promises.md and tests/promises are twins: neither may promise, or keep silent, without the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from house.repo import ROOT, TWINS, Promise, promises

ALL = promises()
STATUS = re.compile(r"kept|partly kept: \S.*|not yet kept: \S.*")


def twin_files() -> list[Path]:
    return sorted(TWINS.glob("test_*.py"))


def constants(path: Path) -> dict[str, object]:
    """The literal assignments at the top of a module, without importing it."""
    found: dict[str, object] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def name_of(promise: Promise) -> str:
    return f"{promise.number:02}"


def test_the_promises_are_numbered_from_one_without_gaps() -> None:
    assert [promise.number for promise in ALL] == list(range(1, 15))


@pytest.mark.parametrize("promise", ALL, ids=name_of)
def test_a_promise_says_how_far_it_is_kept(promise: Promise) -> None:
    assert STATUS.fullmatch(promise.status), f"found {promise.status!r}"


@pytest.mark.parametrize("promise", ALL, ids=name_of)
def test_a_promise_names_where_it_is_kept(promise: Promise) -> None:
    line = re.search(r"^Kept in: (.+?)\n\n", promise.text + "\n\n", re.MULTILINE | re.DOTALL)
    if promise.status.startswith("not yet kept"):
        assert not line, "nothing keeps it yet"
        return
    assert line, "say 'Kept in: `src/tenth/...`'"
    paths = re.findall(r"`((?:src|tools)/[^`]+)`", line[1])
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("promise", ALL, ids=name_of)
def test_a_promise_has_one_twin_which_says_the_same(promise: Promise) -> None:
    twins = [path for path in twin_files() if path.name.startswith(f"test_{promise.number:02}_")]
    assert len(twins) == 1, f"want one tests/promises/test_{promise.number:02}_*.py"
    said = constants(twins[0])
    assert said.get("PROMISE") == promise.number
    assert said.get("STATUS") == promise.status
    assert f"(../tests/promises/{twins[0].name})" in promise.text, "docs/promises.md links to its twin"


@pytest.mark.parametrize("path", twin_files(), ids=lambda path: path.name)
def test_a_twin_has_a_promise_and_a_test(path: Path) -> None:
    said = constants(path)
    assert said.get("PROMISE") in [promise.number for promise in ALL]
    assert path.name.startswith(f"test_{said['PROMISE']:02}_")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [found for found in ast.walk(tree) if isinstance(found, ast.FunctionDef) and found.name[:5] == "test_"]
    assert tests, "a kept promise is held by a test; one not yet kept, by a test that its gap is still there"
