"""``consent`` and ``object``: sign for or against the dossier, here or on another machine."""

from __future__ import annotations

from pathlib import Path

import click

from tenth.cli import words
from tenth.cli.find import find_run
from tenth.cli.gate import drilled, packs, signing
from tenth.cli.gate.reviewing import covered
from tenth.cli.options import FILE, dry_run_option, json_option, key_options, note_option, run_argument, yes_option
from tenth.cli.outcome import DONE, emit
from tenth.cli.people import Chosen
from tenth.cli.replay import Replay, replay
from tenth.errors import WrongInput

offline_option = click.option(
    "--offline", type=FILE, metavar="PACK", help="Sign a review pack (.zip) instead of a run on this machine."
)
output_option = click.option(
    "-o", "--output", type=FILE, metavar="FILE", help="With --offline: where to write the signature."
)
import_option = click.option(
    "--import", "imported", type=FILE, metavar="FILE", help="Hand in what was signed on another machine."
)


@click.command("consent")
@run_argument
@key_options
@note_option
@offline_option
@output_option
@import_option
@yes_option
@dry_run_option
@json_option
def consent_command(
    run: str | None, chosen: Chosen, note: str, offline: Path | None, output: Path | None, imported: Path | None,
    yes: bool, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Sign the dossier of this gate: the next tenth may be trained (or, at the last gate, the model released).

    The log and every digest in it are verified before anything is signed. A consent cannot be unsigned, but until the
    tenth begins 'tenth object' takes its effect away.
    """
    return _speak("consented", run, chosen, note, offline, output, imported, yes=yes, dry_run=dry_run, as_json=as_json)


@click.command("object")
@run_argument
@key_options
@note_option
@offline_option
@output_option
@import_option
@yes_option
@dry_run_option
@json_option
def object_command(
    run: str | None, chosen: Chosen, note: str, offline: Path | None, output: Path | None, imported: Path | None,
    yes: bool, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Sign against the dossier of this gate.

    Nothing starts while your objection stands; a later consent takes it back.
    """
    return _speak("objected", run, chosen, note, offline, output, imported, yes=yes, dry_run=dry_run, as_json=as_json)


def _speak(
    event: str, run: str | None, chosen: Chosen, note: str, offline: Path | None, output: Path | None,
    imported: Path | None, *, yes: bool, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    if offline is not None and imported is not None:
        raise click.UsageError("--offline and --import do not go together: one signs there, the other hands in here")
    if offline is not None:
        if output is None:
            raise click.UsageError("--offline needs -o FILE, where the signature is written")
        with packs.unpacked(offline) as folder:
            found = replay(folder)
            checked = covered(found)
            if not as_json:
                click.echo(f"checked: {checked}")
            return _sign(found, event, chosen, note, output, yes=yes, dry_run=dry_run, as_json=as_json)
    path = find_run(run, quiet=as_json)
    if imported is not None:
        return _import(path, imported, event, dry_run=dry_run, as_json=as_json)
    return _sign(signing.checked(Path(path)), event, chosen, note, None, yes=yes, dry_run=dry_run, as_json=as_json)


def _sign(
    found: Replay,
    event: str,
    chosen: Chosen,
    note: str,
    output: Path | None,
    *,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    signing.at_gate(found, event)
    if output is None:
        done = drilled.answer_first(found, event, chosen, note, yes=yes, dry_run=dry_run, as_json=as_json)
        if done is not None:
            return done
    who, envelope = signing.make(found, event, chosen, note)
    lines = signing.describe(found, event, who)
    if dry_run:
        return signing.rehearse(lines, envelope, who, event, as_json=as_json)
    signing.confirm(lines, yes=yes, quiet=as_json)
    if output is None:
        return signing.hand_in(str(found.path), envelope, who, event, as_json=as_json)
    signing.write_envelope(output, envelope)
    verb = "consent" if event == "consented" else "object"
    if as_json:
        emit({"signatory": who, "event": event, "file": str(output)})
    else:
        click.echo(f"wrote {output}; on the machine of the run: tenth {verb} --import {output.name}")
    return DONE


def _import(path: str, source: Path, event: str, *, dry_run: bool, as_json: bool) -> int:
    envelope = signing.read_envelope(source, event)
    said = words.signed(envelope)
    who = str(said.get("signatory", ""))
    if said.get("run") != replay(Path(path)).history.run:
        raise WrongInput(
            f"{source} is not handed in",
            f"it speaks of run {said.get('run')!r}"[:120],
            "name that run on the command line",
        )
    if dry_run:
        return signing.rehearse([f"would hand in {source}, signed by {who}"], envelope, who, event, as_json=as_json)
    return signing.hand_in(path, envelope, who, event, as_json=as_json)
