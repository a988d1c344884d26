"""The demo, on a tiny corpus and with the steady trainer: played as lines, played by a person, and tampered with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import STEADY, TENTH, Shell
from cli.terminal import Terminal
from tenth.cli.demo.folder import Part, Plan, prepare
from tenth.cli.replay import replay
from tenth.errors import WrongInput

SCRIPT = """
import json, sys
from pathlib import Path
from tenth.cli.demo import tamper
from tenth.cli.demo.folder import Part, Plan
from tenth.cli.demo.stage import play
words = json.loads(sys.argv[1])
for name in ("folder", "corpus", "record"):
    words[name] = Path(words[name])
words["phases"] = [Part(**words["phases"])]
code, run = play(Plan(**words))
sys.exit(code or not tamper.show(run))
"""


def plan(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "corpus" / "test").mkdir(parents=True)
    (folder / "corpus" / "code.py").write_text("def f():\n    return 1\n")
    (folder / "corpus" / "test" / "test_code.py").write_text("assert True\n")
    return {
        "folder": str(folder / "demo"),
        "corpus": str(folder / "corpus"),
        "record": str(folder / "record.jsonl"),
        "phases": {"command": [sys.executable, str(STEADY)], "recipe": "[optim]\nlearning_rate = 0.1\n"},
        "evidence": {},
        "env": {"STEPS": "200", "PAUSE": "0.02"},
        "completions": [],
        "halt_seconds": 0.3,
        "read_seconds": 0.0,
        **more,
    }


def test_played_as_lines_and_tampered_with(shell: Shell) -> None:
    words = plan(shell.folder)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(words)], env=shell.environment, cwd=shell.folder, capture_output=True,
        text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "signatories ada (automatic), bob (automatic), eve (automatic)" in done.stdout
    assert "lin pulled the cord" in done.stdout
    assert "ada reopened the run" in done.stdout
    assert "10 tenths, 36 consents, 1 pull of the cord" in done.stdout
    assert "verifies: no promise that can be checked offline is broken" in done.stdout
    for promise, name in ((7, "a forged entry"), (9, "a swapped checkpoint"), (1, "a missing consent")):
        assert re.search(rf"{name}\n.*\n    verify   promise {promise} is broken", done.stdout)
    (run,) = (shell.folder / "demo" / "runs").iterdir()
    pulled_in_the_fourth_tenth(run)
    tampered_again(shell, run)
    record = (shell.folder / "record.jsonl").read_text().splitlines()
    assert len(record) > 100


def pulled_in_the_fourth_tenth(run: Path) -> None:
    entries = replay(run).log.entries
    place = next(entry.index for entry in entries if entry.event == "pulled")
    before = [entry for entry in entries if entry.index < place]
    assert max(entry.body["gate"] for entry in before if entry.event == "reached") == 3
    assert entries[place].body["frozen"]
    assert entries[place].body["by"]["name"] == "lin"
    assert {path.name for path in (run.parents[1] / "project" / "data").rglob("*.py")} == {"code.py"}


def tampered_again(shell: Shell, run: Path) -> None:
    """'tenth demo --tamper' on a finished demo plays nothing again, and leaves it as it was."""
    before = sorted(path.name for path in run.parents[1].iterdir())
    done = shell.ok("demo", "--folder", "demo", "--tamper")
    assert done.out.count("is broken") == 3
    assert sorted(path.name for path in run.parents[1].iterdir()) == before
    assert shell.ok("verify", run, "--json").json["verifies"]


def test_who_plays_a_signatory_looks_as_that_signatory(tmp_path: Path) -> None:
    assert Plan(tmp_path).viewer == "lin=watcher"
    played = Plan(tmp_path, interactive=True)
    assert played.viewer == "you=signatory"
    assert "you" in played.signatories


def test_played_by_a_person(shell: Shell) -> None:
    """--interactive: nothing starts before you press c; r shows the dossier; q leaves."""
    words = plan(shell.folder, interactive=True)
    terminal = Terminal([sys.executable, "-c", SCRIPT, json.dumps(words)], shell.folder, shell.environment)
    try:
        terminal.until("gate 0 waits for you: r reads the dossier, c consents, o objects")
        terminal.type("r")
        terminal.until("Your consent would")
        terminal.until("Enter goes back")
        terminal.type("\n")
        terminal.until("at gate 0: waiting for")
        terminal.type("o")
        terminal.until("you objected")
        terminal.until("you objects|objects")
        terminal.type("c")
        terminal.until("training tenth 1 of 10")
        terminal.until("gate 1 waits for you")
        terminal.type("q")
        assert terminal.wait() != 0
        terminal.until("to go on by hand")
    finally:
        terminal.close()
    (run,) = (shell.folder / "demo" / "runs").iterdir()
    signed = [entry.event for entry in replay(run).log.entries]
    assert "objected" in signed


def test_the_folder_is_not_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("years of work")
    with pytest.raises(WrongInput, match="holds something else"):
        prepare(Plan(tmp_path / "demo"))


def test_the_standard_library_is_copied_without_its_tests(tmp_path: Path) -> None:
    count = prepare(Plan(tmp_path / "demo", phases=[Part(recipe="[a]\n")]))
    names = {
        path.relative_to(tmp_path / "demo" / "project" / "data").parts[0] for path in (tmp_path / "demo").rglob("*.py")
    }
    assert count > 200
    assert "ast.py" in names
    assert not {"test", "encodings", "site-packages"} & names
    assert oct((tmp_path / "demo" / "people" / "keys" / "ada").stat().st_mode)[-3:] == "600"
    assert prepare(Plan(tmp_path / "demo", phases=[Part(recipe="[a]\n")])) == count


def test_demo_says_what_it_would_do(shell: Shell) -> None:
    assert "would train" in shell.ok("demo", "--dry-run").out
    assert os.listdir(shell.folder) == []
    assert TENTH.exists()
