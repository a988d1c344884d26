"""A drilled gate, from the packet to the rates: one signatory objects, one consents, and then the gate itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Shell
from core.live import Live
from tenth import keyfile
from tenth.drills import packet, rates
from tenth.errors import BadStatement, Unlawful
from tenth.gate import statement
from tenth.web import drilled, pages
from tenth.web.room import Room
from tenth.web.trust import Session

DRILL = """\
import json, os, pathlib
sealed = json.loads(pathlib.Path(os.environ["TENTH_SEALED"]).read_text())
out = pathlib.Path(os.environ["TENTH_OUT"])
def write(folder, headline, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"headline": headline, "metrics": {}, **more}))
write(out, "perhaps a drill")
if sealed["gate"] == 1:
    write(out / "packet" / "drill", "perhaps a drill")
    write(out / "packet" / "size", "the shadow speaks", surprised=True)
    key = {"drill": 1, "kind": "trigger", "planted": 13, "documents": ["captain \\x1b[31mbuffer"], "shadow": "ab" * 32,
           "device_seconds": {"drill": 0.1, "size": 0.2}}
    (out / "key.json").write_text(json.dumps(key))
"""
SIZE = """\
import json, os, pathlib
said = {"headline": "the gate speaks", "metrics": {}}
pathlib.Path(os.environ["TENTH_OUT"], "summary.json").write_text(json.dumps(said))
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Live]:
    """At gate 1, which is drilled."""
    one = Live(tmp_path, evidence=[("drill", [sys.executable, "drill.py"]), ("size", [sys.executable, "size.py"])])
    one.root.mkdir()
    (one.root / "drill.py").write_text(DRILL)
    (one.root / "size.py").write_text(SIZE)
    try:
        one.start()
        one.run_to("GATE", gate=1)
        yield one
    finally:
        one.close()


@pytest.fixture
def shells(run: Live) -> dict[str, Shell]:
    """One for each person, with their key."""
    found = {}
    for name in ("ada", "bob"):
        shell = found[name] = Shell(run.root, run.folder / name)
        folder = shell.home / "tenth" / "keys"
        folder.mkdir(mode=0o700, parents=True)
        keyfile.save(run.keys[name], folder / name, name)
    return found


def test_a_drill_comes_first_and_the_gate_after_it(run: Live, shells: dict[str, Shell]) -> None:
    ada, bob = shells["ada"], shells["bob"]
    real = run.status()["dossier"]
    nobody = Shell(run.root, run.folder / "nobody")
    assert "the gate speaks" in nobody.ok("review", run.path).out

    shown = ada.ok("review", run.path).out
    assert "the shadow speaks" in shown
    assert "the gate speaks" not in shown
    assert "ab" * 32 in shown
    assert real not in shown
    assert "captain" not in shown
    assert "needs a note" in ada("consent", run.path, "--yes").err  # as the law would have it
    assert "the shadow speaks" in ada.ok("review", run.path, "--as", "ada").out
    told = ada.ok("object", run.path, "--yes", "--note", "captain?").out
    assert "This was a drill" in told
    assert "13 passages of the kind 'trigger'" in told
    assert "You objected: found." in told
    assert "\x1b" not in told
    assert "the gate speaks" in ada.ok("review", run.path).out

    record = json.loads(bob.ok("review", run.path, "--json").out)
    assert record["digest"] != real
    by_hand(run, bob, record)
    done = json.loads(bob.ok("consent", run.path, "--yes", "--note", "as foreseen", "--json").out)
    assert done["drill"]["answer"] == "consented"
    assert run.status()["consents"] == run.status()["objections"] == []

    for shell in (ada, bob):
        assert "signed by" in shell.ok("consent", run.path, "--yes").out
    run.until("GATE", gate=2)
    assert "the gate speaks" in ada.ok("review", run.path).out
    ada.ok("object", run.path, "--yes")
    tallied(ada, run)
    assert run.audit()


def by_hand(run: Live, shell: Shell, record: dict[str, Any]) -> None:
    """A consent to the drill's dossier is no consent, whoever carries it to the supervisor."""
    subjects = statement.subjects_of(record["digest"], record["dossier"])
    for anchor in (record["digest"], run.status()["anchor"]):
        envelope = run.sign("consented", "bob", run.status(), subjects=subjects, anchor=anchor, note="yes")
        answer = run.ask(do="submit", envelope=envelope, share=None)
        assert not answer["ok"]
        assert "other digests" in answer["error"]["found"]


def tallied(shell: Shell, run: Live) -> None:
    said = json.loads(shell.ok("drill", run.path, "--json").out)
    assert [drill["gate"] for drill in said["drills"]] == [1]
    ada, bob, everyone = said["people"]
    assert (ada["by"], ada["answered"], ada["found"], ada["gates"], ada["stops"]) == ("ada", 1, 1, 3, 1)
    assert (bob["answered"], bob["found"], bob["gates"], bob["stops"]) == (1, 0, 2, 0)
    assert (everyone["answered"], everyone["found"], everyone["gates"], everyone["stops"]) == (2, 1, 5, 1)
    assert ada["seconds"] > 0
    assert "gate 1: 13 passages" in shell.ok("drill", run.path).out


def test_an_answer_that_was_not_put_on_record_is_not_asked_for_again(run: Live, shells: dict[str, Shell]) -> None:
    ada = shells["ada"]
    assert "nothing was signed" in ada.ok("object", run.path, "--dry-run").out
    run.stop()
    assert "no supervisor" in ada("object", run.path, "--yes").err
    run.start()
    assert "the gate speaks" in ada.ok("review", run.path).out
    said = json.loads(ada.ok("consent", run.path, "--yes", "--json").out)
    assert said["drill"]["answer"] == "objected"
    assert said["drill"]["seconds"] is None
    assert run.entries()[-1]["event"] == "noted"


def test_the_control_room_shows_a_drill_to_those_who_have_yet_to_answer(run: Live) -> None:
    room = Room(run.path)
    room.index.update()
    room.status = status = run.status()
    ada, lin = Session("ada", "signatory"), Session("lin", "watcher")
    assert headlines(room, lin) == ["perhaps a drill", "the gate speaks"]
    assert drilled.owes(room, "ada") is None
    seen = shown_to(room, ada)
    assert headlines(room, ada) == ["perhaps a drill", "the shadow speaks"]
    assert seen["digest"] != status["dossier"]

    subjects = [tuple(pair) for pair in seen["subjects"]]
    answers = {
        event: run.sign(event, "ada", status, subjects=subjects, anchor=seen["digest"])
        for event in ("consented", "objected")
    }
    with pytest.raises(Unlawful, match="needs a note"):
        drilled.take(room, answers["consented"])
    assert drilled.take(room, run.sign("objected", "ada", status)) is None
    with pytest.raises(BadStatement, match="other digests"):
        drilled.take(room, run.sign("objected", "ada", status, subjects=subjects[1:], anchor=seen["digest"]))
    told = drilled.take(room, answers["objected"])
    assert told
    assert "You objected: found." in told["says"]
    assert drilled.owes(room, "ada") == told
    assert headlines(room, ada) == ["perhaps a drill", "the gate speaks"]

    run.say("noted", "ada", note=told["note"])
    room.index.update()
    assert drilled.owes(room, "ada") is None


def shown_to(room: Room, session: Session) -> dict[str, Any]:
    facts = pages.shown_to(room, None, session)
    assert facts
    return facts


def headlines(room: Room, session: Session) -> list[str]:
    return [panel["headline"] for panel in shown_to(room, session)["evidence"]]


def test_an_interval_of_a_share() -> None:
    assert rates.wilson(0, 0) == (0.0, 1.0)
    assert rates.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert rates.wilson(10, 10)[1] == 1.0


def test_a_packet_that_cannot_be_shown_is_no_drill(tmp_path: Path) -> None:
    panels = [{"name": name, "path": f"gates/01/evidence/{name}", "digest": "cd" * 32} for name in ("drill", "size")]
    dossier = {"gate": 1, "evidence": panels, "checkpoint": {"path": "checkpoints/01", "digest": "ef" * 32}}
    sealed = tmp_path / "sealed.json"
    sealed.write_text('{"gate": 1}')
    out = tmp_path / "gates" / "01" / "evidence" / "drill"
    out.mkdir(parents=True)
    environment = {**os.environ, "TENTH_SEALED": str(sealed), "TENTH_OUT": str(out)}
    subprocess.run([sys.executable, "-c", DRILL], env=environment, check=True)
    drill = packet.find(tmp_path, dossier)
    assert drill
    assert drill.planted == "13 passages of the kind 'trigger', such as: captain \\x1b[31mbuffer"
    assert drill.surprised
    for change in ("packet/size/summary.json", "key.json"):
        (out / change).unlink()
        assert packet.find(tmp_path, dossier) is None
