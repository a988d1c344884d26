"""``key``: make, show and list the keys that people sign with."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from tenth import keyfile
from tenth.charter import NAME
from tenth.cli.options import FILE, dry_run_option, json_option
from tenth.cli.outcome import emit
from tenth.cli.people import KeyFile, key_folder, keys_here, read_public
from tenth.errors import BadKey, WrongInput
from tenth.keys import SigningKey


@click.group("key")
def key_command() -> None:
    """Make and show the keys that people sign with.

    They lie in $TENTH_HOME/keys, or ~/.config/tenth/keys. An Ed25519 key that you have for SSH does as well.
    """


@key_command.command("new")
@click.argument("name")
@click.option("--passphrase", is_flag=True, help="Lock the key with a passphrase, which is asked for.")
@click.option("--passphrase-file", type=FILE, help="Lock the key with the passphrase in this file.")
@dry_run_option
@json_option
def new(name: str, passphrase: bool, passphrase_file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Make a key for NAME. Give the public line that it prints to whoever writes the charter."""
    if not NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9_-]", "", name.lower().strip())[:32]
        hint = f"for instance '{near}'" if NAME.fullmatch(near) else "for instance 'ada'"
        wanted = f"a lower-case letter, then at most 31 letters, digits, '-' or '_': {hint}"
        raise WrongInput("this name is refused", f"{name!r} cannot stand in a charter", wanted)
    path = key_folder() / name
    if path.exists() or path.with_suffix(".pub").exists():
        raise BadKey("no key was made", f"{path} exists", "use it, or choose another name; keys are never overwritten")
    if dry_run:
        emit({"would": "make", "path": str(path)}) if as_json else click.echo(f"would make {path}")
        return
    words = _passphrase(passphrase, passphrase_file)
    folder = key_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    key = SigningKey.generate()
    keyfile.save(key, path, name, words)
    if as_json:
        emit(_record(KeyFile(name, path, key.public)))
        return
    click.echo(f"The key of {name} is {path}. Keep it: with it lost, no run that lists it can go on.\n")
    click.echo("For the charter:\n")
    click.echo(_charter_lines(name, key.public.line))


def _passphrase(ask: bool, file: Path | None) -> bytes | None:
    if file is not None:
        return file.read_bytes().rstrip(b"\r\n") or None
    if not ask:
        return None
    if not sys.stdin.isatty():
        raise WrongInput("no key was made", "there is no terminal to ask for a passphrase", "give --passphrase-file")
    words: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt="Once more", err=True)
    return words.encode()


@key_command.command("show")
@click.argument("name", required=False)
@json_option
def show(name: str | None, as_json: bool) -> None:
    """Print the public key of NAME (a name in the key folder, or a path), or the only one there is."""
    one = _one(name)
    if as_json:
        emit(_record(one))
        return
    click.echo(_charter_lines(one.name, one.public.line))
    click.echo(f"\n# {one.public.fingerprint}   {one.path}")


@key_command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys that can sign from here."""
    found = keys_here()
    if as_json:
        emit({"folder": str(key_folder()), "keys": [_record(one) for one in found]})
        return
    for one in found:
        click.echo(f"{one.name:<20} {one.public.fingerprint}  {one.path}")
    if not found:
        click.echo(f"There is no key in {key_folder()} and none in ~/.ssh. Make one: tenth key new NAME")


def _one(name: str | None) -> KeyFile:
    found = keys_here()
    if name is not None:
        if named := [one for one in found if one.name == name]:
            return named[0]
        path = Path(os.path.expanduser(name))
        one = read_public(path if path.suffix == ".pub" else path.with_name(path.name + ".pub"))
        if one is not None:
            return one
    elif len(found) == 1:
        return found[0]
    names = ", ".join(one.name for one in found) or "none"
    raise BadKey("no key is shown", f"keys here: {names}", "name one of them, or make one: tenth key new NAME")


def _charter_lines(name: str, line: str) -> str:
    return f'[[signatory]]\nname = "{name}"\nkey = "{line} {name}"'


def _record(one: KeyFile) -> dict[str, str]:
    return {
        "name": one.name,
        "path": str(one.path),
        "public": one.public.line,
        "fingerprint": one.public.fingerprint,
    }
