"""What the command line says: help, usage errors, exit codes, keys, init, check, completion, which run."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.conftest import Shell, write_project
from tenth import keyfile
from tenth.cli.begin.beginning import PURPOSE
from tenth.cli.gate.changing import _still_readable
from tenth.cli.verbs import VERBS
from tenth.errors import WrongInput
from tenth.keys import SigningKey


def test_help_names_every_verb(shell: Shell) -> None:
    usage = shell.ok("--help").out
    for verb in VERBS:
        assert f"  {verb} " in usage
    assert shell("--version").out.startswith("tenth ")


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_has_json_and_writers_have_dry_run(shell: Shell, verb: str) -> None:
    below = {"key": ["new"], "witness": ["ask"], "feedback": ["seal"]}.get(verb, [])
    usage = shell.ok(verb, *below, "--help").out
    assert "--json" in usage
    writers = {"key", "init", "run", "consent", "object", "adjust", "reopen", "close", "export", "demo"}
    writers |= {"convert", "data", "unseal", "witness", "note", "forecast", "feedback"}
    assert ("--dry-run" in usage) is (verb in writers)


@pytest.mark.parametrize(
    ("words", "found", "hint"),
    [
        (("rnu",), "there is no verb 'rnu'", "did you mean 'run'?"),
        (("xyzzy",), "there is no verb 'xyzzy'", "'tenth --help'"),
        (("status", "--jsno"), "has no option --jsno", "did you mean --json?"),
        (("key", "nwe"), "has no verb 'nwe'", "did you mean 'new'?"),
        (("adjust",), "there is nothing to adjust", "--help"),
        (("adjust", "--set", "lr"), "write KEY=VALUE", "--help"),
        (("export",), "--output", "--help"),
    ],
)
def test_wrong_usage_names_the_nearest(shell: Shell, words: tuple[str, ...], found: str, hint: str) -> None:
    done = shell(*words)
    assert done.code == 2
    assert done.out == ""
    refused, what, do = done.err.splitlines()
    assert refused.startswith("refused:")
    assert found in what
    assert hint in do
    if "--jsno" not in words:
        error = json.loads(shell(*words, "--json").out)["error"]
        assert set(error) == {"refused", "found", "do"}


def test_errors_are_in_three_parts(shell: Shell) -> None:
    done = shell("status")
    assert done.code == 1
    assert [line.partition(":")[0] for line in done.err.splitlines()] == ["refused", "found", "do next"]
    assert set(shell("review", "--json").json["error"]) == {"refused", "found", "do"}


# --- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_made_shown_and_never_overwritten(shell: Shell) -> None:
    made = shell.ok("key", "new", "ada", "--json").json
    folder = shell.home / "tenth" / "keys"
    assert made["path"] == str(folder / "ada")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "ada").stat().st_mode) == 0o600
    assert made["public"] in shell.ok("key", "show").out
    assert shell.ok("key", "show", "ada", "--json").json == made
    assert shell.ok("key", "list", "--json").json["keys"] == [made]
    again = shell("key", "new", "ada")
    assert again.code == 1
    assert "never overwritten" in again.err
    bad = shell("key", "new", "Ada Lovelace")
    assert bad.code == 1
    assert "'adalovelace'" in bad.err


def test_ssh_keys_and_passphrases(shell: Shell) -> None:
    """A locked SSH key signs with --key and --passphrase-file; without a terminal nothing else is asked."""
    (shell.home / ".ssh").mkdir()
    key = SigningKey.generate()
    keyfile.save(key, shell.home / ".ssh" / "id_ed25519", "tess@example.org", b"open sesame")
    (shell.folder / "words").write_text("open sesame\n")
    assert shell.ok("key", "list", "--json").json["keys"][0]["public"] == key.public.line
    write_project(shell, watchers=())
    text = (shell.folder / "charter.toml").read_text()
    (shell.folder / "charter.toml").write_text(f'{text}\n[[signatory]]\nname = "tess"\nkey = "{key.public.line}"\n')
    shell.begin()
    locked = shell("consent", "--as", "tess", "--yes")
    assert locked.code == 1
    assert "--passphrase-file" in locked.err
    done = shell.ok("consent", "--key", "../home/.ssh/id_ed25519", "--passphrase-file", "words", "--yes")
    assert "signed by tess" in done.out
    assert shell.status()["consents"] == ["tess"]


def test_who_signs(shell: Shell) -> None:
    write_project(shell)
    shell.begin()
    unclear = shell("consent", "--yes")
    assert unclear.code == 1
    assert "--as NAME" in unclear.err
    stranger = shell("consent", "--as", "mallory", "--yes")
    assert "the charter lists nobody of that name" in stranger.err
    watcher = shell("consent", "--as", "lin", "--yes")
    assert watcher.code == 1
    silent = shell("consent", "--as", "ada")
    assert silent.code == 1
    assert "there is no terminal to ask on" in silent.err
    shutil.rmtree(shell.home / "tenth")
    assert "nobody here can sign" in shell("consent", "--yes").err


# --- init and check --------------------------------------------------------------------------------------------------


def test_init_writes_what_check_reads(shell: Shell) -> None:
    empty = shell("init")
    assert empty.code == 1
    assert "no files to train on" in empty.err
    (shell.folder / "essays").mkdir()
    (shell.folder / "essays" / "one.txt").write_text("To be.")
    (shell.folder / "runs").mkdir()
    assert shell("init", "--dry-run").out.startswith("# The charter")
    assert not (shell.folder / "charter.toml").exists()
    shell.ok("key", "new", "ada")
    assert shell.ok("init", "--json").json["data"] == ["essays"]
    refused = shell("check")
    assert refused.code == 1
    assert "purpose" in refused.err
    assert shell("run", "charter.toml").code == 1
    text = (shell.folder / "charter.toml").read_text()
    (shell.folder / "charter.toml").write_text(text.replace(PURPOSE, "Essays."))
    checked = shell.ok("check", "--json").json
    assert checked["signatories"] == ["ada"]
    assert checked["data"] == [{"phase": "pretrain", "files": 1, "bytes": 6}]
    assert checked["gates"] == 10
    again = shell("init")
    assert again.code == 1
    assert "exists" in again.err
    assert shell("init", "nowhere").code == 1


def test_init_without_a_key_says_so(shell: Shell) -> None:
    (shell.folder / "a.py").write_text("x = 1")
    assert "tenth key new NAME" in shell.ok("init", "--purpose", "Code.").out
    assert "there is no [[signatory]]" in shell("check").err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "tiny"', 'nmae = "tiny"', "did you mean 'name'?"),
        ('data = ["data"]', 'data = ["dat"]', "does not exist"),
        ('[quarantine]\nlevel = "none"', '[quarantine]\nlevel = "high"', "one of 'none', 'partial', 'full'"),
        ("flop = 1e15", "flop = -1", "a number above 0"),
        ("evidence.py", "evidence.py", ""),
    ],
)
def test_check_lints(shell: Shell, old: str, new: str, said: str) -> None:
    write_project(shell)
    path = shell.folder / "charter.toml"
    path.write_text(path.read_text().replace(old, new))
    done = shell("check")
    assert done.code == (1 if said else 0), done
    assert said in done.err


def test_check_refuses_what_cannot_start(shell: Shell) -> None:
    write_project(shell)
    path = shell.folder / "charter.toml"
    size = 'name = "size"\ncommand = ["'
    path.write_text(path.read_text().replace(size, size + 'no-such-program", "'))
    done = shell("check")
    assert done.code == 1
    assert "evidence 'size' cannot start" in done.err
    (shell.folder / "recipe.toml").unlink()
    assert "the recipe recipe.toml is not beside it" in shell("check").err


@pytest.mark.parametrize(
    ("verb", "recipe", "said"),
    [
        ("pretrain", "[optim]\nlearning_rate = 0.1\n", "optim.learning_rate"),
        ("pretrain", "[model]\ndepth = 2\n", ""),
        ("dpo", "[model\n", "the recipe recipe.toml of phase"),
        ("selfplay", '[selfplay]\nenv = "puzzles"\n', "write 'jail = 1' in [quarantine]"),
    ],
)
def test_check_reads_the_recipes_of_our_own_trainer(shell: Shell, verb: str, recipe: str, said: str) -> None:
    """What its first tenth would refuse is refused before anyone has consented to anything."""
    write_project(shell)
    (shell.folder / "recipe.toml").write_text(recipe)
    path = shell.folder / "charter.toml"
    command = re.compile(r"(?m)^command = .*steady\.py.*$")
    text = command.sub(f'command = ["tenth-trainer", "{verb}", "recipe.toml"]', path.read_text())
    assert "tenth-trainer" in text
    path.write_text(text)
    done = shell("check")
    assert done.code == (1 if said else 0), done
    assert said in done.err


@pytest.mark.parametrize(
    ("command", "settings", "said"),
    [
        (["tenth-trainer", "dpo", "r.toml"], {"optim.scale": "much"}, "optim.scale"),
        (["tenth-trainer", "dpo", "r.toml"], {"train.batch": -1}, "train.batch"),
        (["tenth-trainer", "dpo", "r.toml"], {"optim.scale": 0.5}, ""),
        (["python", "mine.py"], {"optim.scale": "much"}, ""),
    ],
)
def test_an_adjustment_that_our_own_trainer_would_refuse_is_refused(
    tmp_path: Path, command: list[str], settings: dict[str, Any], said: str
) -> None:
    (tmp_path / "recipe.toml").write_text("[optim]\nscale = 1.0\n")
    phase = SimpleNamespace(name="p", command=command)
    history = SimpleNamespace(recipe_file=lambda: "recipe.toml", tenth=SimpleNamespace(phase=phase))
    found: Any = SimpleNamespace(path=tmp_path, history=history)
    if not said:
        _still_readable(found, {"recipe": settings})
        return
    with pytest.raises(WrongInput, match=said):
        _still_readable(found, {"recipe": settings})


# --- which run, completion -------------------------------------------------------------------------------------------


def test_a_run_is_named_by_path_name_or_beginning(shell: Shell) -> None:
    write_project(shell)
    for _ in range(2):
        assert shell("run", "charter.toml", "--exit-at-gate").code == 3
    first, second = sorted(path.name for path in (shell.folder / "runs").iterdir())
    chosen = shell("status")
    assert "the newest, of 2" in chosen.err
    assert shell("status", "--json").err == ""
    several = shell("status", "tiny")
    assert several.code == 1
    assert "could be several runs" in several.err
    assert shell("status", first, "--json").json["run"] == first
    assert shell("status", f"./runs/{second}", "--json").json["run"] == second
    assert shell("status", second[:-1], "--json").json["run"] == second
    shell.folder = shell.folder / "runs" / first
    assert shell("status", "--json").json["run"] == first


def test_adjusting_an_unknown_key_is_refused(shell: Shell) -> None:
    """A key once set cannot be taken out of a recipe again: a typing error must not end a run."""
    write_project(shell)
    shell.begin()
    refused = shell("adjust", "--as", "ada", "--yes", "--set", "optim.learnin_rate=1")
    assert refused.code == 1
    assert "optim.learning_rate" in refused.err
    assert shell.ok("adjust", "--as", "ada", "--dry-run", "--set", "optim.clip=0.5").code == 0
    assert shell.ok("adjust", "--as", "ada", "--dry-run", "--new-key", "--set", "mine.own=1").code == 0
    assert "there is no evidence 'sizes'" in shell("adjust", "--as", "ada", "--yes", "--drop-evidence", "sizes").err


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: Shell, name: str) -> None:
    assert "_TENTH_COMPLETE" in shell.ok("completion", name).out


def test_completion_knows_verbs_and_runs(shell: Shell) -> None:
    write_project(shell)
    run = Path(shell.begin()["path"]).name
    complete(shell, "tenth con", "consent")
    complete(shell, "tenth pull ti", run)
    complete(shell, "tenth status --j", "--json")


def complete(shell: Shell, line: str, wanted: str) -> None:
    import subprocess

    from cli.conftest import TENTH

    words = {"_TENTH_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    done = subprocess.run(
        [TENTH], cwd=shell.folder, env={**shell.environment, **words}, capture_output=True, text=True, check=False
    )
    assert wanted in done.stdout, (line, done)


def test_a_closed_pipe_is_no_traceback(shell: Shell) -> None:
    import subprocess

    from cli.conftest import TENTH

    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [TENTH, "--help"], stdout=write, stderr=subprocess.PIPE, env=shell.environment, text=True, check=False
    )
    os.close(write)
    assert "Traceback" not in done.stderr
