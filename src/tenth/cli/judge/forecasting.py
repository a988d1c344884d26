"""``forecast``: say sealed what the next gate will show, open it afterwards, and see how everybody did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tenth.cli.find import find_run
from tenth.cli.gate import changing
from tenth.cli.options import Signing, run_argument, signing_options
from tenth.cli.outcome import DONE, emit
from tenth.cli.people import home, signer
from tenth.encoding import canonical, digest, write_durably
from tenth.errors import Unlawful, WrongInput
from tenth.forecasts import record, scored, sealed
from tenth.forecasts.told import Told
from tenth.sanitise import plain

LEVELS = (0.05, 0.5, 0.95)


@click.command("forecast")
@run_argument
@click.option(
    "--expect",
    "expected",
    multiple=True,
    metavar="NAME=LOW,MIDDLE,HIGH",
    help="What a figure of the next gate's evidence will be: the middle, and an interval that holds it nine "
    "times in ten. NAME is PANEL.METRIC. Repeatable.",
)
@click.option("--halted", type=click.FloatRange(0, 1), help="How likely the run is stopped before that gate, 0 to 1.")
@click.option("--reveal", is_flag=True, help="Open your forecasts of gates that are reached.")
@signing_options
def forecast_command(
    run: str | None, expected: tuple[str, ...], halted: float | None, reveal: bool, how: Signing
) -> int:
    """Foretell the next gate of RUN, or, without options, see how forecasts came.

    A forecast is sealed in the log by its digest, and lies in your home until you reveal it. It counts if it was filed
    before the tenth ended; the last one does.
    """
    if expected or halted is not None:
        if reveal:
            raise click.UsageError("--reveal opens earlier forecasts: say it alone")
        return _file(run, expected, halted, how)
    if reveal:
        return _reveal(run, how)
    rows = scored.rows(record.read(Path(find_run(run, quiet=how.as_json))))
    totals = scored.totals(rows)
    if how.as_json:
        emit({"forecasts": [vars(row) for row in rows], "totals": totals})
    else:
        _show(rows, totals)
    return DONE


def _folder() -> Path:
    return home() / "forecasts"


def _file(run: str | None, expected: Sequence[str], halted: float | None, how: Signing) -> int:
    found = changing.changeable(run, "noted", how)
    gate, gates = found.history.state.gate + 1, found.history.state.gates
    if gate > gates:
        raise Unlawful("there is nothing to foretell", f"gate {gates} is the last one", "tenth forecast")
    panels = {panel.name for panel in (*found.history.evidence, *found.history.charter.evidence)}
    quantiles = dict(_expected(text, panels) for text in expected)
    told = sealed.content(found.history.run, gate, quantiles, {} if halted is None else {record.HALTED: halted})
    if not how.dry_run:
        _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(_folder() / f"{digest(canonical(dict(told)))}.json", canonical(dict(told)), mode=0o600)
    what = f"files a sealed forecast of gate {gate}"
    said = sealed.commitment(told)
    return changing.speak(found, "noted", what, said, None, how)


def _expected(text: str, panels: set[str]) -> tuple[str, Told]:
    """NAME=LOW,MIDDLE,HIGH."""
    name, _, values = text.partition("=")
    if name.partition(".")[0] not in panels or not name.partition(".")[2]:
        known = ", ".join(sorted(panels)) or "none"
        raise WrongInput(f"'{name}' cannot be foretold", "it names no panel of the evidence", f"PANEL.METRIC; {known}")
    given = values.split(",")
    if len(given) != len(LEVELS):
        raise WrongInput(f"'{text}' is no forecast", f"{len(given)} values", "NAME=LOW,MIDDLE,HIGH")
    return name, Told.read(dict(zip(map(str, LEVELS), given, strict=True)))


def _reveal(run: str | None, how: Signing) -> int:
    found = changing.changeable(run, "noted", how)
    known = record.read(found.path)
    who, _ = signer(found.history.charter.signatories, how.chosen)
    mine = [one for one in known.filed.values() if one.by == who and one.content is None and one.gate <= known.gate]
    if not mine:
        raise WrongInput("nothing was revealed", f"{who} has no sealed forecast of a gate that is reached")
    for one in mine:
        file = _folder() / f"{one.sha256}.json"
        try:
            told = json.loads(file.read_bytes())
        except OSError as error:
            do = "copy it from the machine where it was filed"
            raise WrongInput(f"the forecast of gate {one.gate} is not here", f"{file}: {error.strerror}", do) from None
        what = f"reveals the forecast of gate {one.gate}"
        said = sealed.revelation(told)
        changing.speak(found, "noted", what, said, None, how)
    return DONE


def _show(rows: Sequence[scored.Row], totals: Mapping[str, Mapping[str, Any]]) -> None:
    console = Console(highlight=False)
    if not rows:
        click.echo("no forecast has been filed: tenth forecast --expect bits-per-byte.bits_per_byte=LOW,MIDDLE,HIGH")
        return
    table = Table("gate", "of", "by", "foretold (90 %)", "came", "CRPS", "as far out", box=None)
    for row in rows:
        table.add_row(*(plain(cell, limit=60) for cell in _cells(row)))
    console.print(table)
    for by, total in totals.items():
        console.print(plain(f"{by}: " + ", ".join(_total(total)), limit=300))


def _cells(row: scored.Row) -> Iterator[str]:
    yield from (str(row.gate), row.question, row.by)
    if row.low is not None:
        yield f"{row.middle:.4g} ({row.low:.4g} to {row.high:.4g})"
    elif row.chance is not None:
        yield f"{row.chance:.0%} likely"
    else:
        yield "sealed"
    yield "" if row.came is None else f"{row.came:.4g}"
    yield f"{row.crps:.4g}" if row.crps is not None else f"Brier {row.brier:.3f}" if row.brier is not None else ""
    yield "" if row.p_value is None else f"{row.p_value:.1%}"


def _total(total: Mapping[str, Any]) -> Iterator[str]:
    yield f"{total['resolved']} resolved"
    if total["crps"] is not None:
        yield f"mean CRPS {total['crps']:.4g}, log score {total['log_score']:.3g}"
        yield f"{total['inside']:.0%} inside the 90 % interval"
    if total["skill"] is not None:
        yield f"{total['skill']:+.0%} against {total['best_naive']}"
    if total["brier"] is not None:
        yield f"mean Brier score {total['brier']:.3f}"
