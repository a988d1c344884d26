"""The drill of a gate: shown and answered in the gate's place, once by each signatory, and then said what it was."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import click

from tenth.cli import wire
from tenth.cli.gate import signing
from tenth.cli.options import Signing
from tenth.cli.outcome import DONE, emit
from tenth.cli.people import keys_here, signer
from tenth.cli.replay import Replay
from tenth.drills import answers, packet
from tenth.drills.packet import Drill


def noted(found: Replay) -> Iterator[Mapping[str, Any]]:
    return (entry.body for entry in found.log.entries if entry.event == "noted")


def asks(found: Replay, who: str) -> Drill | None:
    """The drill of the gate on the table, if this signatory has yet to answer it."""
    if found.history.state.stance.value != "GATE":
        return None
    drill = packet.find(found.path, found.history.dossier)
    done = {answer.packet for answer in answers.on_record(noted(found)) if answer.by == who}
    return drill if drill and drill.packet not in done else None


@contextlib.contextmanager
def first(found: Replay, person: str | None) -> Iterator[Replay]:
    """The run as this reader is shown it: with the drill of the gate in its place, until they have answered it.

    Without ``person`` the readers are the signatories whose keys lie here; whoever is none sees the gate as it is.
    """
    public, signatories = {one.public for one in keys_here()}, found.history.charter.signatories
    readers = [name for name, key in signatories.items() if key in public and person in (None, name)]
    drills = {name: drill for name in readers if (drill := asks(found, name))}
    asked = {name: drill for name, drill in drills.items() if "answer" not in answers.kept(drill, name)}
    if not asked:
        yield found
        return
    for name, drill in asked.items():
        with contextlib.suppress(OSError):  # a folder that is only lent: they are not timed
            answers.saw(drill, name)
    with in_place(found, next(iter(asked.values()))) as shown:
        yield shown


@contextlib.contextmanager
def in_place(found: Replay, drill: Drill) -> Iterator[Replay]:
    """The run as if the drill were its gate."""
    history = copy.copy(found.history)
    history.dossier = drill.dossier
    history.state = history.state._replace(dossier=drill.digest, anchor=drill.digest, surprised=drill.surprised)
    with drill.laid_out() as path:
        yield replace(found, path=path, history=history)


def answer_first(found: Replay, event: str, note: str, how: Signing, patch: Any = None, what: str = "") -> int | None:
    """Sign the drill of this gate in its place, and be told. None where whoever signs has none to answer.

    What they sign is never handed to the supervisor, who could not accept it; a note of it is. So that nobody changes
    or ends a run for what they saw in a drill, ``what`` else they would do is an answer, too, of those who opened it.
    """
    if packet.find(found.path, found.history.dossier) is None:
        return None
    who, _ = signer(found.history.charter.signatories, how.chosen)
    drill = asks(found, who)
    before = answers.kept(drill, who) if drill else {}
    if drill is None or (what and "shown" not in before):
        return None
    if "answer" in before and not how.dry_run:  # it was told, and could not be put on record
        return _told(found, drill, who, before, how)
    drill.judge(event, note)
    with in_place(found, drill) as shown:
        _, envelope = signing.make(shown, event, how.chosen, note, patch)
        lines = [f"{who} {what}"] if what else signing.describe(shown, event, who)
        if how.dry_run:
            return signing.rehearse(lines, envelope, who, event, as_json=how.as_json)
    signing.confirm(lines, yes=how.yes, quiet=how.as_json)
    envelope.pop("share", None)
    return _told(found, drill, who, answers.keep(drill, who, event, envelope, note), how)


def _told(found: Replay, drill: Drill, who: str, kept: Mapping[str, Any], how: Signing) -> int:
    """Put the answer on record, and say what it was about."""
    _, envelope = signing.make(found, "noted", how.chosen, answers.text(kept))
    index = wire.ask(found.path, do="submit", envelope=envelope, share=None)["index"]
    if how.as_json:
        emit({"signatory": who, "drill": {**kept["answer"], "planted": drill.planted}, "index": index})
        return DONE
    click.echo(answers.told(drill, kept))
    click.echo(f"A note of it is entry {index} of the log. Now the gate itself: tenth review, then consent or object")
    return DONE
