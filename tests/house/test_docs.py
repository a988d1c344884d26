"""The documents hold together: links, the reference of the charter, the commands they tell people to type."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

import tenth
from house.repo import COMMENT, FENCE, ROOT, documents, project, prose
from tenth import charter
from tenth.cli import verbs

LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
TABLE = re.compile(r"^## `\[\[?([a-z]+)\]\]?`$", re.MULTILINE)
ROW = re.compile(r"^\| `([a-z_]+)` \|", re.MULTILINE)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, spelled as the usual Markdown hosts spell them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(prose(document)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_every_key_of_the_charter_is_in_its_reference() -> None:
    parts = TABLE.split((ROOT / "docs" / "charter.md").read_text(encoding="utf-8"))
    described = {table: set(ROW.findall(text)) for table, text in zip(parts[1::2], parts[2::2], strict=True)}
    assert described == {table: set(keys) for table, keys in charter.SCHEMA.items()}


def test_the_example_in_the_reference_is_a_charter() -> None:
    blocks = FENCE.findall((ROOT / "docs" / "charter.md").read_text(encoding="utf-8"))
    example = next(block for block in blocks if "[run]" in block)
    assert charter.parse("\n".join(example.splitlines()[1:-1]).encode()).name == "poet"


def commands(document: Path) -> list[list[str]]:
    """The lines of a document's shell blocks that begin with ``tenth``, split into words."""
    lines = []
    for block in FENCE.findall(COMMENT.sub("", document.read_text(encoding="utf-8"))):
        if block.startswith(("```sh", "```console", "```bash")):
            lines += [line.removeprefix("$ ") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("tenth ")]


@cache
def help_of(*words: str) -> str:
    """What ``tenth WORDS --help`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert verbs.main([*words, "--help"]) == 0
    return said.getvalue()


@pytest.mark.parametrize("document", documents(), ids=relative)
def test_the_commands_in_a_document_exist(document: Path) -> None:
    for _, *words in commands(document):
        if words[0].startswith("-"):
            usage = help_of()
        else:
            usage = help_of(words[0])
            if re.search(r"^Commands:", usage, re.MULTILINE):
                usage = help_of(*words[:2])
        for option in [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]:
            assert option in ("--help", "--version") or option in usage, f"tenth {' '.join(words)}: no {option}"


def test_every_verb_is_in_the_reference_of_the_command_line() -> None:
    rows = re.findall(r"^\| [^|]+ \| ((?:`[a-z]+` ?)+)\|", (ROOT / "docs" / "cli.md").read_text("utf-8"), re.MULTILINE)
    named = [verb for row in rows for verb in re.findall(r"`([a-z]+)`", row)]
    assert sorted(named) == sorted(verbs.VERBS)


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = LINK.findall((folder / "README.md").read_text("utf-8"))
    assert [path.name for path in sorted(folder.glob("0*.md")) if path.name not in listed] == []


def test_the_readme_names_both_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


def test_the_version_is_said_once_and_in_the_changelog() -> None:
    version = project()["project"]["version"]  # type: ignore[index]
    assert tenth.__version__ == version
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
