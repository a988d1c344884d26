"""Feedback through the command line: judged in a terminal, exported, sealed at a gate, and read in the review."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet
import pytest

from cli.conftest import TENTH, Shell, make_key, write_project
from cli.terminal import Terminal
from tenth.encoding import digest

HOSTILE = "\x1b]0;owned\x07\u202e<b>"


def write_files(shell: Shell) -> None:
    """Eight pairs and a proposal, of a model that attacks the terminal."""
    rows = [{"prompt": f"{HOSTILE} f{n}(", "completions": [f"a): return {n}a", f"b): return {n}b"]} for n in range(8)]
    (shell.folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (shell.folder / "proposals.jsonl").write_text(json.dumps({"text": HOSTILE}))


@pytest.fixture
def terminal(shell: Shell) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(*words: str) -> Terminal:
        env = {**shell.environment, "EDITOR": "sh -c 'printf \"as it should be\" > $0'"}
        made.append(Terminal([str(TENTH), "feedback", *words], shell.folder, env, width=110, height=30))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_from_a_key_press_to_the_dossier(shell: Shell, terminal: Callable[..., Terminal]) -> None:
    write_project(shell)
    make_key(shell, "guest")
    shell.begin()
    write_files(shell)
    added = shell.ok("feedback", "--pairs", "pairs.jsonl", "--proposals", "proposals.jsonl", "--add-only")
    assert "9 items" in added.err
    assert "there is no terminal" in shell("feedback").err

    ada = terminal("--as", "ada")
    ada.until(r"\\x1b\]0;owned\\x07\\u202e<b> f\d")
    for number, key in enumerate("1201", 1):
        ada.type(key)
        ada.until(f"{number} judgements? in this sitting")
    ada.type("u")
    ada.until("3 judgements in this sitting")
    ada.type("e")
    ada.until("4 judgements in this sitting")
    ada.type("q")
    assert ada.wait() == 0
    assert "4 judgements signed by ada" in ada.seen
    guest = terminal("--as", "guest", "--grade")
    guest.until(r"\\x1b\]0;owned\\x07\\u202e<b>")
    guest.type("3")
    assert guest.wait() == 0  # nothing is left
    for one in (ada, guest):
        assert not set(one.seen) & {"\x07", "\u202e"}

    told = shell.ok("feedback", "show", "--json").json
    assert told["events"] == {"ada": 7, "guest": 2}
    assert told["guide"] is None  # one grade says nothing yet
    assert (told["pair"]["judgements"], told["proposal"]["judgements"]) == (4, 1)
    shell.ok("feedback", "export", "--view", "dpo", "-o", "dpo.parquet")
    rows = pyarrow.parquet.read_table(shell.folder / "dpo.parquet").to_pylist()
    assert {tuple(row) for row in rows} == {("prompt", "chosen", "rejected", "share")}
    assert "as it should be" in [row["chosen"] for row in rows]
    shell.ok("feedback", "export", "--view", "sft", "-o", "sft.jsonl")
    (edit,) = map(json.loads, (shell.folder / "sft.jsonl").read_text().splitlines())
    assert edit["completion"] == "as it should be"

    run = Path(shell.status()["path"])
    before = set((run / "feedback").iterdir())
    shell.ok("feedback", "seal", "--as", "bob", "--dry-run")
    assert set((run / "feedback").iterdir()) == before
    sealed = shell.ok("feedback", "seal", "--as", "bob", "--yes", "--note", "a first try")
    assert "rows of dpo from 4 judgements by 1 annotator;" in sealed.out
    shell.until(lambda status: status["stance"] == "GATE" and not status["consents"])
    (name,) = tomllib.loads((run / "recipe.2.toml").read_text())["feedback"]["batches"]
    batch = run / "feedback" / f"{name}.jsonl"
    assert digest(batch.read_bytes()) == name
    assert list(map(json.loads, batch.read_bytes().splitlines())) == sorted(rows, key=rows.index)
    wanted = f"feedback batch {name[:16]}: {len(rows)} rows of dpo from 4 judgements by 1 annotator;"
    review = " ".join(shell.ok("review").out.split())
    assert wanted in review
    shell.ok("review", "--export", "pack.zip")
    assert wanted in " ".join(shell.ok("review", "pack.zip").out.split())

    batch.write_bytes(batch.read_bytes() + b"\n")
    assert "its bytes have another digest" in " ".join(shell.ok("review").out.split())
