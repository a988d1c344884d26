"""Whose keys lie here: the key folder, existing SSH keys, and which of them the charter lists."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tenth import keyfile
from tenth.errors import BadKey
from tenth.keyfile import NeedsPassphrase
from tenth.keys import PublicKey, SigningKey


@dataclass(frozen=True)
class KeyFile:
    """A private key file and its public half, unlocked by nobody yet."""

    name: str
    path: Path
    public: PublicKey


@dataclass(frozen=True)
class Chosen:
    """Who signs, and with what. All that a signing verb was told on its command line."""

    key: Path | None = None
    person: str | None = None
    passphrase_file: Path | None = None


def home() -> Path:
    """TENTH_HOME, or ~/.config/tenth."""
    given = os.environ.get("TENTH_HOME")
    return Path(given) if given else Path.home() / ".config" / "tenth"


def key_folder() -> Path:
    return home() / "keys"


def keys_here() -> list[KeyFile]:
    """The keys of the key folder, then the SSH key of this user."""
    found = [read_public(path) for path in sorted(key_folder().glob("*.pub"))]
    found.append(read_public(Path.home() / ".ssh" / "id_ed25519.pub"))
    return [one for one in found if one is not None and one.path.exists()]


def read_public(path: Path) -> KeyFile | None:
    try:
        return KeyFile(path.stem, path.with_suffix(""), PublicKey.parse(path.read_text()))
    except (OSError, ValueError, BadKey):
        return None


@cache
def unlock(path: Path, passphrase_file: Path | None) -> SigningKey:
    """Load a private key; asks for its passphrase on the terminal if it has one, once in a command."""
    try:
        return keyfile.load(path)
    except NeedsPassphrase:
        pass
    if passphrase_file is not None:
        words = passphrase_file.read_bytes().rstrip(b"\r\n")
    elif sys.stdin.isatty():
        import click

        words = click.prompt(f"Passphrase of {path}", hide_input=True, err=True).encode()
    else:
        raise NeedsPassphrase(f"the key {path} is locked", "there is no terminal to ask on", "give --passphrase-file")
    return keyfile.load(path, words)


def signer(signatories: Mapping[str, PublicKey], chosen: Chosen) -> tuple[str, SigningKey]:
    """``(name in the charter, key)`` of whoever signs. Raises BadKey if nobody fits, or more than one."""
    listed = "the signatories are " + ", ".join(f"{name} ({key.fingerprint})" for name, key in signatories.items())
    if chosen.person and chosen.person not in signatories:
        raise BadKey(f"'{chosen.person}' cannot sign", "the charter lists nobody of that name as signatory", listed)
    if chosen.key is not None:
        key = unlock(chosen.key, chosen.passphrase_file)
        fits = [name for name, public in signatories.items() if public == key.public]
        if not fits or (chosen.person and chosen.person != fits[0]):
            raise BadKey(f"{chosen.key} cannot sign here", f"it is {key.public.fingerprint}", listed)
        return fits[0], key
    owned = {name: one for one in keys_here() for name, public in signatories.items() if public == one.public}
    if chosen.person:
        owned = {name: one for name, one in owned.items() if name == chosen.person}
    if len(owned) > 1:
        names = ", ".join(sorted(owned))
        raise BadKey("it is not clear who signs", f"keys of {names} lie here", "say who: --as NAME")
    if not owned:
        where = f"none of the keys in {key_folder()} and ~/.ssh is a signatory's"
        if chosen.person:
            where = f"the key of '{chosen.person}' is neither in {key_folder()} nor in ~/.ssh"
        raise BadKey("nobody here can sign", where, f"give --key PATH; {listed}")
    name, one = owned.popitem()
    key = unlock(one.path, chosen.passphrase_file)
    if key.public != one.public:
        raise BadKey(
            f"the key {one.path} is not used", "its .pub file is of another key", "mend or remove the .pub file"
        )
    return name, key
