"""``audit``: the samples that `tenth-evidence stream` has drawn at random, to be judged one by one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tenth.cli import pull, words
from tenth.cli.find import find_run
from tenth.cli.options import json_option, name_option, run_argument
from tenth.cli.outcome import DONE, emit
from tenth.encoding import canonical
from tenth.log.entry import timestamp
from tenth.sanitise import plain

REVIEWS = "reviews.jsonl"
WIDEST = 20_000
"""Characters of a sample that are shown."""


@click.command("audit")
@run_argument
@name_option
@json_option
def audit_command(run: str | None, name: str | None, as_json: bool) -> int:
    """Judge the samples of RUN that were drawn at random: fine, or flagged.

    What you say is kept beside the run; the evidence of the next gate counts it. With --json, list what is left.
    """
    path = Path(find_run(run, quiet=as_json))
    left = list(waiting(path))
    if as_json:
        emit({"waiting": left})
        return DONE
    said = 0
    try:
        for number, one in enumerate(left, 1):
            click.secho(f"\n{number} of {len(left)}   gate {one['gate']}, step {one['step']}", bold=True)
            click.echo(plain(one["prompt"] + one["text"], lines=True, limit=WIDEST))
            verdict = click.prompt(
                "fine, flag or skip", type=click.Choice(["fine", "flag", "skip"]), show_choices=False
            )
            if verdict != "skip":
                _keep(path, one, name or pull.user_name(), verdict)
                said += 1
    except click.Abort:
        click.echo()
    click.echo(f"{words.count(said, 'sample')} judged, {len(left) - said} left")
    return DONE


def waiting(run: Path) -> Iterator[dict[str, Any]]:
    """What was drawn at any gate, and nobody has judged; each sample once, in the order of gates."""
    done = {row["sample"] for row in _rows(run / REVIEWS) if row["verdict"] in ("fine", "flag")}
    for file in sorted(run.glob("gates/*/evidence/*/drawn.json")):
        for one in json.loads(file.read_bytes())["drawn"]:
            line = (run / one["shard"]).read_bytes().split(b"\n")[one["line"]]
            if one["sample"] not in done and hashlib.sha256(line).hexdigest() == one["sample"]:
                done.add(one["sample"])
                sample = json.loads(line)
                yield {"sample": one["sample"], **{name: sample[name] for name in ("gate", "step", "prompt", "text")}}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []


def _keep(run: Path, one: dict[str, Any], by: str, verdict: str) -> None:
    """As the control room does."""
    row = {"by": by, "time": timestamp(time.time()), "verdict": verdict, "note": "", "sample": one["sample"]}
    with (run / REVIEWS).open("ab") as file:
        file.write(canonical({**row, "gate": one["gate"], "step": one["step"]}) + b"\n")
