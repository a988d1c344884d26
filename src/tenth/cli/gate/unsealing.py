"""``unseal``: open a sealed checkpoint outside its run, with the escrow key alone or with every signatory's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from tenth import cipher
from tenth.cli.find import find_run
from tenth.cli.options import FILE, FOLDER, dry_run_option, json_option, run_argument
from tenth.cli.outcome import emit
from tenth.cli.people import unlock
from tenth.cli.replay import Replay, replay
from tenth.encoding import canonical, read_plain, unb64
from tenth.errors import BadKey, BrokenPromise, WrongInput
from tenth.gate.sealing import SEALED, SHARES, finish, folder_digest
from tenth.keys import SigningKey


@click.command("unseal")
@run_argument
@click.option("--key", "files", type=FILE, multiple=True, required=True, help="The escrow key, or each signatory's.")
@click.option("--passphrase-file", type=FILE, help="A file that holds the keys' passphrase.")
@click.option("--gate", type=int, default=None, help="The checkpoint of this gate. Default: the newest that is sealed.")
@click.option("--to", "target", type=FOLDER, required=True, help="A folder that does not exist yet.")
@dry_run_option
@json_option
def unseal_command(
    run: str | None, files: Sequence[Path], passphrase_file: Path | None, gate: int | None, target: Path,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Open a sealed checkpoint of RUN into a folder. For a run whose signatories lost a key, or want the model out.

    Nothing of the run is changed, and its log does not hear of it: whoever holds the keys can do this anywhere.
    """
    found = replay(Path(find_run(run, quiet=as_json)))
    record = _sealed(found, gate)
    if target.exists():
        raise WrongInput("nothing was opened", f"{target} exists", "name a folder that does not exist yet")
    shares = cipher.read_shares(read_plain(found.path / (record["path"] + SHARES)), found.history.run, record["digest"])
    key = _key(found, shares, [unlock(file, passphrase_file) for file in files])
    if dry_run:
        click.echo(f"would open {record['path']} into {target}; the keys suffice")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tenth-", dir=target.parent) as draft:
        opened = Path(draft) / "open"
        finish(cipher.decipher(found.path / (record["path"] + SEALED), opened, key))
        if finish(folder_digest(opened)) != record["digest"]:
            raise BrokenPromise(9, f"{record['path']} opened into something else", f"on record {record['digest']}")
        shutil.move(opened, target)
    if as_json:
        emit({"written": str(target), "checkpoint": record})
    else:
        click.echo(f"opened {record['path']} into {target}; its digest is the one on record")


def _sealed(found: Replay, gate: int | None) -> dict[str, str]:
    """The record of a checkpoint that lies sealed here."""
    known = {entry.body["gate"]: entry.body["checkpoint"] for entry in found.log.entries if entry.event == "reached"}
    here = {number: one for number, one in known.items() if (found.path / (one["path"] + SEALED)).is_dir()}
    if not here:
        raise WrongInput(
            f"{found.history.run} has no sealed checkpoint", "its charter has no [seal], or no gate was reached"
        )
    if gate is not None and gate not in here:
        raise WrongInput(f"no checkpoint of gate {gate} lies sealed", f"there are {sorted(here)}", "give --gate")
    return dict(here[max(here) if gate is None else gate])


def _key(found: Replay, shares: cipher.Shares, keys: Sequence[SigningKey]) -> bytes:
    escrow = found.history.charter.seal.escrow
    for key in keys:
        if escrow == key.public:
            return cipher.whole_key(shares, key)
    signatories = found.history.charter.signatories
    given = {name: key for name, public in signatories.items() for key in keys if key.public == public}
    if missing := sorted(set(signatories) - set(given)):
        escrowed = "or the escrow key" if escrow else "and the charter names no escrow key"
        raise BadKey(
            "these keys do not suffice", f"missing: {', '.join(missing)}", f"all signatories' keys, {escrowed}"
        )
    info = canonical(shares["context"])
    return cipher.join([key.open(unb64(shares["shares"][name]), info) for name, key in given.items()])
