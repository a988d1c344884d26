"""``run``: begin a run from a charter, or go on with one, under a supervisor of its own; and watch it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tenth.cli import pull
from tenth.cli.begin import holding
from tenth.cli.begin.checking import documents, load, startable
from tenth.cli.find import RUNS, find_run, is_run
from tenth.cli.live.standing import status_lines, status_of
from tenth.cli.live.watching import Watch, ended
from tenth.cli.options import FOLDER, dry_run_option, json_option, name_option
from tenth.cli.outcome import DONE, HALTED, STANCE_EXIT, emit
from tenth.errors import RunRefused
from tenth.probes.outside import probe


@click.command("run")
@click.argument("charter", metavar="CHARTER|RUN", default="charter.toml")
@click.option("--runs", type=FOLDER, default=RUNS, show_default=True, help="Where run directories are made.")
@click.option(
    "--exit-at-gate", is_flag=True, help="End with exit code 3 when people must decide, 4 when the run is halted."
)
@click.option("--detach", is_flag=True, help="Start it, and give the shell back.")
@name_option
@dry_run_option
@json_option
def run_command(
    charter: str, runs: Path, exit_at_gate: bool, detach: bool, name: str | None, dry_run: bool, as_json: bool
) -> int:
    """Begin a run from CHARTER, or go on with RUN, and watch it.

    The supervisor has a session of its own: leaving with q, or closing the terminal, does not stop it. Ctrl-C pulls the
    cord; a second Ctrl-C makes the supervisor leave as well.
    """
    fresh = _is_charter(charter)
    if fresh:
        path = Path(charter) / "charter.toml" if os.path.isdir(charter) else Path(charter)
        agreed = load(path)
        found = probe()
        startable(agreed, found)
        if dry_run:
            data = [documents(path.resolve().parent, phase) for phase in agreed.phases]
            return _would(
                f"would open a run of {path} below {runs}/", {"charter": agreed.digest, "data": data}, as_json
            )
        run = holding.open_run(path, runs, found)
    else:
        run = Path(find_run(charter, folder=str(runs), quiet=as_json))
        if dry_run:
            return _would(f"would go on with {run}", {"run": str(run)}, as_json)
    process = holding.start(run, exit_at_gate=exit_at_gate)
    if process.poll() is not None:  # people had to act at once
        return _stands(run, as_json)
    if detach:
        if as_json:
            emit({"run": run.name, "path": str(run), "supervisor": process.pid})
        else:
            click.echo(
                f"{run.name} is held by process {process.pid}: {run}\nnext: tenth status, tenth review, tenth watch"
            )
        return DONE
    if not as_json:
        click.echo(f"{run.name}: {run}", err=True)
    try:
        return _follow(run, process.pid, name or pull.user_name(), as_json=as_json)
    except RunRefused:
        if not exit_at_gate or process.wait(timeout=5) not in (0, 3, 4):
            raise
        return _stands(run, as_json)  # it ended in order before we were let in


def _is_charter(wanted: str) -> bool:
    if os.path.isdir(wanted):
        return not is_run(wanted) and os.path.isfile(os.path.join(wanted, "charter.toml"))
    return os.path.isfile(wanted) or wanted.endswith(".toml")


def _stands(run: Path, as_json: bool) -> int:
    status = status_of(str(run))
    emit(status) if as_json else click.echo("\n".join(status_lines(status)))
    return STANCE_EXIT.get(status["stance"], DONE)


def _would(text: str, facts: dict[str, object], as_json: bool) -> int:
    emit({"would": text, **facts}) if as_json else click.echo(text)
    return DONE


def _follow(run: Path, pid: int, name: str, *, as_json: bool) -> int:
    """Watch until the run is over, the supervisor ends, or the person leaves."""
    strikes = 0

    def interrupted() -> None:
        nonlocal strikes
        strikes += 1
        if strikes == 1:
            watch.cord()
            watch.say("the cord is pulled; Ctrl-C again makes the supervisor leave", alarm=True)
        else:
            holding.dismiss(pid)

    watch = Watch(str(run), name, as_json=as_json, interrupted=interrupted)
    watch.follow()
    code = ended(watch, as_json=as_json)
    if watch.left:
        return DONE
    if strikes > 1:
        return HALTED
    return STANCE_EXIT.get(watch.following.stance, code)
