"""A drilled gate, from the packet to the rates: one signatory objects, one consents, and then the gate itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.planted import DRILL, SIZE
from core.live import Live
from tenth import keyfile
from tenth.cli.verbs import main
from tenth.drills import packet, rates
from tenth.errors import BadStatement, Unlawful
from tenth.gate import statement
from tenth.verify import Report
from tenth.web import drilled, pages
from tenth.web.room import Room
from tenth.web.trust import Session


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


Say = Callable[..., str]


@pytest.fixture
def say(run: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Who, and a command line about the run, in this process: what it prints."""
    for name in ("ada", "bob"):
        folder = run.folder / name / "keys"
        folder.mkdir(mode=0o700, parents=True)
        keyfile.save(run.keys[name], folder / name, name)
    monkeypatch.setenv("HOME", str(run.folder / "home"))

    def said(name: str, verb: str, *words: str, code: int = 0) -> str:
        monkeypatch.setenv("TENTH_HOME", str(run.folder / name))
        assert main([verb, str(run.path), *words]) == code
        found = capsys.readouterr()
        return found.err if code else found.out

    return said


def test_a_drill_comes_first_and_the_gate_after_it(run: Live, say: Say) -> None:
    real = run.status()["dossier"]
    assert "the gate speaks" in say("nobody", "review")

    shown = say("ada", "review")
    assert "the shadow speaks" in shown
    assert "the gate speaks" not in shown
    assert "ab" * 32 in shown
    assert real not in shown
    assert "captain" not in shown
    assert "needs a note" in say("ada", "consent", "--yes", code=1)  # as the law would have it
    assert "the shadow speaks" in say("ada", "review", "--as", "ada")
    told = say("ada", "object", "--yes", "--note", "captain?")
    assert "This was a drill" in told
    assert "13 passages of the kind 'trigger'" in told
    assert "You objected: found." in told
    assert "\x1b" not in told
    assert "the gate speaks" in say("ada", "review")

    assert "no drill is over" in say("bob", "drill")  # bob has yet to answer
    record = json.loads(say("bob", "review", "--json"))
    assert record["digest"] != real
    by_hand(run, record)
    done = json.loads(say("bob", "consent", "--yes", "--note", "as foreseen", "--json"))
    assert done["drill"]["answer"] == "consented"
    assert run.status()["consents"] == run.status()["objections"] == []

    for name in ("ada", "bob"):
        assert "signed by" in say(name, "consent", "--yes")
    run.until("GATE", gate=2)
    assert "the gate speaks" in say("ada", "review")
    say("ada", "object", "--yes")
    tallied(say)
    assert isinstance(run.audit(), Report)


def by_hand(run: Live, record: dict[str, Any]) -> None:
    """A consent to the drill's dossier is no consent, whoever carries it to the supervisor."""
    subjects = statement.subjects_of(record["digest"], record["dossier"])
    for anchor in (record["digest"], run.status()["anchor"]):
        envelope = run.sign("consented", "bob", run.status(), subjects=subjects, anchor=anchor, note="yes")
        answer = run.ask(do="submit", envelope=envelope, share=None)
        assert not answer["ok"]
        assert "other digests" in answer["error"]["found"]


def tallied(say: Say) -> None:
    said = json.loads(say("ada", "drill", "--json"))
    assert [drill["gate"] for drill in said["drills"]] == [1]
    ada, bob, everyone = said["people"]
    assert (ada["by"], ada["answered"], ada["found"], ada["gates"], ada["stops"]) == ("ada", 1, 1, 3, 1)
    assert (ada["drills"], everyone["drills"]) == (1, 2)
    assert (bob["answered"], bob["found"], bob["gates"], bob["stops"]) == (1, 0, 2, 0)
    assert (everyone["answered"], everyone["found"], everyone["gates"], everyone["stops"]) == (2, 1, 5, 1)
    assert ada["seconds"] > 0
    assert "gate 1: 13 passages" in say("ada", "drill")


def test_an_answer_that_was_not_put_on_record_is_not_asked_for_again(run: Live, say: Say) -> None:
    assert "nothing was signed" in say("ada", "object", "--dry-run")
    say("ada", "review")
    run.stop()
    assert "no supervisor" in say("ada", "close", "--yes", code=1)
    run.start()
    assert "the gate speaks" in say("ada", "review")
    said = json.loads(say("ada", "consent", "--yes", "--json"))
    assert said["drill"]["answer"] == "closed"
    assert run.entries()[-1]["event"] == "noted"
    assert "signed by bob" in say("bob", "adjust", "--set", "optim.lr=0.1", "--yes")  # he has not seen the drill
    assert run.entries()[-1]["event"] == "adjusted"


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
    assert drilled.take(room, run.sign("noted", "ada", status, note="no answer")) is None
    told = drilled.take(room, answers["objected"])
    assert told
    assert "You objected: found." in told["says"]
    assert drilled.owes(room, "ada") == told
    assert headlines(room, ada) == ["perhaps a drill", "the gate speaks"]

    run.say("noted", "ada", note=told["note"])
    room.index.update()
    assert drilled.owes(room, "ada") is None
    closes = run.sign("closed", "bob", status)
    assert drilled.take(room, closes) is None  # he has not seen the drill
    shown_to(room, Session("bob", "signatory"))
    closing = drilled.take(room, closes)
    assert closing
    assert "You closed: found." in closing["says"]


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
    key = (out / "key.json").read_text()
    for wrong in ("{}", "[", key.replace("0.2", "NaN"), key.replace("13", "1e999"), key.replace("abab", "x")):
        (out / "key.json").write_text(wrong)
        assert packet.find(tmp_path, dossier) is None
    (out / "key.json").write_text(key)
    (out / "packet" / "size" / "summary.json").unlink()
    assert packet.find(tmp_path, dossier) is None
