"""``verify`` and ``export``: replay a run offline, or pack it for an auditor who trusts nobody who took part."""

from __future__ import annotations

from pathlib import Path

import click

from tenth.cli import words
from tenth.cli.find import find_run
from tenth.cli.gate import packs
from tenth.cli.options import FILE, dry_run_option, json_option, run_argument
from tenth.cli.outcome import emit
from tenth.cli.record import witnesses
from tenth.cli.replay import audit, replay
from tenth.sanitise import plain
from tenth.verify import Report
from tenth.witness.kept import FILE as COSIGNATURES

README = """\
This is the auditor's pack of the run {run}, as it was at {entries} log entries.

To check it, unpack it and replay log, law and signatures:

  tenth verify {run}                 with tenth installed
  python verify_run.py {run}         with tenth's second verifier: one file that shares no code with the first

Both name the first promise that is broken, and both must print this head (the root of the log's Merkle tree):

  {head}

A pack that verifies and shows another head is another history: compare it with a head that somebody else has kept.

To check by hand, with nothing of tenth's:

  log/entries.jsonl   one event a line; the leaves of an RFC 6962 Merkle tree (SHA-256)
  log/heads           the signed summaries: C2SP signed notes, Ed25519, under the key in entry 0 ("log_key")
  log/cosignatures    if there are witnesses: the newest head that each cosigned (C2SP tlog-cosignature)
  gates/*/dossier.json  what was signed: its SHA-256 is in the 'sealed' entry, and the subject of every consent
  consents            the "envelope" of each 'consented' entry: DSSE, Ed25519, keys in charter.toml
  checkpoints, evidence, samples  their SHA-256 are in the dossiers and entries

docs/formats.md of tenth gives every byte. Not in here: the key of the log, and the trainer's work folder. Files below
samples/ hold what the model wrote, raw: do not print them to a terminal.
"""


@click.command("verify")
@run_argument
@click.option(
    "--witness",
    "heads",
    is_flag=False,
    flag_value="",
    multiple=True,
    metavar="[FILE]",
    help="Every witness of the charter must have cosigned; with FILE, the log must go on from the head in it: a"
    " witness's memory, a cosigned head, or one copied from log/heads.",
)
@json_option
def verify_command(run: str | None, heads: tuple[str, ...], as_json: bool) -> None:
    """Replay log, law and signatures of RUN, offline, and check every digest. Exit code 5: a promise is broken.

    What witnesses have cosigned, as kept in log/cosignatures, is checked always.
    """
    if run is None and (named := [one for one in heads if one and not Path(one).is_file()]):  # verify --witness RUN
        run, heads = named[0], tuple("" if one == named[0] else one for one in heads)
    path = Path(find_run(run, quiet=as_json))
    kept = witnesses.read(path)  # before the log, which only grows
    report = audit(path)
    seen = witnesses.check(path, report, kept, heads)
    if as_json:
        emit({**record(report), "witnesses": witnesses.records(seen, report)})
    else:
        click.echo("\n".join(lines(report) + witnesses.lines(seen, report)))


def record(report: Report) -> dict[str, object]:
    return {
        "verifies": True,
        "run": report.run,
        "entries": report.entries,
        "heads": report.heads,
        "stance": report.stance,
        "gate": report.gate,
        "gates": report.gates,
        "head": report.fingerprint,
        "notes": list(report.notes),
    }


def lines(report: Report) -> list[str]:
    """A run that verifies, in a few lines."""
    history = report.history
    people = words.names(history.charter.signatories)
    halts = words.count(len(history.halts), "halt") + " since the last gate"
    found = [
        f"{report.run} verifies: no promise that can be checked offline is broken",
        f"  log        {report.entries:,} entries under {report.heads:,} signed heads, in order, none missing",
        f"  law        gate {report.gate} of {report.gates}, {report.stance}; {halts}",
        f"  people     every tenth was consented to by {people}",
        f"  compute    {words.amount(history.state.spent.device_seconds)} device-seconds, within the ceiling",
        "  files      charter, recipe, data listing, dossiers, evidence, checkpoints and samples are those on record",
        f"  head       {report.fingerprint}",
    ]
    return found + [f"  note       {plain(note)}" for note in report.notes]


@click.command("export")
@run_argument
@click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="Where to write it: .zip or .tar.gz.")
@dry_run_option
@json_option
def export_command(run: str | None, output: Path, dry_run: bool, as_json: bool) -> None:
    """Write the auditor's pack of RUN: everything that the log speaks of, and how to check it. Verified first."""
    path = Path(find_run(run, quiet=as_json))
    kept = witnesses.read(path)
    report = audit(path)
    witnesses.check(path, report, kept, ())
    found = replay(path)
    files = list(packs.audit_files(found))
    total = sum(file.stat().st_size for _, file in files)
    facts: dict[str, object] = {"run": report.run, "pack": str(output), "files": len(files), "head": found.fingerprint}
    if dry_run:
        text = f"would write {output}: {len(files)} files, {words.size(total)} before compression"
        emit({"would": text, **facts}) if as_json else click.echo(text)
        return
    readme = README.format(run=report.run, entries=len(found.log.entries), head=found.fingerprint)
    packs.write(output, found, iter(files), readme, {f"log/{COSIGNATURES}": kept} if kept else {})
    facts["bytes"] = output.stat().st_size
    if as_json:
        emit(facts)
    else:
        click.echo(f"wrote {output}: {len(files)} files, {words.size(output.stat().st_size)}; it verifies")
        click.echo(f"head of the log, for the auditor to compare: {found.fingerprint}")
