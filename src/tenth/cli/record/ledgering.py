"""``ledger``: what the compute of a run was spent on, against its ceiling, and how much of it counts for regulation."""

from __future__ import annotations

import csv
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from tenth.cli.find import find_run
from tenth.cli.options import json_option, run_argument
from tenth.cli.outcome import emit
from tenth.cli.record import accounts, regulatory
from tenth.cli.record.accounts import CLASSES, Row
from tenth.cli.record.regulatory import COUNTED, Amount, Declared
from tenth.cli.replay import Replay, replay
from tenth.encoding import decode, digest, read_plain
from tenth.errors import BrokenPromise
from tenth.sanitise import plain

ROUNDING = 0.01
"""Device-seconds: what may be lost in adding up rows that are rounded to milliseconds, per row."""
COLUMNS = (
    "class", "gross", "regulatory", "tenth", "phase", "epoch", "device_seconds", "flop_at_most", "flop_claimed",
    "ended", "detail", "first", "last",
)  # fmt: skip


class Flop(click.ParamType[float]):
    """A number of operations, such as 3e21."""

    name = "flop"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            self.fail(f"{value!r} is no number of operations, such as 3e21", param, ctx)
        return number


@dataclass(frozen=True)
class Ledger:
    """A run's compute, from its log alone."""

    found: Replay = field(repr=False)
    rows: Sequence[Row]
    peak: float | None
    """FLOP of one device-second at its best; None where the run was opened without measuring it."""
    peak_how: str
    declared: Declared

    @property
    def gross(self) -> Amount:
        """Everything that the meter charged, and everything that was claimed."""
        seconds = sum(row.device_seconds for row in self.rows)
        claims = [row.flop_claimed for row in self.rows if row.flop_claimed is not None]
        return Amount(None if self.peak is None else seconds * self.peak, sum(claims) if claims else None)

    @property
    def counted(self) -> Amount:
        return regulatory.amount(self.rows, self.peak, self.declared)

    def seconds(self, *kinds: str) -> float:
        return sum(row.device_seconds for row in self.rows if row.kind in kinds)

    def record(self) -> dict[str, Any]:
        history, gross = self.found.history, self.gross
        return {
            "run": history.run,
            "entries": len(self.found.log.entries),
            "head": self.found.fingerprint,
            "from": self.found.log.entries[0].time,
            "until": self.found.log.entries[-1].time,
            "flop_per_device_second": self.peak,
            "flop_how": self.peak_how,
            "ceiling": history.state.ceiling.record(),
            "charged": history.state.spent.record(),
            "gross": {
                "device_seconds": round(sum(row.device_seconds for row in self.rows), 3),
                "flop_at_most": gross.at_most,
                "flop_claimed": gross.claimed,
                "by_class": {kind: round(self.seconds(kind), 3) for kind in CLASSES},
            },
            "regulatory": regulatory.record(self.rows, self.peak, self.declared),
            "rows": [{**row.record(self.peak), "regulatory": row.kind in COUNTED} for row in self.rows],
        }


@click.command("ledger")
@run_argument
@click.option("--base", type=Flop(), help="FLOP that trained the model this run begins with, if it begins with one.")
@click.option(
    "--synthetic", type=Flop(), default="0", help="FLOP that made synthetic data outside, discarded included."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
@json_option
def ledger_command(run: str | None, base: float | None, synthetic: float, as_csv: bool, as_json: bool) -> None:
    """Add up the compute of RUN from its log: all of it, against the ceiling; and what counts for regulation.

    The second is by the Commission's method for general-purpose AI models, with its assumptions in --json and in
    docs/ledger.md. The log and its signatures are checked first.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    found = read(Path(find_run(run, quiet=as_json or as_csv)), base, synthetic)
    if as_json:
        emit(found.record())
    elif as_csv:
        write_csv(found)
    else:
        from tenth.cli.record.ledger_table import show

        show(found)


def read(run: Path, base: float | None = None, synthetic: float = 0.0) -> Ledger:
    """Raises BrokenPromise where log, law or signatures do not hold, or the rows do not add up to what was charged."""
    found = replay(run)
    history = found.history
    rows = accounts.rows(found.log.entries, history.charter, run)
    charged, added = history.state.spent.device_seconds, sum(row.device_seconds for row in rows)
    if abs(charged - added) > ROUNDING * (1 + len(rows)):
        raise BrokenPromise(4, "the ledger does not add up", f"{added:g} device-seconds in rows, {charged:g} charged")
    machine = _pinned(run, "manifest.json", history.opened["manifest"])["machine"]
    peak = machine.get("flop_per_device_second")
    sound = isinstance(peak, int | float) and not isinstance(peak, bool) and 0 < peak < float("inf")
    how = str(machine.get("flop_how", "")) if sound else "not measured when this run was opened"
    modifies = base is not None or _begins_with_a_model(run, found)
    return Ledger(found, rows, float(peak) if sound else None, how, Declared(synthetic, base, modifies))


def _pinned(run: Path, name: str, wanted: str) -> dict[str, Any]:
    data = read_plain(run / name)
    if digest(data) != wanted:
        raise BrokenPromise(9, f"{name} is not what the log speaks of", f"digest {digest(data)}")
    return dict(decode(data, name))


def _begins_with_a_model(run: Path, found: Replay) -> bool:
    """By the key of the built-in trainer's recipe, as pinned or as adjusted: what another trainer does is not known."""
    changes = [patch.get("recipe", {}) for _, patch in found.history.patches]
    if any(change.get("model.init") for change in changes):
        return True
    for name, wanted in found.history.opened["recipes"].items():
        data = read_plain(run / name)
        if digest(data) != wanted:
            raise BrokenPromise(9, f"{name} is not what the log speaks of", f"digest {digest(data)}")
        model = tomllib.loads(data.decode()).get("model")
        if isinstance(model, dict) and model.get("init"):
            return True
    return False


def write_csv(found: Ledger) -> None:
    """The rows: those with ``gross`` add up to the one total, those with ``regulatory`` to the other."""
    writer = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in found.rows:
        facts = {"class": row.kind, "gross": 1, "regulatory": int(row.kind in COUNTED), **row.record(found.peak)}
        writer.writerow({name: plain(value) if isinstance(value, str) else value for name, value in facts.items()})
    if found.declared.synthetic:
        flop = found.declared.synthetic
        declared = {"flop_at_most": flop, "flop_claimed": flop, "ended": "declared"}
        writer.writerow({"class": "synthetic", "gross": 0, "regulatory": 1, **declared})
