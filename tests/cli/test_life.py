"""The whole life of a run through the command line, with a real supervisor and the steady trainer."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from cli.conftest import Shell, write_project


def consent_all(shell: Shell) -> None:
    for name in ("ada", "bob"):
        shell.ok("consent", "--as", name, "--yes")


def test_from_key_to_release(shell: Shell) -> None:
    """Ten tenths, a pull in the middle, an adjustment, a release; then verify, export, and a swapped byte."""
    write_project(shell, steps=400, pause=0.01)
    checked = shell.ok("check").out
    assert "✓" in checked
    assert "must all consent to each tenth: ada and bob" in checked
    assert "11 in all" in checked
    begun = shell.begin()
    assert shell("status").code == 3
    consent_all(shell)
    shell.training()
    pulled = shell.ok("pull", "--json", "--name", "lin").json
    assert pulled["stopped"]
    assert not pulled["killed"]
    assert pulled["processes"] >= 1
    status = shell("status", "--json")
    assert status.code == 4
    assert status.json["stance"] == "HALTED"
    assert status.json["frozen"]
    assert "because      lin pulled the cord" in shell("status").out
    shell.ok("reopen", "--as", "bob", "--yes", "--note", "it was nothing")
    shell.stance("GATE")
    review = shell.ok("review").out
    assert "lin pulled the cord" in review
    assert "thawing the frozen trainer" in review
    consent_all(shell)
    for gate in range(1, 10):
        shell.stance("GATE", gate)
        if gate == 2:
            done = shell.ok(
                "adjust", "--as", "ada", "--yes", "--set", "optim.learning_rate=1e-4", "--exclude", "data/b.*"
            )
            assert "learning_rate" in done.out
            shell.until(lambda status: status["stance"] == "GATE" and not status["consents"])
        consent_all(shell)
    shell.stance("GATE", 10)
    assert "release the model" in shell.ok("review").out
    consent_all(shell)
    status = shell.stance("CLOSED")
    assert status["gate"] == 10

    report = shell.ok("verify", "--json").json
    assert report["verifies"]
    assert report["stance"] == "CLOSED"
    assert "verifies" in shell.ok("verify", begun["run"]).out
    export(shell, begun["run"], report["head"])
    generate(shell, Path(begun["path"]))

    state = Path(begun["path"]) / "checkpoints" / "07" / "state"
    state.chmod(0o644)
    state.write_text(state.read_text()[::-1])
    broken = shell("verify", "--json")
    assert broken.code == 5
    assert broken.json["error"]["promise"] == 9
    assert "promise 9 is broken" in shell("verify").err


def export(shell: Shell, run: str, head: str) -> None:
    packed = shell.ok("export", "-o", "pack.tar.gz", "--json").json
    assert packed["head"] == head
    with tarfile.open(shell.folder / "pack.tar.gz") as pack:
        pack.extractall(shell.folder / "elsewhere", filter="data")
    files = {path.name for path in (shell.folder / "elsewhere").rglob("*")}
    assert "README.txt" in files
    assert not {"supervisor.key", "control.sock", "work"} & files
    assert head in (shell.folder / "elsewhere" / run / "README.txt").read_text()
    assert shell.ok("verify", f"elsewhere/{run}", "--json").json["head"] == head
    assert shell("export", "-o", "pack.tar.gz").code == 1
    assert "choose another name" in shell("export", "-o", "pack.tar.gz").err


def generate(shell: Shell, run: Path) -> None:
    """The steady trainer's checkpoint is known to the log, and is no model."""
    assert shell("generate").code == 1
    assert "there is no checkpoint of gate 11" in shell("generate", "--gate", "11").err
    stranger = shell.folder / "stranger"
    stranger.mkdir()
    assert "neither a checkpoint of a run nor a folder in Hugging Face's layout" in shell("generate", stranger).err


def test_a_colleague_signs_on_another_machine(shell: Shell, tmp_path: Path) -> None:
    """review --export, consent --offline, consent --import: bob's key never comes near the run."""
    write_project(shell, watchers=())
    (tmp_path / "away").mkdir()
    (tmp_path / "away-home" / "tenth" / "keys").mkdir(parents=True)
    away = Shell(tmp_path / "away", tmp_path / "away-home")
    for name in ("bob", "bob.pub"):
        os.rename(shell.home / "tenth" / "keys" / name, away.home / "tenth" / "keys" / name)
    begun = shell.begin()
    assert "ada consents" in shell.ok("consent", "--yes").out  # the only key that lies here
    pack = shell.ok("review", "--export", "pack.zip", "--json").json
    os.rename(shell.folder / "pack.zip", away.folder / "pack.zip")

    seen = away.ok("review", "pack.zip").out
    assert "checked:" in seen
    assert "✓ ada consents" in seen
    assert pack["head"]
    done = away.ok("consent", "--offline", "pack.zip", "-o", "consent.json", "--yes", "--note", "from afar")
    assert "tenth consent --import consent.json" in done.out
    assert away("object", "--offline", "pack.zip", "--yes").code == 2  # -o is missing

    os.rename(away.folder / "consent.json", shell.folder / "consent.json")
    assert "use the verb that fits it" in shell("object", "--import", "consent.json").err
    assert shell.ok("consent", "--import", "consent.json", "--json").json["signatory"] == "bob"
    shell.stance("GATE", 1)
    again = shell("consent", "--import", "consent.json")
    assert again.code == 1
    assert "it covers other digests than the dossier's" in again.err
    assert shell.ok("close", "--yes", "--json").json["status"]["stance"] == "CLOSED"
    assert shell.ok("verify", begun["run"][:8]).code == 0


def test_a_pack_that_was_tampered_with_is_not_signed(shell: Shell) -> None:
    write_project(shell, watchers=())
    shell.begin()
    consent_all(shell)
    shell.stance("GATE", 1)
    shell.ok("review", "--export", "good.zip")
    for name, hint in (
        ("evidence/size/summary.json", "evidence"),
        ("dossier.json", "dossier"),
        ("recipe.toml", "recipe"),
    ):
        with zipfile.ZipFile(shell.folder / "good.zip") as good, zipfile.ZipFile(shell.folder / "bad.zip", "w") as bad:
            for info in good.infolist():
                data = good.read(info)
                changed = info.filename.endswith(name) and "gates/00" not in info.filename
                bad.writestr(info.filename, data.replace(b"0", b"1").replace(b"file", b"lies") if changed else data)
        done = shell("consent", "--offline", "bad.zip", "-o", "x.json", "--as", "ada", "--yes")
        assert done.code == 5, (name, done)
        assert hint in done.err
        assert not (shell.folder / "x.json").exists()
    with zipfile.ZipFile(shell.folder / "evil.zip", "w") as evil:
        evil.writestr("run/../../escaped", "x")
    assert shell("review", "evil.zip").code == 1
    assert not (shell.folder.parent / "escaped").exists()


def test_objection_adjustment_and_what_is_refused_meanwhile(shell: Shell) -> None:
    write_project(shell, steps=10_000, pause=0.02)
    shell.begin()
    done = shell.ok("object", "--as", "ada", "--yes", "--note", "the data looks odd \x1b[31m")
    assert "objected: ada" in done.out or "waiting" in done.out
    shell.ok("consent", "--as", "bob", "--yes")
    assert shell.status()["objections"] == ["ada"]
    assert "the data looks odd \\x1b[31m" in shell.ok("review").out
    assert "ada objects" in shell.ok("review").out
    dropped = shell.ok("adjust", "--as", "ada", "--yes", "--drop-evidence", "size", "--json").json
    assert dropped["event"] == "adjusted"
    shell.until(lambda status: status["stance"] == "GATE" and not status["objections"])
    consent_all(shell)
    shell.training()
    for verb in ("consent", "object", "reopen", "close"):
        refused = shell(verb, "--as", "ada", "--yes")
        assert refused.code == 1, verb
        assert "RUNNING" in refused.err
    shell.ok("pull")
    assert shell.ok("adjust", "--as", "bob", "--yes", "--set", "optim.learning_rate=2e-4").code == 0
    status = shell.until(lambda status: status["stance"] == "GATE")
    assert not status["frozen"]
    assert shell.ok("close", "--as", "bob", "--yes").code == 0


def test_dry_runs_change_nothing(shell: Shell) -> None:
    write_project(shell)
    assert "would open" in shell.ok("run", "charter.toml", "--dry-run").out
    assert not (shell.folder / "runs").exists()
    shell.begin()
    before = shell.status()["entries"]
    for words in (("consent",), ("object",), ("adjust", "--set", "optim.learning_rate=1"), ("close",)):
        done = shell.ok(*words, "--as", "ada", "--dry-run")
        assert "nothing was signed" in done.out
        assert json.loads(shell.ok(*words, "--as", "ada", "--dry-run", "--json").out)["signatory"] == "ada"
    assert "would write" in shell.ok("export", "-o", "x.zip", "--dry-run").out
    assert not (shell.folder / "x.zip").exists()
    assert "would go on" in shell.ok("run", "tiny", "--dry-run").out
    assert "would make" in shell.ok("key", "new", "eve", "--dry-run").out
    assert shell.status()["entries"] == before


def test_to_the_gate_and_back(shell: Shell) -> None:
    """run --exit-at-gate ends with 3, then goes on from its directory; a halt ends with 4."""
    write_project(shell)
    first = shell("run", "charter.toml", "--exit-at-gate")
    assert first.code == 3, first
    assert shell("status").code == 3
    assert shell("consent", "--as", "ada", "--yes").code == 1  # nobody holds it
    assert "tenth run" in shell("consent", "--as", "ada", "--yes").err
    again = shell.ok("run", "tiny", "--detach", "--json").json
    consent_all(shell)
    shell.stance("GATE", 1)
    twice = shell("run", again["path"])
    assert twice.code == 1
    assert "has a supervisor already" in twice.err


def test_what_the_model_wrote_cannot_attack_its_reader(shell: Shell) -> None:
    """Promise 10: samples and evidence with escapes, read in a terminal's place."""
    write_project(shell)
    shell.begin()
    consent_all(shell)
    shell.stance("GATE", 1)
    for done in (shell.ok("review"), shell.ok("review", "--json"), shell("status"), shell.ok("verify")):
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
        assert "\x07" not in done.out
    assert "\\x1b[31mone file" in shell.ok("review").out
    assert "\\x1b[31mpass" in shell.ok("review").out


@pytest.mark.parametrize("verb", ["status", "review", "verify"])
def test_a_run_without_a_supervisor_can_be_read(shell: Shell, verb: str) -> None:
    write_project(shell)
    assert shell("run", "charter.toml", "--exit-at-gate", "--json").code == 3
    done = shell(verb, "--json")
    assert done.code == (3 if verb == "status" else 0)
    assert done.json["stance"] == "GATE"
