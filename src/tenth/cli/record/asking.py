"""``witness ask`` and ``witness take``: have the newest head of a run cosigned by its charter's witnesses."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click

from tenth.cli import words
from tenth.cli.find import find_run
from tenth.cli.options import FILE, FOLDER, RUN, dry_run_option, json_option, run_argument
from tenth.cli.outcome import DONE, ERROR, emit
from tenth.encoding import read_plain
from tenth.errors import TenthError, WrongInput
from tenth.sanitise import plain
from tenth.witness.asking import Newest, attempt, by_file, over_http
from tenth.witness.kept import Cosignature


@click.command("ask")
@run_argument
@click.option("--at", "addresses", multiple=True, metavar="NAME=URL", help="Where a witness answers over HTTP.")
@click.option("--to", "folder", type=FOLDER, help="Write a request here for each witness without an address.")
@click.option("--since", type=click.IntRange(0), help="Entries that it has cosigned, if it says so: for --to.")
@dry_run_option
@json_option
def ask(
    run: str | None, addresses: tuple[str, ...], folder: Path | None, since: int | None, dry_run: bool, as_json: bool
) -> int:
    """Have the newest head of RUN cosigned by the witnesses of its charter, over HTTP or through files.

    \b
    tenth witness ask --at wim=http://127.0.0.1:8712
    tenth witness ask --to .       then: tenth witness sign FILE, there; tenth witness take FILE, here
    """
    newest = Newest.of(Path(find_run(run, quiet=as_json)))
    urls = _addresses(addresses, newest)
    if dry_run or not (urls or folder):
        return _explain(newest, urls, dry_run=dry_run, as_json=as_json)
    rows: list[dict[str, object]] = []
    for name, witness in newest.parties.witnesses.items():
        if name in urls:
            rows.append(_row(name, attempt(partial(over_http, newest, witness, urls[name]))))
        elif folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            rows.append({"witness": name, "file": str(by_file(newest, witness, folder, since))})
    refused = any("error" in row for row in rows)
    if as_json:
        emit({"run": newest.name, "entries": len(newest.leaves), "log": newest.parties.log.line, "witnesses": rows})
    else:
        click.echo("\n".join(_line(row) for row in rows))
        if folder is not None and any("file" in row for row in rows):
            click.echo(
                f"\nto be told once to who does not know this log:  tenth witness add '{newest.parties.log.line}'"
            )
    return ERROR if refused else DONE


def _addresses(given: tuple[str, ...], newest: Newest) -> dict[str, str]:
    found = {}
    for one in given:
        name, _, url = one.partition("=")
        if not url or name not in newest.parties.witnesses:
            known = words.names(newest.parties.witnesses)
            raise WrongInput(f"{one!r} is not an address", f"the witnesses are {known}", "write --at NAME=URL")
        found[name] = url
    return found


def _explain(newest: Newest, urls: dict[str, str], *, dry_run: bool, as_json: bool) -> int:
    names = words.names(newest.parties.witnesses)
    if not dry_run:
        raise WrongInput(
            "nobody was asked", f"where {names} can be reached was not said", "--at NAME=URL, or --to FOLDER"
        )
    if as_json:
        emit(
            {"would": "ask", "witnesses": sorted(newest.parties.witnesses), "at": urls, "log": newest.parties.log.line}
        )
    else:
        click.echo(f"would have the head at {len(newest.leaves)} entries cosigned by {names}")
        click.echo(f"the log, for whoever witnesses it:  {newest.parties.log.line}")
    return DONE


def _row(name: str, found: Cosignature | TenthError) -> dict[str, object]:
    if isinstance(found, TenthError):
        return {"witness": name, "error": found.parts()}
    return {"witness": name, "entries": found.checkpoint.size, "time": found.time}


def _line(row: dict[str, object]) -> str:
    name = f"{row['witness']:<12} "
    if "error" in row:
        parts = row["error"]
        assert isinstance(parts, dict)
        return name + plain(f"✗ {parts['refused']}: {parts['found']}") + f"\n{'':<13}  {plain(parts['do'])}"
    if "file" in row:
        return name + plain(f"→ {row['file']}")
    return f"{name}✓ has cosigned {row['entries']:,} entries"


@click.command("take")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--run", "run", type=RUN, help="The run they are about. Default: as for the other verbs.")
@dry_run_option
@json_option
def take(files: tuple[Path, ...], run: str | None, dry_run: bool, as_json: bool) -> None:
    """Keep the cosigned heads in FILES beside the log of a run. Each is checked first."""
    newest = Newest.of(Path(find_run(run, quiet=as_json)))
    rows = []
    for path in files:
        for one, fresh in newest.take(read_plain(path), time.time(), str(path), keep=not dry_run):
            rows.append({"witness": one.witness.name, "entries": one.checkpoint.size, "kept": fresh})
    if as_json:
        emit({"run": newest.name, "taken": rows})
        return
    for row in rows:
        verb = "would be kept" if dry_run else "kept" if row["kept"] else "not kept, a newer one is there"
        click.echo(f"{row['witness']}'s cosignature under {row['entries']:,} entries: {verb}")
