"""Panels as a supervisor starts them: a jail opens in their quarantine, changes are told, a flood opens no gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import PYTHON, Live, machines

CHANGES = [PYTHON, "-m", "tenth.evidence", "changes"]
JAILED = """\
import json, os, random, sys
from tenth.evidence.questions.asked import program
from tenth.evidence.questions.programs import opened, passed
with opened() as (jail, lacking):
    items = [one for seed in range(4) for one in program(random.Random(seed))]
    found = [passed(jail, items, [one.answer for one in items]), passed(jail, items, [one.others[0] for one in items])]
    escape = passed(jail, items[:1], [" [open('/etc/passwd')]"])
with open(os.environ["TENTH_OUT"] + "/summary.json", "w") as out:
    json.dump({"right": found[0], "wrong": found[1], "escape": escape}, out)
"""
FLOOD = """\
import os, sys, time
os.truncate(os.open(os.environ["TENTH_OUT"] + "/much", os.O_CREAT | os.O_WRONLY), 1 << 31)
time.sleep(60)
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    run = Live(tmp_path, env={"STEPS": 20, "PAUSE": 0})
    yield run
    run.close()


def said(run: Live, gate: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / f"gates/{gate}/evidence/{name}/summary.json").read_text())
    return found


@pytest.mark.parametrize("machine", [machines()[0], machines()[-1]])
def test_a_jail_opens_in_the_quarantine_of_evidence(live: Live, machine: str) -> None:
    live.machine, live.evidence = machine, [("jailed", [PYTHON, "-c", JAILED])]
    live.start().run_to("GATE", gate=1)
    assert said(live, "01", "jailed") == {"right": [True] * 4, "wrong": [False] * 4, "escape": [False]}


def test_changes_of_recipe_and_documents_are_told(live: Live) -> None:
    live.machine, live.evidence = machines()[-1], [("changes", CHANGES)]  # where the run's folder cannot be listed
    live.start().run_to("GATE", gate=1)
    assert "as they were" in said(live, "01", "changes")["headline"]
    live.say("adjusted", "ada", patch={"recipe": {"optim.lr": 0.25}, "exclude": ["data/prose.txt"]})
    live.until("GATE", gate=1)
    told = said(live, "01.2", "changes")
    assert told["metrics"] == {"recipe_keys": 1, "documents_left_out": 1, "not_as_pinned": 0, "steps_skipped": 0}
    recipe, documents = (table["rows"] for table in told["tables"])
    assert recipe == [["optim.lr", None, "0.5", "0.25"]]
    assert documents == [["data/prose.txt", len(live.documents["prose.txt"]), "next tenth"]]
    live.run_to("GATE", gate=2)
    recipe, documents = (table["rows"] for table in said(live, "02", "changes")["tables"])
    assert (recipe[0][1:], documents[0][2]) == (["0.5", "0.25", "0.25"], "last tenth")


def test_evidence_that_floods_its_folder_keeps_the_gate_shut_and_is_named(live: Live) -> None:
    live.evidence = [("flood", [PYTHON, "-c", FLOOD])]
    live.start().run_to("HALTED", gate=1)
    assert live.last("tripped")["reason"] == "evidence"
    assert "'flood' wrote more than" in live.last("tripped")["detail"]
    assert live.evidence_runs() == []
    assert [seal["gate"] for seal in (entry["body"] for entry in live.entries() if entry["event"] == "sealed")] == [0]
    live.say("adjusted", "ada", patch={"evidence": {"drop": ["flood"]}})
    live.until("GATE", gate=1)
