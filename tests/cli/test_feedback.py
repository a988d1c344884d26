"""Feedback through the command line: judged in a terminal, exported, sealed at a gate, and read in the review."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest

from cli.conftest import TENTH, Shell, make_key, write_project
from cli.terminal import Terminal
from tenth.cli.judge.feedback import _read_by
from tenth.encoding import digest
from tenth.errors import WrongInput
from tenth.feedback.events import side
from tenth.feedback.table import Table
from tenth.feedback.views import VIEWS

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
        env = {**shell.environment, "EDITOR": "sh -c 'cp $0 begun; printf \"as it should be\" > $0'"}
        made.append(Terminal([str(TENTH), "feedback", *words], shell.folder, env, width=110, height=30))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_every_answer_has_its_key_and_what_cannot_be_shown_is_edited_from_nothing(
    shell: Shell, terminal: Callable[..., Terminal]
) -> None:
    write_project(shell)
    shell.begin()
    rows = [{"prompt": "p", "completions": [f"{HOSTILE * (n % 2)}{one}{n}" for one in "ab"]} for n in range(12)]
    (shell.folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shell.ok("feedback", "--pairs", "pairs.jsonl", "--add-only")
    ada, begun = terminal("--as", "ada"), []
    ada.until("second")
    for number, key in enumerate("bsf120eEeE", 1):
        ada.type(key)
        ada.until(f"{number} judgements? in this sitting")
        begun += [(shell.folder / "begun").read_text().rstrip("\n")] if key in "eE" else []
    ada.type("p")
    shell.until(lambda status: status["stance"] == "HALTED")
    ada.type("q")
    assert ada.wait() == 0
    run = Path(shell.status()["path"])
    table = Table(run, run.name, {})
    table.update()
    told = [event for event in table.events if event.event != "joined"]
    assert [one.facts.get("answer") for one in told[:6]] == ["bad", "skip", "flag", "first", "second", "tie"]
    edits = told[6:]
    assert [one.facts["side"] for one in edits] == ["first", "second", "first", "second"]
    assert {one.facts["text"] for one in edits} == {"as it should be"}
    made_from = [table.items[one.subject][side(one.facts["side"], one.facts["shown"])] for one in edits]
    assert begun == ["" if HOSTILE in text else text for text in made_from]


@pytest.mark.parametrize(
    ("command", "wanted", "view"),
    [
        (["tenth-trainer", "dpo", "r.toml"], None, "dpo"),
        (["tenth-trainer", "kto", "r.toml"], None, "kto"),
        (["python", "-m", "tenth.trainer", "selfplay", "r.toml"], None, "grades"),
        (["tenth-trainer", "sft", "r.toml"], "sft", "sft"),
        (["python", "mine.py"], None, "dpo"),
        (["python", "mine.py"], "reward", "reward"),
        (["tenth-trainer", "selfplay", "r.toml"], "dpo", "reads 'grades'"),
        (["tenth-trainer", "dpo", "r.toml"], "grades", "reads 'dpo'"),
        (["tenth-trainer", "pretrain", "r.toml"], None, "reads no feedback"),
    ],
)
def test_a_batch_is_of_the_view_that_the_next_tenth_reads(command: list[str], wanted: str | None, view: str) -> None:
    phase: Any = SimpleNamespace(name="last", command=command)
    if view in VIEWS:
        assert _read_by(phase, wanted) == view
        return
    with pytest.raises(WrongInput, match=view):
        _read_by(phase, wanted)


def test_what_our_trainer_would_refuse_is_not_signed(shell: Shell) -> None:
    """The charter's command has our trainer's name and verb, behind a trainer that does not mind."""
    write_project(shell)
    path = shell.folder / "charter.toml"
    path.write_text(re.sub(r'(command = \[.*steady\.py")\]', r'\1, "/opt/bin/tenth-trainer", "dpo"]', path.read_text()))
    assert "/opt/bin/tenth-trainer" in path.read_text()
    assert "optim.learning_rate" in shell("check").err
    (shell.folder / "recipe.toml").write_text("[optim]\nscale = 0.5\n")
    shell.ok("check")
    shell.begin()
    write_files(shell)
    shell.ok("feedback", "--pairs", "pairs.jsonl", "--add-only")
    refused = shell("feedback", "seal", "--view", "grades", "--as", "bob", "--yes")
    assert "'dpo' reads 'dpo'" in refused.err
    assert "optim.scale" in shell("adjust", "--set", "optim.scale=much", "--as", "bob", "--yes").err
    assert shell.status()["stance"] == "GATE"
    shell.ok("adjust", "--set", "optim.scale=0.25", "--as", "bob", "--yes")


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
    for view, columns in (("kto", "prompt completion label"), ("reward", "prompt chosen rejected share margin")):
        shell.ok("feedback", "export", "--view", view, "-o", f"{view}.jsonl")
        shell.ok("feedback", "export", "--view", view, "-o", f"{view}.parquet")
        lines = list(map(json.loads, (shell.folder / f"{view}.jsonl").read_text().splitlines()))
        assert lines == pyarrow.parquet.read_table(shell.folder / f"{view}.parquet").to_pylist()
        assert {tuple(row) for row in lines} == {tuple(columns.split())}
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
