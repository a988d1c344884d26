"""Sealed checkpoints from the command line: a consent brings its share, from here and from elsewhere; unseal."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cli.conftest import Shell, make_key, write_project
from tenth.gate.sealing import finish, folder_digest


def seal(shell: Shell, escrow: str = "") -> None:
    charter = shell.folder / "charter.toml"
    lines = f"\n[seal]\ncheckpoints = true\n{escrow and f'escrow = {escrow!r}'}\n"
    charter.write_text(charter.read_text().replace("\n[quarantine]", lines + "\n[quarantine]"))


def test_a_sealed_run_with_a_signatory_elsewhere(shell: Shell, tmp_path: Path) -> None:
    write_project(shell, watchers=())
    seal(shell)
    assert "there is no escrow" in shell.ok("check").out
    (tmp_path / "away").mkdir()
    (tmp_path / "away-home" / "tenth" / "keys").mkdir(parents=True)
    away = Shell(tmp_path / "away", tmp_path / "away-home")
    begun = shell.begin()
    for who in ("ada", "bob"):
        shell.ok("consent", "--as", who, "--yes")
    shell.stance("GATE", 1)
    for name in ("bob", "bob.pub"):
        os.rename(shell.home / "tenth" / "keys" / name, away.home / "tenth" / "keys" / name)
    assert "opens with every signatory's share" in shell("generate").err

    shell.ok("review", "--export", "pack.zip")
    os.rename(shell.folder / "pack.zip", away.folder / "pack.zip")
    away.ok("consent", "--offline", "pack.zip", "-o", "bob.json", "--yes")
    os.rename(away.folder / "bob.json", shell.folder / "bob.json")
    whole = json.loads((shell.folder / "bob.json").read_text())
    (shell.folder / "bare.json").write_text(json.dumps({name: whole[name] for name in whole if name != "share"}))
    assert "share" in shell("consent", "--import", "bare.json").err
    shell.ok("consent", "--import", "bob.json")
    shell.ok("consent", "--yes")
    shell.stance("GATE", 2)
    assert shell.ok("verify", begun["run"], "--json").json["verifies"]
    assert (shell.folder / "bob.json").read_text().find('"share"') > 0
    log = (Path(begun["path"]) / "log" / "entries.jsonl").read_text()
    assert "share" not in log


def test_unseal_opens_with_everyones_keys_or_the_escrow_key(shell: Shell) -> None:
    write_project(shell, watchers=())
    seal(shell, make_key(shell, "vault"))
    assert "the escrow key opens them alone" in shell.ok("check").out
    begun = shell.begin()
    for who in ("ada", "bob"):
        shell.ok("consent", "--as", who, "--yes")
    shell.stance("GATE", 1)
    keys = shell.home / "tenth" / "keys"
    refused = shell("unseal", "--key", keys / "ada", "--to", "one")
    assert refused.code == 1
    assert "missing: bob" in refused.err
    shell.ok("unseal", "--key", keys / "ada", "--key", keys / "bob", "--to", "both", "--dry-run")
    assert not (shell.folder / "both").exists()
    record = shell.ok("unseal", "--key", keys / "ada", "--key", keys / "bob", "--to", "both", "--json").json[
        "checkpoint"
    ]
    shell.ok("unseal", "--key", keys / "vault", "--to", "alone")
    for name in ("both", "alone"):
        assert finish(folder_digest(shell.folder / name)) == record["digest"]
    assert "there are [1]" in shell("unseal", "--gate", "3", "--key", keys / "vault", "--to", "three").err
    assert "another" not in shell.ok("verify", begun["run"]).out


def test_an_escrow_key_is_nobodys_own(shell: Shell) -> None:
    write_project(shell, watchers=())
    line = next(line for line in (shell.folder / "charter.toml").read_text().splitlines() if line.startswith("key = "))
    seal(shell, line.split('"')[1])
    assert "have the same key" in shell("check").err
