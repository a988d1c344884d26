"""``drill``: how often the reviewers of a run noticed what was planted, and how often they stopped what was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tenth.cli.find import find_run
from tenth.cli.gate import signing
from tenth.cli.gate.drilled import noted
from tenth.cli.options import json_option, run_argument
from tenth.cli.outcome import DONE, emit
from tenth.cli.replay import Replay
from tenth.drills import answers, packet, rates
from tenth.drills.packet import Drill
from tenth.encoding import decode, read_plain
from tenth.gate import statement
from tenth.sanitise import plain


@click.command("drill")
@run_argument
@json_option
def drill_command(run: str | None, as_json: bool) -> int:
    """Say how often the reviewers of RUN noticed what was planted, and how often they stopped what was not.

    From the verified log: drills are drawn by the evidence panel 'tenth-evidence drill', and answers are signed notes.
    """
    found = signing.checked(Path(find_run(run, quiet=as_json)))
    drills, people = tally(found)
    rows = [*people, rates.together(people)]
    if as_json:
        emit({"drills": drills, "people": [person.record() for person in rows]})
    else:
        _show(drills, rows)
    return DONE


def tally(found: Replay) -> tuple[list[dict[str, Any]], list[rates.Person]]:
    """Drills in order, and what each signatory did at them and at the gates themselves."""
    said = rates.first_answers(answers.on_record(noted(found)))
    drills = _drills(found, said)
    people = {name: rates.Person(name, len(drills)) for name in sorted(found.history.charter.signatories)}
    for answer in said:
        if answer.packet in drills and answer.gate == drills[answer.packet].gate:
            people[answer.by].answers.append(answer)
    spoken: dict[tuple[str, str], bool] = {}
    for entry in found.log.entries:
        if entry.event in statement.ON_DOSSIER:
            one = statement.read(entry.body["envelope"], found.history.charter)
            objected = entry.event == "objected"
            spoken[one.signatory, one.anchor] = spoken.get((one.signatory, one.anchor), False) or objected
    for (name, _), objected in spoken.items():
        people[name].gates += 1
        people[name].stops += objected
    rows = [{"gate": drill.gate, "packet": drill.packet, "planted": drill.planted} for drill in drills.values()]
    return rows, list(people.values())


def _drills(found: Replay, said: Sequence[answers.Answer]) -> dict[str, Drill]:
    """By packet. The one on the table is a secret until everyone has answered it."""
    drills = {}
    for entry in found.log.entries:
        if entry.event == "sealed":
            dossier = decode(read_plain(found.path / entry.body["path"] / "dossier.json"))
            if drill := packet.find(found.path, dossier):
                drills[drill.packet] = drill
    now = packet.find(found.path, found.history.dossier) if found.history.state.stance.value == "GATE" else None
    if now and {answer.by for answer in said if answer.packet == now.packet} != set(found.history.charter.signatories):
        del drills[now.packet]
    return drills


def _show(drills: Sequence[Mapping[str, Any]], rows: Sequence[rates.Person]) -> None:
    console = Console(highlight=False)
    if not drills:
        click.echo("no drill is over: the panel 'tenth-evidence drill --rate 0.1' in the charter draws some gates")
        return
    table = Table("by", "answered", "found", "95 %", "median", "not looked", "gates", "stopped", "95 %", box=None)
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:,.0f} s"
        answered = len(row.answers)
        table.add_row(
            plain(row.name), f"{answered} of {row.drills}", str(row.found), _interval(row.found, answered), seconds,
            str(row.unopened), str(row.gates), str(row.stops), _interval(row.stops, row.gates),
        )  # fmt: skip
    console.print(table)
    for drill in drills:
        console.print(f"gate {drill['gate']}: {drill['planted']}", markup=False)


def _interval(hits: int, count: int) -> str:
    low, high = rates.wilson(hits, count)
    return f"{low:.0%} to {high:.0%}" if count else ""
