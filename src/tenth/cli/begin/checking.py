"""``check``: lint a charter, and say in plain words what it will mean on this machine."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from tenth import charter as charters
from tenth import peak
from tenth.charter import LEVELS, Charter, Phase
from tenth.cli import ours, words
from tenth.cli.begin import advice
from tenth.cli.begin.beginning import PURPOSE
from tenth.cli.options import json_option
from tenth.cli.outcome import emit
from tenth.errors import BadCharter, RunRefused, WrongInput
from tenth.gate.lease import SLACK
from tenth.gate.sealing import data_files
from tenth.probes.outside import LEFT_OPEN, Probe, held, probe
from tenth.quarantine import leash, sandbox
from tenth.sanitise import plain
from tenth.trainer.errors import RecipeError
from tenth.trainer.recipe import load_recipe

ALWAYS = (
    "no privileges gained, no capabilities, no core dumps",
    "the whole tree is stopped as one, dies with the supervisor, and its compute is measured from outside",
)
WORDS = {
    "full": (
        "no network and no socket of any other program",
        "reads only the programs of the system, the charter's folder and its data; writes only its work folder",
        "no sight of keys, log, control socket, other runs",
        "no signal to any other process",
        "no sight of any other process",
        "no system call that has been a way out of a sandbox",
        *ALWAYS,
    ),
    "none": ALWAYS,
}
WORDS["partial"] = tuple(word for word in WORDS["full"] if word != "no sight of any other process")
"""What each level means, in plain words; the probes hold it to them."""


@click.command("check")
@click.argument("charter", type=click.Path(path_type=Path), default="charter.toml")
@json_option
def check_command(charter: Path, as_json: bool) -> None:
    """Say what CHARTER means: what will be enforced on this machine, and what cannot be.

    Exit code 1: it cannot start here.
    """
    agreed = load(charter)
    data = [documents(charter.resolve().parent, phase) for phase in agreed.phases]
    found, holds = probe(), sandbox.means(leash.cgroup_parent() is not None)
    if as_json:
        emit(_record(agreed, data, holds, found))
    else:
        _print(agreed, data, holds, found)
    startable(agreed, found)


def load(path: Path) -> Charter:
    """Read and lint; the placeholder of ``init`` is not a purpose, and everything that it names must be there."""
    if path.is_dir():
        path = path / "charter.toml"
    try:
        agreed = charters.parse(path.read_bytes())
    except OSError as error:
        raise BadCharter(f"{path} cannot be read", error.strerror or str(error), "'tenth init' writes one") from None
    if agreed.purpose.strip() == PURPOSE:
        raise BadCharter(
            "the charter is refused", "its purpose is still the example's", "say in it what the model is for"
        )
    for phase in agreed.phases:
        if not (path.resolve().parent / phase.recipe).is_file():
            raise BadCharter(
                "the charter is refused", f"the recipe {phase.recipe} is not beside it", "'tenth init' writes one"
            )
        if verb := ours.verb(phase):
            _readable(path.resolve().parent / phase.recipe, phase, verb, agreed.quarantine.jail)
    return agreed


def _readable(recipe: Path, phase: Phase, verb: str, jail: int) -> None:
    """Our trainer would refuse it at its first tenth, when everyone has consented to all that comes before."""
    try:
        load_recipe(recipe)
    except RecipeError as error:
        raise BadCharter(
            f"the recipe {phase.recipe} of phase '{phase.name}' is refused", error.found, error.do
        ) from None
    if verb == "selfplay" and not jail:
        found = f"phase '{phase.name}' runs what a model writes, and no jail is given"
        raise BadCharter(
            "the charter is refused", found, "write 'jail = 1' in [quarantine], or 2 where there are cores"
        )


def startable(agreed: Charter, found: list[Probe]) -> None:
    """Raises what would keep a run of this charter from starting here."""
    sandbox.require(agreed.quarantine)
    if LEVELS.index(held(found)) < LEVELS.index(agreed.quarantine.level):
        raise RunRefused(
            f"quarantine level '{agreed.quarantine.level}' cannot be held",
            f"an attempt to escape got out: {', '.join(one.name for one in found if not one.contained)[:200]}",
            "'tenth probe' shows what it met; report it, and agree on a lower level or another machine",
        )
    if agreed.watch.alarms and find_spec("numpy") is None:
        missing = "the charter wants them, and numpy is not installed here"
        raise WrongInput("alarms cannot be looked for", missing, "pip install 'tenth[trainer]'")
    for what, command in [(f"phase '{p.name}'", p.command) for p in agreed.phases] + [
        (f"evidence '{e.name}'", e.command) for e in agreed.evidence
    ]:
        path = f"{Path(sys.prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        if shutil.which(command[0], path=path) is None:
            do = (
                "pip install 'tenth[trainer]'" if command[0].startswith("tenth-") else "install it, or mend the charter"
            )
            raise WrongInput(f"{what} cannot start", f"there is no program '{plain(command[0], limit=80)}' here", do)


def documents(root: Path, phase: Phase) -> dict[str, Any]:
    """How much there is to train on."""
    sizes = [file.stat().st_size for _, file in data_files(root, phase.data)]
    if not sizes:
        raise BadCharter(
            "the charter is refused", f"the data of phase '{phase.name}' holds no documents", "mend its 'data'"
        )
    return {"phase": phase.name, "files": len(sizes), "bytes": sum(sizes)}


def _limits(agreed: Charter) -> dict[str, float]:
    """What one lease may use beyond what was spent before."""
    share = min(1.0, SLACK / agreed.gates)
    return {name: value * share for name, value in agreed.ceiling.record().items()}


def _record(
    agreed: Charter, data: list[dict[str, Any]], holds: list[dict[str, Any]], found: list[Probe]
) -> dict[str, Any]:
    return {
        "name": agreed.name,
        "purpose": agreed.purpose,
        "digest": agreed.digest,
        "gates": agreed.gates,
        "data": data,
        "ceiling": agreed.ceiling.record(),
        "peak": peak.of_this_machine(agreed.quarantine.gpus),
        "lease": _limits(agreed),
        "level": {"wanted": agreed.quarantine.level, "holds": held(found)},
        "protections": holds,
        "signatories": sorted(agreed.signatories),
        "watchers": sorted(agreed.watchers),
        "witnesses": sorted(agreed.witnesses),
        "probes": [one.record() for one in found],
        "can_start": LEVELS.index(held(found)) >= LEVELS.index(agreed.quarantine.level),
    }


def _print(agreed: Charter, data: list[dict[str, Any]], holds: list[dict[str, Any]], found: list[Probe]) -> None:
    click.secho(f"{agreed.name}", bold=True, nl=False)
    click.echo(f"   {plain(agreed.purpose, limit=400)}")
    click.echo(f"charter {agreed.digest[:16]}…")
    _heading("Training")
    for phase, files in zip(agreed.phases, data, strict=True):
        epochs = words.count(phase.epochs, "epoch")
        click.echo(f"  {phase.name}: {epochs} over {words.count(files['files'], 'file')}, {words.size(files['bytes'])}")
        click.echo(f"    runs: {plain(' '.join(phase.command), limit=200)}")
    click.echo(
        f"  {words.count(agreed.gates, 'tenth')}, a gate before each and one at the end: {agreed.gates + 1} in all"
    )
    _heading("Compute")
    for name, unit in (
        ("device_seconds", "device-seconds, measured from outside"),
        ("flop", "FLOP: device-seconds times the measured peak of a device"),
    ):
        most, each = agreed.ceiling.record()[name], _limits(agreed)[name]
        click.echo(f"  at most {words.amount(most)} {unit}; {words.amount(each)} in one lease")
    fastest = peak.of_this_machine(agreed.quarantine.gpus)
    per_second, ceiling = fastest["flop_per_device_second"], agreed.ceiling
    click.echo(f"  a device here: {words.amount(per_second)} FLOP a second ({fastest['flop_how']})")
    if ceiling.flop < ceiling.device_seconds * per_second:
        click.secho(
            f"  so the FLOP end it first, after {words.seconds(ceiling.flop / per_second)} device-seconds", fg="yellow"
        )
    _print_people(agreed)
    if agreed.seal.checkpoints:
        alone = "the escrow key opens them alone" if agreed.seal.escrow else "a lost key loses them: there is no escrow"
        click.echo(f"  between gates, checkpoints lie encrypted: everyone's share opens them, and {alone}")
    _heading("Evidence at each gate")
    for panel in agreed.evidence:
        click.echo(f"  {panel.name}: {plain(' '.join(panel.command), limit=200)}")
    if not agreed.evidence:
        click.echo("  none: people would decide on loss and samples alone")
    _heading(f"Enforced on this machine (level asked for: {agreed.quarantine.level}, held here: {held(found)})")
    held_to = agreed.quarantine
    memory = "" if held_to.memory_bytes == float("inf") else f", {words.size(held_to.memory_bytes)} of memory"
    click.echo(f"  at most {held_to.processes:,} processes, {words.size(held_to.output_bytes)} of output{memory}")
    for word in WORDS[sandbox.level()]:
        click.echo(f"  ✓ {word}")
    contained = sum(one.contained for one in found)
    click.echo(f"  ✓ {contained} of {len(found)} attempts to escape were contained just now ('tenth probe' shows them)")
    means = [f"{one['name']} ({one['how']})" for one in holds if one["holds"]]
    click.echo(f"  by {', '.join(means)}")
    _heading("Not enforced on this machine")
    for escape in (one for one in found if not one.contained):
        known = ", as is known of this level" if escape.name in LEFT_OPEN[sandbox.level()] else ""
        click.secho(f"  ✗ an attempt got out{known}: {escape.name}  ({plain(escape.what, limit=80)})", fg="yellow")
    for word in (word for word in WORDS["full"] if word not in WORDS[sandbox.level()]):
        click.secho(f"  ✗ {word}", fg="yellow")
    for what, do in advice.advice(advice.of_this_machine()):
        click.secho(f"  ✗ {what}", fg="yellow")
        click.echo(f"    → {do}")
    click.echo("  ✗ whoever is root here, or the user who runs the supervisor, can do anything")


def _print_people(agreed: Charter) -> None:
    _heading("People")
    click.echo(f"  must all consent to each tenth: {words.names(agreed.signatories)}")
    click.echo(f"  can each stop it at any time:   {words.names([*agreed.signatories, *agreed.watchers])}")
    if agreed.witnesses:
        click.echo(f"  keep heads of the log:          {words.names(agreed.witnesses)} ('tenth witness')")
    waits = "stands still" if agreed.watch.unwatched == "wait" else "goes on"
    click.echo(f"  while nobody watches, the run {waits}")
    if agreed.watch.alarms:
        click.echo(f"  alarms of {words.names(agreed.watch.alarms)} pull the cord; so does the end of their watcher")


def _heading(text: str) -> None:
    click.secho(f"\n{text}", bold=True)
