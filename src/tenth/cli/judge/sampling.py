"""``audit``: the samples that `tenth-evidence stream` has drawn at random, to be judged one by one."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
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
        emit({"waiting": [one.shown for one in left]})
        return DONE
    said: list[tuple[Waiting, str]] = []
    try:
        for number, one in enumerate(left, 1):
            sample = one.shown
            click.secho(f"\n{number} of {len(left)}   gate {sample['gate']}, step {sample['step']}", bold=True)
            click.echo(plain(sample["prompt"] + sample["text"], lines=True, limit=WIDEST))
            verdict = click.prompt(
                "fine, flag or skip", type=click.Choice(["fine", "flag", "skip"]), show_choices=False
            )
            if verdict != "skip":
                _keep(path, sample, name or pull.user_name(), verdict)
                said.append((one, verdict))
    except click.Abort:
        click.echo()
    click.echo(f"{words.count(len(said), 'sample')} judged, {len(left) - len(said)} left")
    if planted := [verdict for one, verdict in said if one.planted]:
        click.echo(
            f"{len(planted)} of them were planted, to see whether anybody looks; flagged: {planted.count('flag')}"
        )
    return DONE


@dataclass(frozen=True)
class Waiting:
    """A sample that is to be judged. Whether it was planted is said when that is done."""

    shown: dict[str, Any]
    planted: bool


def waiting(run: Path) -> Iterator[Waiting]:
    """What was drawn or planted at any gate, and nobody has judged: each sample once, by gate, and then by digest."""
    done = {row["sample"] for row in _rows(run / REVIEWS) if row["verdict"] in ("fine", "flag")}
    for file in sorted(run.glob("gates/*/evidence/*/drawn.json")):
        found = json.loads(file.read_bytes())
        lines = {one["sample"]: _line(run, one) for one in found["drawn"]}
        planted = {one["sample"]: one["line"].encode() for one in found.get("planted", ())}
        for digest, line in sorted({**lines, **planted}.items()):
            if digest not in done and hashlib.sha256(line).hexdigest() == digest:
                done.add(digest)
                sample = json.loads(line)
                shown = {name: sample[name] for name in ("gate", "step", "prompt", "text")}
                yield Waiting({"sample": digest, **shown}, planted=digest in planted)


def _line(run: Path, one: dict[str, Any]) -> bytes:
    return (run / str(one["shard"])).read_bytes().split(b"\n")[int(one["line"])]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []


def _keep(run: Path, one: dict[str, Any], by: str, verdict: str) -> None:
    """As the control room does."""
    row = {"by": by, "time": timestamp(time.time()), "verdict": verdict, "note": "", "sample": one["sample"]}
    with (run / REVIEWS).open("ab") as file:
        file.write(canonical({**row, "gate": one["gate"], "step": one["step"]}) + b"\n")
