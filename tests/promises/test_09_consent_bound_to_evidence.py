"""Promise 9: consent is bound to evidence: one changed byte of checkpoint, dossier, charter or recipe voids it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.live import PYTHON, Live, audit
from tenth.encoding import canonical, decode, digest
from tenth.errors import BadStatement, BrokenPromise
from tenth.gate import statement

PROMISE = 9
STATUS = "kept"

PANEL = [("size", [PYTHON, "code/panel.py", "write"])]


def flip(path: Path) -> bytes:
    """Change one bit in the middle of a file, whatever its modes; returns what it held."""
    data = path.read_bytes()
    path.chmod(0o644)
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    return data


def restore(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def no_lease_follows(run: Live, leases: int) -> None:
    """The run halts, or refuses; in any case nothing is trained."""
    until = time.monotonic() + 5
    while time.monotonic() < until and run.alive and run.status()["stance"] == "GATE":
        time.sleep(0.01)
    if run.alive:
        assert run.status()["stance"] == "HALTED"
    assert run.events().count("leased") == leases
    assert run.marked() == []


ADJUSTED = {"recipe": {"optim.lr": 0.25}, "exclude": ["data/pro*"]}
THINGS = {
    "checkpoint": "checkpoints/01/state",
    "dossier": "gates/01.2/dossier.json",
    "evidence": "gates/01.2/evidence/size/summary.json",
    "charter": "charter.toml",
    "manifest": "manifest.json",
    "first recipe": "recipe.toml",
    "recipe in force": "recipe.2.toml",
    "first data": "data.phase0.jsonl",
    "data in force": "data.phase0.2.jsonl",
}


@pytest.mark.parametrize("before_consent", [True, False], ids=["before anyone consents", "before the last consents"])
@pytest.mark.parametrize("thing", THINGS)
def test_what_was_changed_since_the_seal_is_not_trained_on(
    live: Callable[..., Live], thing: str, before_consent: bool
) -> None:
    run = live(evidence=PANEL, env={"STEPS": 20}).start()
    run.run_to("GATE", gate=1)
    run.say("adjusted", "ada", patch=ADJUSTED)
    status = run.until("GATE", gate=1)
    path, leases = run.path / THINGS[thing], run.events().count("leased")
    envelopes = [run.sign("consented", name, status) for name in ("ada", "bob")]
    if not before_consent:
        assert run.submit(envelopes.pop(0))["ok"]
    data = flip(path)
    for envelope in envelopes:
        run.submit(envelope)
    no_lease_follows(run, leases)
    restore(path, data)
    run.run_to("GATE", gate=2)


def test_data_changed_between_gates_halts_the_run(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 20}).start()
    for number, change in enumerate(
        (
            lambda: (run.root / "data" / "poem.txt").write_text("a rose is a nose\n"),
            lambda: (run.root / "data" / "new.txt").write_text("x"),
            lambda: (run.root / "data" / "prose.txt").unlink(),
        )
    ):
        run.run_to("GATE", gate=number)
        run.consent()
        keep = {path: path.read_text() for path in (run.root / "data").iterdir()}
        change()
        run.until("HALTED", gate=number + 1)
        assert run.last("tripped")["reason"] == "data"
        assert any(name in run.last("tripped")["detail"] for name in ("poem", "new", "prose"))
        shutil.rmtree(run.root / "data")
        (run.root / "data").mkdir()
        for path, text in keep.items():
            path.write_text(text)
    run.run_to("GATE", gate=4)


def test_code_that_changed_after_it_was_agreed_on_does_not_train(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 20}, code=["code"]).start()
    run.run_to("GATE", gate=1)
    (run.root / "code" / "steady.py").write_text((run.root / "code" / "steady.py").read_text() + "# one line more\n")
    run.consent()
    run.until("HALTED", gate=1)
    assert (run.last("tripped")["reason"], run.events().count("leased")) == ("data", 1)
    assert "the code 'code' was changed" in run.last("tripped")["detail"]


@pytest.mark.parametrize("name", ["charter.toml", "recipe.toml"])
def test_a_charter_edited_after_signing_is_refused(live: Callable[..., Live], name: str) -> None:
    """In the run directory it breaks the run; beside the data it changes nothing, since the run has its own copy."""
    run = live().start()
    run.until("GATE", gate=0)
    run.consent("ada")
    run.stop()
    (run.root / name).write_text("nonsense")
    data = flip(run.path / name)
    run.start(answer=False)
    assert run.ended() == 5
    assert name in run.said() or "charter" in run.said()
    restore(run.path / name, data)
    run.start()
    assert run.status()["consents"] == ["ada"]
    run.consent("bob")
    run.until("GATE", gate=1)


def test_a_consent_covers_every_digest_of_its_dossier(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 20}).start()
    run.run_to("GATE", gate=1)
    status, dossier = run.status(), run.dossier()
    subjects = list(statement.subjects_of(status["dossier"], dossier))
    assert [name for name, _ in subjects] == ["dossier", "charter", "recipe", "data", "manifest", "checkpoint"]
    for at, (name, _) in enumerate(subjects):
        for wrong in (
            [*subjects[:at], (name, "ab" * 32), *subjects[at + 1 :]],
            subjects[:at] + subjects[at + 1 :],
            [*subjects[:at], ("other", subjects[at][1]), *subjects[at + 1 :]],
            [*subjects, subjects[at]],
        ):
            answer = run.submit(run.sign("consented", "ada", status, subjects=wrong))
            assert not answer["ok"]
    assert not run.submit(run.sign("consented", "ada", status, subjects=subjects[::-1]))["ok"]
    run.consent()
    run.until("GATE", gate=2)


def test_a_consent_to_another_dossier_is_refused(live: Callable[..., Live]) -> None:
    """Of the last gate, of this gate before an adjustment, of another run with the same people."""
    run = live(env={"STEPS": 20}).start()
    run.until("GATE", gate=0)
    old = [(run.status(), run.dossier())]
    run.consent()
    run.until("GATE", gate=1)
    old.append((run.status(), run.dossier()))
    run.say("adjusted", "bob", patch={"exclude": ["data/prose.txt"]})
    now = run.until("GATE", gate=1)
    for status, dossier in old:
        mixed = statement.subjects_of(now["dossier"], dossier)
        for envelope in (
            run.sign("consented", "ada", status),
            run.sign("consented", "ada", {**now, "anchor": status["anchor"]}),
            run.sign("consented", "ada", {**status, "anchor": now["anchor"]}),
            run.sign("consented", "ada", now, subjects=mixed),
            run.sign("consented", "ada", now, run="live-00000000"),
        ):
            assert not run.submit(envelope)["ok"]
    assert run.status()["consents"] == []


def test_an_adjustment_reopening_or_closing_is_bound_to_its_moment(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 20}).start()
    gate = run.until("GATE", gate=0)
    early = {
        "adjusted": run.sign("adjusted", "ada", gate, patch={"recipe": {"depth": 9}}),
        "closed": run.sign("closed", "ada", gate),
        "reopened": run.sign("reopened", "ada", gate),
    }
    run.pull()
    halted = run.status()
    for envelope in early.values():
        assert not run.submit(envelope)["ok"]
    again = run.sign("reopened", "ada", halted)
    run.pull()
    assert run.submit(again)["ok"], "a second pull leaves the moment alone"
    assert not run.submit(again)["ok"], "but a word counts once"
    run.until("GATE", gate=0)
    for envelope in (*early.values(), again):
        assert not run.submit(envelope)["ok"]
    assert "closed" not in run.events()


def test_the_law_of_statements_is_not_read_from_the_wire(live: Callable[..., Live]) -> None:
    """A consent can only be submitted as what it was signed as."""
    run = live().start()
    status = run.until("GATE", gate=0)
    envelope = run.sign("objected", "ada", status)
    for disguise in ({"event": "consented"}, {"as": "consented"}):
        run.ask(do="submit", envelope=envelope, **disguise)
    assert run.status()["objections"] == ["ada"]
    assert run.status()["consents"] == []


def test_a_log_with_a_consent_to_other_bytes_does_not_verify(live: Callable[..., Live]) -> None:
    """Even the holder of the log key cannot pass one dossier's consent off as another's: the auditor opens both."""
    run = live(env={"STEPS": 20}).start()
    run.run_to("GATE", gate=1)
    run.stop()
    run.tampered = True
    sealed = run.last("sealed")
    path = run.path / sealed["path"] / "dossier.json"
    dossier = decode(path.read_bytes())
    dossier["claims"] = {**dossier["claims"], "loss": 0.001}
    path.write_bytes(canonical(dossier))
    said = audit(run.path)
    assert isinstance(said, BrokenPromise)
    assert said.promise == 9
    assert digest(path.read_bytes()) != sealed["dossier"]


def test_a_signature_is_over_every_byte_that_people_read(live: Callable[..., Live]) -> None:
    run = live().start()
    status = run.until("GATE", gate=0)
    envelope = run.sign("consented", "ada", status, note="yes")
    charter = opened_charter(run)
    assert statement.read(json.loads(json.dumps(envelope)), charter).note == "yes"
    body = json.loads(__import__("base64").b64decode(envelope["payload"]))
    body["predicate"]["note"] = "no!"
    forged = {**envelope, "payload": __import__("base64").b64encode(canonical(body)).decode()}
    with pytest.raises(BadStatement):
        statement.read(forged, charter)
    assert not run.submit(forged)["ok"]


def opened_charter(run: Live):  # type: ignore[no-untyped-def]
    assert run.begun is not None
    return run.begun.charter()


def test_a_surprised_gate_asks_for_words(live: Callable[..., Live]) -> None:
    """What nobody foresaw is not consented to without a note; an objection needs none."""
    run = live(evidence=[("forecast", [PYTHON, "code/panel.py", "surprise"])], env={"STEPS": 20}).start()
    run.run_to("GATE", gate=1)
    assert run.dossier()["evidence"][0]["surprised"] is True
    for note in ("", " \n"):
        refused = run.submit(run.sign("consented", "ada", run.status(), note=note))
        assert not refused["ok"]
        assert "surprised" in refused["error"]["found"]
    run.say("objected", "bob")
    for name in ("ada", "bob"):
        run.say("consented", name, note="the rate was doubled, and that is what it does")
    run.until("RUNNING")
    run.tampered = True
    file = run.path / "gates/01/evidence/forecast/summary.json"
    file.chmod(0o644)
    file.write_text('{"surprised": false}')
    found = run.audit()
    assert isinstance(found, BrokenPromise)
    assert found.promise == 9


def test_a_note_is_signed_and_changes_nothing(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 2000, "PAUSE": 0.02}).start()
    run.until("GATE")
    run.say("noted", "ada", note="at the gate")
    run.consent()
    status = run.until("RUNNING")
    run.say("noted", "bob", note="while it trains")
    refused = run.submit(run.sign("noted", "lin", status, note="a watcher is no signatory"))
    assert not refused["ok"]
    assert run.status()["stance"] == "RUNNING"
    run.pull()
    assert not run.submit(run.sign("noted", "bob", status, note="of another moment"))["ok"]
    run.say("noted", "bob", note="after the pull")
    assert run.until("HALTED")["gate"] == 0
    assert run.events().count("noted") == 3
