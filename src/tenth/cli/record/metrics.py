"""``metrics``: a run's curves, handed to a tracker. Outside the quarantine, and from the run's folder alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from tenth.cli.find import find_run, is_live
from tenth.cli.options import FOLDER, json_option, run_argument
from tenth.cli.outcome import DONE, emit
from tenth.sinks import SINKS, Reader, Sink, open_sink
from tenth.sinks.reader import newest

POLL_SECONDS = 1.0


@click.command("metrics")
@run_argument
@click.option("--to", "sink", required=True, type=click.Choice(list(SINKS)), help="The tracker to write for.")
@click.option("--out", type=FOLDER, default=Path("metrics"), show_default=True, help="The folder to write into.")
@click.option("--follow", is_flag=True, help="Go on while the run lives.")
@json_option
def metrics_command(run: str | None, sink: str, out: Path, follow: bool, as_json: bool) -> int:
    """Write what RUN's trainer reported to a tracker: every step, spikes included.

    What the trainer reported are its claims. Names beginning with tenth/ come from the supervisor: device-seconds,
    gates and halts.
    """
    path = find_run(run, quiet=as_json)
    reader, writer = Reader(Path(path)), open_sink(sink, out, os.path.basename(path))
    try:
        count = _follow(reader, writer, path) if follow else _once(reader, writer)
    finally:
        writer.close()
    if as_json:
        emit({"steps": count, "open": writer.where})
    else:
        click.echo(f"{count} {'step' if count == 1 else 'steps'} written: {writer.where}")
    return DONE


def _once(reader: Reader, writer: Sink) -> int:
    points = newest(reader.new())
    for point in points:
        writer.write(point)
    return len(points)


def _follow(reader: Reader, writer: Sink, path: str) -> int:
    """Until nobody holds the run any more, or Ctrl-C."""
    count = 0
    try:
        while True:
            held = is_live(path)
            for point in newest(reader.new()):
                writer.write(point)
                count += 1
            if reader.closed or not held:
                return count
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return count
