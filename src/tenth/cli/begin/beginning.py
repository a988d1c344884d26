"""``init``: write a commented charter and recipe into a folder of text or code. Nothing is ever overwritten."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tenth import peak
from tenth.charter import NAME
from tenth.cli.begin import sizes
from tenth.cli.options import FOLDER, dry_run_option, json_option
from tenth.cli.outcome import emit
from tenth.cli.people import KeyFile, keys_here
from tenth.errors import WrongInput

PURPOSE = "Say here what this model is for, and what it is not for."
"""What ``check`` and ``run`` refuse until it is edited."""

TEMPLATE = """\
# The charter: what the signatories agree on. They sign it with every consent, byte for byte.
# docs/charter.md explains every key; 'tenth check' says what it means on this machine.

[run]
name = {name}
purpose = {purpose}

# Phases are trained in order; each epoch of each has ten gates.
# Any program that takes part through tenth.attach() can be the command.
[[phase]]
name = "pretrain"
command = ["tenth-trainer", "pretrain", "recipe.toml"]
data = {data}    # each document's digest is pinned when the run begins
epochs = 1

# The most compute the whole run may use, evidence included. It cannot be raised afterwards.
[ceiling]
device_seconds = {seconds}     # of one core, or of one accelerator, measured from outside: ten core-hours
flop = {flop}              # at most: device-seconds times the measured peak of a device, {how} here

# The least protection that is accepted: "full" needs bubblewrap, "partial" needs no package.
[quarantine]
level = {level}

# Between gates, checkpoints can lie encrypted; every signatory has a share of the key, which comes with a consent.
# [seal]
# checkpoints = true

[watch]
samples_per_minute = 12
unwatched = "go"           # "wait" freezes the run while nobody watches
# alarms = ["loss"]        # reports whose alarms pull the cord; see tenth alarms
prompts = {prompts}

# Each writes one part of the dossier that is laid before you at every gate.
[[evidence]]
name = "bits-per-byte"
command = ["tenth-evidence", "bpb"]

[[evidence]]
name = "completions"
command = ["tenth-evidence", "completions"]

# What changed since the last approved checkpoint, and why; what it can do now; and what is different about the run.
# The first two take some seconds a gate each (docs/evidence.md).
# [[evidence]]
# name = "diff"
# command = ["tenth-evidence", "diff"]
# [[evidence]]
# name = "capabilities"
# command = ["tenth-evidence", "capabilities"]
# [[evidence]]
# name = "changes"
# command = ["tenth-evidence", "changes"]

# Samples of the stream, drawn at random for you to judge with tenth audit; and what each gate was foretold to show.
# [[evidence]]
# name = "stream"
# command = ["tenth-evidence", "stream"]
# [[evidence]]
# name = "forecast"
# command = ["tenth-evidence", "forecast"]

# The people. Only all signatories together can start a tenth; any one of them, and any watcher, can stop it.
{people}
# [[watcher]]
# name = "lin"
# key = "ssh-ed25519 AAAA..."

# Who keeps the heads of the log on a machine of their own, so that nobody can rewrite it unseen: docs/witnesses.md
# [[witness]]
# name = "wim"
# key = "ssh-ed25519 AAAA..."
"""
SECONDS = 36_000
NOBODY = """\
# No key was found here. Make one with 'tenth key new NAME', and put everyone's public line in place of this:
# [[signatory]]
# name = "ada"
# key = "ssh-ed25519 AAAA..."
"""
SKIPPED = {"charter.toml", "recipe.toml", "runs", "node_modules", "__pycache__"}


@click.command("init")
@click.argument("folder", type=FOLDER, default=".")
@click.option("--purpose", default=None, help="What the model is for; asked for on a terminal.")
@click.option("--name", default=None, help="Name of the run. Default: the folder's.")
@click.option("--preset", default="", metavar="NAME", help="A size of model for the recipe; 'list' shows them all.")
@dry_run_option
@json_option
def init_command(
    folder: Path, purpose: str | None, name: str | None, preset: str, dry_run: bool, as_json: bool
) -> None:
    """Write a commented charter.toml and recipe.toml into FOLDER, which holds text or code."""
    if preset == "list":
        sizes.show(as_json=as_json)
        return
    recipe = sizes.recipe_text(preset)
    if not folder.is_dir():
        raise WrongInput(
            f"{folder} cannot be prepared", "there is no such folder", "make it, and put your texts into it"
        )
    data = _documents(folder)
    if not data:
        raise WrongInput(
            f"{folder.resolve()} cannot be prepared",
            "it holds no files to train on",
            "put text or code into it, for instance below data/",
        )
    for file in ("charter.toml", "recipe.toml"):
        if (folder / file).exists():
            raise WrongInput("nothing was written", f"{folder / file} exists", "edit it, or move it away")
    if purpose is None and not as_json and not dry_run and sys.stdin.isatty():
        answer: str = click.prompt("What is the model for, in one sentence?", default="", show_default=False)
        purpose = answer
    people = keys_here()
    charter = charter_text(name or _run_name(folder), purpose or PURPOSE, data, people)
    files = {"charter.toml": charter, "recipe.toml": recipe}
    for file, text in files.items():
        if not dry_run:
            (folder / file).write_text(text)
    if as_json:
        emit({"folder": str(folder.resolve()), "written": [] if dry_run else list(files), "data": data, "files": files})
    elif dry_run:
        click.echo(charter)
    else:
        _next_steps(folder, data, people, purpose or "")


def _next_steps(folder: Path, data: Sequence[str], people: Sequence[KeyFile], purpose: str) -> None:
    click.echo(f"wrote {folder / 'charter.toml'} and {folder / 'recipe.toml'}")
    click.echo(f"  data         {', '.join(data)}")
    click.echo(f"  signatories  {', '.join(charter_name(one) for one in people) or 'none yet: tenth key new NAME'}")
    if not purpose:
        click.echo("  purpose      still to be written: 'tenth check' refuses the charter until it is")
    click.echo(f"\nNext: edit them, then  tenth check {folder / 'charter.toml'}")


def charter_text(name: str, purpose: str, data: Sequence[str], people: Sequence[KeyFile]) -> str:
    from tenth.quarantine import sandbox

    fastest = peak.of_this_machine()["flop_per_device_second"]
    signatories = [
        f"[[signatory]]\nname = {_quoted(charter_name(one))}\nkey = {_quoted(one.public.line)}\n"
        for one in _distinct(people)
    ]
    return TEMPLATE.format(
        name=_quoted(name),
        purpose=_quoted(purpose),
        data=_quoted(list(data)),
        seconds=SECONDS,
        flop=f"{1.25 * SECONDS * fastest:.1e}".replace("e+", "e"),
        how=f"{fastest:.1e} a second".replace("e+", "e"),
        level=_quoted(sandbox.level()),
        prompts=_quoted(_prompts(data)),
        people="\n".join(signatories) or NOBODY,
    )


def charter_name(one: KeyFile) -> str:
    """A name for the charter: the key file's, or the user's for an SSH key."""
    from tenth.cli.pull import user_name

    found = one.name if one.path.parent.name != ".ssh" else user_name()
    plain = re.sub(r"[^a-z0-9_-]", "", found.lower())[:32]
    return plain if NAME.fullmatch(plain) else "me"


def _distinct(people: Sequence[KeyFile]) -> list[KeyFile]:
    """No key and no name twice: the charter would refuse it."""
    by_key = {one.public.raw: one for one in reversed(people)}
    return list({charter_name(one): one for one in by_key.values()}.values())[::-1]


def _documents(folder: Path) -> list[str]:
    """Top-level names that hold documents: never the charter, and never the runs, which change while training."""
    if (folder / "data").is_dir() and any((folder / "data").iterdir()):
        return ["data"]
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.name not in SKIPPED)
    return [name for name in names if (folder / name).is_file() or any((folder / name).iterdir())]


def _run_name(folder: Path) -> str:
    plain = re.sub(r"[^a-z0-9_-]+", "-", folder.resolve().name.lower()).strip("-_")[:20]
    return plain if NAME.fullmatch(plain) else "model"


def _prompts(data: Sequence[str]) -> list[str]:
    return ["def ", "class "] if any(name.endswith(".py") for name in data) else ["The "]


def _quoted(value: object) -> str:
    """A TOML string or list: JSON's spelling is also TOML's."""
    return json.dumps(value, ensure_ascii=False)
