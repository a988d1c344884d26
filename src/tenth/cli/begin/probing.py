"""``probe``: try to get out of the quarantine of this machine, and say what held."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from tenth.cli.begin import advice
from tenth.cli.options import json_option
from tenth.cli.outcome import DONE, ERROR, emit
from tenth.probes.outside import LEFT_OPEN, Probe, held, probe, probe_jail
from tenth.quarantine import sandbox
from tenth.sanitise import plain

MEANS = {
    "full": "bubblewrap and a system-call filter",
    "partial": "Landlock and a system-call filter",
    "none": "nothing of what is needed",
}


@click.command("probe")
@click.option("--verbose", "-v", is_flag=True, help="Show every attempt and what it met.")
@click.option("--markdown", is_flag=True, help="Print the matrix as docs/threat-model.md has it.")
@json_option
def probe_command(verbose: bool, markdown: bool, as_json: bool) -> int:
    """Run every escape attempt that tenth knows against this machine's sandbox, and against the jail inside it.

    The sandbox keeps trainers in; the jail, programs that a model wrote.

    Harmless: nothing outside is changed, whatever succeeds. Exit code 1: something got out that should not have.
    """
    begun = time.monotonic()
    kept_in, jailed = probe(), probe_jail() if sandbox.level() != "none" else []
    found, level, seconds = [*kept_in, *jailed], held(kept_in), time.monotonic() - begun
    if as_json:
        emit({"level": level, "seconds": round(seconds, 3), "probes": [one.record() for one in found]})
    elif markdown:
        click.echo("\n".join(table(found)))
    else:
        _print(found, level, seconds, verbose)
    return DONE if level == sandbox.level() != "none" and all(one.contained for one in jailed) else ERROR


def _print(found: Sequence[Probe], level: str, seconds: float, verbose: bool) -> None:
    contained = sum(one.contained for one in found)
    click.secho(f"{contained} of {len(found)} attempts contained", bold=True, nl=False)
    click.echo(f" in {seconds:.1f} s; this machine holds level '{level}' ({MEANS[sandbox.level()]})")
    for about in dict.fromkeys(one.about for one in found):
        group = [one for one in found if one.about == about]
        click.echo(f"  {about:<12}{sum(one.contained for one in group)} of {len(group)} contained")
        for one in group:
            expected = one.name in LEFT_OPEN[sandbox.level()]
            if not one.contained:
                note = " (known: docs/threat-model.md)" if expected else ""
                click.secho(f"    ✗ {one.name}{note}: {plain(one.what, limit=80)}", fg="yellow" if expected else "red")
            elif verbose:
                click.echo(f"    ✓ {one.name}: {plain(one.what, limit=80)}")
    for what, do in advice.advice(advice.of_this_machine()):
        click.secho(f"\n✗ {what}", fg="yellow")
        click.echo(f"  → {do}")


def table(found: Sequence[Probe]) -> list[str]:
    """Rows of a markdown table: one for each subject."""
    rows = ["| Attempts at | contained | not contained |", "|---|---|---|"]
    for about in dict.fromkeys(one.about for one in found):
        group = [one for one in found if one.about == about]
        out = ", ".join(one.name for one in group if not one.contained) or "–"
        rows.append(f"| {about} | {sum(one.contained for one in group)} of {len(group)} | {out} |")
    return rows
