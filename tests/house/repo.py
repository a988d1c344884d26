"""Where things stand in this repository, for the tests of the house: its files, and what its documents say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tenth"
PROMISES = ROOT / "docs" / "promises.md"
TWINS = ROOT / "tests" / "promises"

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python file below the given folders of the repository."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def documents() -> list[Path]:
    """Every document that people read."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")])


def prose(document: Path) -> str:
    """A document without its code blocks and comments."""
    return COMMENT.sub("", FENCE.sub("", document.read_text(encoding="utf-8")))


def project() -> dict[str, object]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Promise:
    """One promise, as docs/promises.md gives it."""

    number: int
    title: str
    status: str
    """On one line; begins with 'kept', 'partly kept: ' or 'not yet kept: '."""
    text: str


def promises() -> list[Promise]:
    """The sections ``## N. Title`` of docs/promises.md, each with its ``Status:`` paragraph."""
    parts = re.split(r"^## (\d+)\. (.+)$", PROMISES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = []
    for number, title, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        status = re.search(r"^Status: (.+?)\n\n", text + "\n\n", re.MULTILINE | re.DOTALL)
        found.append(Promise(int(number), title, " ".join(status[1].split()) if status else "", text))
    return found
