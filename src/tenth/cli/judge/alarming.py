"""``alarms``: what two rules say of the numbers that a trainer reports; ``--pull`` lets them pull the cord.

The numbers are the trainer's claims: an alarm finds what goes wrong in the open, not a trainer that lies about it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenth.cli import pull
from tenth.cli.find import find_run, is_live
from tenth.cli.live.raised import Keeper, Raised
from tenth.cli.options import json_option, run_argument
from tenth.cli.outcome import DONE, emit
from tenth.errors import RunRefused
from tenth.sanitise import plain
from tenth.sinks.reader import Point, Reader

if TYPE_CHECKING:
    from tenth.alarms import Drift, Spike

POLL_SECONDS = 0.5
SERIES = ("loss", "grad_norm")


@click.command("alarms")
@run_argument
@click.option(
    "--of",
    "series",
    multiple=True,
    metavar="NAME",
    help=f"What to look at, as the trainer names it. Repeatable. Default: {' and '.join(SERIES)}.",
)
@click.option("--follow", is_flag=True, help="Go on while the run lives.")
@click.option("--pull", "pulls", is_flag=True, help="Follow, and pull the cord at every alarm that is new.")
@json_option
def alarms_command(
    run: str | None, series: tuple[str, ...], follow: bool, pulls: bool, as_json: bool
) -> int:  # fmt: skip
    """Say what the rules of tenth.alarms find in the numbers that RUN's trainer reports.

    'spike': one value far above the last 128. 'drift': values too high for too long. Their false-alarm rates are
    nominal: they hold for an idealised stream. What was reported before --pull began pulls nothing.
    """
    path = find_run(run, quiet=as_json)
    look = Look(Path(path), series or SERIES)
    if not (follow or pulls):
        found = look.new()
        if as_json:
            emit({"alarms": [raised.record() for raised in found], "values": look.counts()})
        else:
            for raised in found:
                _say(raised, as_json=False)
            click.echo(plain("; ".join(f"{count:,} values of {name}" for name, count in look.counts().items())))
        return DONE
    keeper = Keeper(Path(path))
    try:
        for batch, fresh in _follow(path, look):
            if pulls and fresh:
                text, _ = pull.stop(path, "alarms")
                click.echo(text, err=True)
            for raised in batch:
                keeper.keep(raised)
                _say(raised, as_json=as_json)
    except KeyboardInterrupt:
        pass
    return DONE


def _follow(path: str, look: Look) -> Iterator[tuple[list[Raised], bool]]:
    """Alarms as they are raised, and whether they are new, until nobody holds the run any more."""
    fresh = False
    while True:
        held = is_live(path)
        if batch := look.new():
            yield batch, fresh
        if look.over or not held:
            return
        fresh = True
        time.sleep(POLL_SECONDS)


def _say(raised: Raised, *, as_json: bool) -> None:
    if as_json:
        emit(raised.record())
    else:
        where = f"step {raised.step:,} {raised.series}: {raised.rule} ({raised.kind})"
        click.echo(plain(f"{where}, {raised.says}", limit=300))


class Look:
    """The rules, one set for each series of one run."""

    def __init__(self, run: Path, series: Sequence[str]) -> None:
        _rules()  # refused at once where numpy is missing
        self._reader = Reader(run)
        self._series = {name: Series(name) for name in series}

    @property
    def over(self) -> bool:
        return self._reader.closed

    def new(self) -> list[Raised]:
        """What was raised by the reports since the last call."""
        return [raised for point in self._reader.new() for one in self._series.values() for raised in one.see(point)]

    def counts(self) -> dict[str, int]:
        """How many values of each series were judged."""
        return {name: one.count for name, one in self._series.items()}


class Series:
    """One series. Steps that are trained again, after a way back to a checkpoint, begin a new stream."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0
        self._rules: list[Spike | Drift] = []
        self._step = -1

    def see(self, point: Point) -> Iterator[Raised]:
        value = point.values.get(self.name, math.nan)
        if math.isnan(value) and not point.values.get("nonfinite"):
            return  # it says nothing of this series
        if point.step == self._step:
            return  # said again
        if point.step < self._step or not self._rules:
            self._rules = _rules()
        self._step, self.count = point.step, self.count + 1
        for rule in self._rules:
            if alarm := rule.see(value):
                yield Raised(
                    self.name, point.step, point.gate, point.time, alarm.rule, alarm.kind, alarm.value, alarm.threshold,
                    alarm.says,
                )  # fmt: skip


def _rules() -> list[Spike | Drift]:
    try:
        from tenth.alarms import Drift, Spike
    except ImportError:
        do = "pip install 'tenth[trainer]', or numpy alone"
        raise RunRefused("alarms cannot be looked for", "numpy is not installed here", do) from None
    return [Spike(), Drift()]
