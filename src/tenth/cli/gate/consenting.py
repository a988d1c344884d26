"""``consent`` and ``object``: sign for or against the dossier, here or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tenth.cli import words
from tenth.cli.find import find_run
from tenth.cli.gate import drilled, packs, signing
from tenth.cli.gate.reviewing import covered
from tenth.cli.options import FILE, F, Signing, note_option, run_argument, signing_options
from tenth.cli.outcome import DONE, emit
from tenth.cli.replay import Replay, replay
from tenth.errors import WrongInput


def _file(flag: str, name: str, metavar: str, says: str) -> Callable[[F], F]:
    return click.option(flag, name, type=FILE, metavar=metavar, help=says)


def spoken(command: F) -> F:
    """The options of both verbs."""
    for option in (
        signing_options,
        _file("--import", "imported", "FILE", "Hand in what was signed on another machine."),
        _file("-o", "--output", "FILE", "With --offline: where to write the signature."),
        _file("--offline", "offline", "PACK", "Sign a review pack (.zip) instead of a run on this machine."),
        note_option,
        run_argument,
    ):
        command = option(command)
    return command


@click.command("consent")
@spoken
def consent_command(**given: Any) -> int:
    """Sign the dossier of this gate: the next tenth may be trained (or, at the last gate, the model released).

    The log and every digest in it are verified before anything is signed. A consent cannot be unsigned, but until the
    tenth begins 'tenth object' takes its effect away.
    """
    return _speak("consented", **given)


@click.command("object")
@spoken
def object_command(**given: Any) -> int:
    """Sign against the dossier of this gate.

    Nothing starts while your objection stands; a later consent takes it back.
    """
    return _speak("objected", **given)


def _speak(
    event: str, run: str | None, note: str, offline: Path | None, output: Path | None, imported: Path | None,
    how: Signing,
) -> int:  # fmt: skip
    if offline is not None and imported is not None:
        raise click.UsageError("--offline and --import do not go together: one signs there, the other hands in here")
    if offline is not None:
        if output is None:
            raise click.UsageError("--offline needs -o FILE, where the signature is written")
        with packs.unpacked(offline) as folder:
            found = replay(folder)
            checked = covered(found)
            if not how.as_json:
                click.echo(f"checked: {checked}")
            return _sign(found, event, note, output, how)
    path = find_run(run, quiet=how.as_json)
    if imported is not None:
        return _import(path, imported, event, how)
    return _sign(signing.checked(Path(path)), event, note, None, how)


def _sign(found: Replay, event: str, note: str, output: Path | None, how: Signing) -> int:
    signing.at_gate(found, event)
    if output is None:
        done = drilled.answer_first(found, event, note, how)
        if done is not None:
            return done
    who, envelope = signing.make(found, event, how.chosen, note)
    lines = signing.describe(found, event, who)
    if how.dry_run:
        return signing.rehearse(lines, envelope, who, event, as_json=how.as_json)
    signing.confirm(lines, yes=how.yes, quiet=how.as_json)
    if output is None:
        return signing.hand_in(str(found.path), envelope, who, event, as_json=how.as_json)
    signing.write_envelope(output, envelope)
    verb = "consent" if event == "consented" else "object"
    if how.as_json:
        emit({"signatory": who, "event": event, "file": str(output)})
    else:
        click.echo(f"wrote {output}; on the machine of the run: tenth {verb} --import {output.name}")
    return DONE


def _import(path: str, source: Path, event: str, how: Signing) -> int:
    envelope = signing.read_envelope(source, event)
    said = words.signed(envelope)
    who = str(said.get("signatory", ""))
    if said.get("run") != replay(Path(path)).history.run:
        raise WrongInput(
            f"{source} is not handed in",
            f"it speaks of run {said.get('run')!r}"[:120],
            "name that run on the command line",
        )
    if how.dry_run:
        return signing.rehearse([f"would hand in {source}, signed by {who}"], envelope, who, event, as_json=how.as_json)
    return signing.hand_in(path, envelope, who, event, as_json=how.as_json)
