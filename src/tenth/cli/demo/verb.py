"""``demo``: train a small code model under the whole law, watch it, and see forgeries caught."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from tenth.cli.demo import tamper
from tenth.cli.demo.folder import MARK, Plan, claim, need_trainer
from tenth.cli.demo.full import plan as whole
from tenth.cli.demo.stage import play
from tenth.cli.find import is_live, runs_under
from tenth.cli.live.screen import on_terminal
from tenth.cli.options import FILE, FOLDER, dry_run_option, json_option
from tenth.cli.outcome import BROKEN, DONE, emit
from tenth.cli.serving import beside
from tenth.errors import WrongInput


@click.command("demo")
@click.option("--folder", type=FOLDER, default="tenth-demo", show_default=True, help="Where the demo lies.")
@click.option(
    "--full", is_flag=True, help="Four phases, some fifteen minutes: source, worked puzzles, self-play, feedback."
)
@click.option("--interactive", is_flag=True, help="Be one of the signatories: each gate waits for you.")
@click.option(
    "--tamper", "tampering", is_flag=True, help="Afterwards, or on a finished demo: forge its record, and verify."
)
@click.option("--serve", is_flag=True, help="Show it in a browser, too: the control room.")
@click.option("--record", type=FILE, hidden=True, help="Keep the messages of the control socket, for a picture.")
@dry_run_option
@json_option
def demo_command(
    folder: Path,
    full: bool,
    interactive: bool,
    tampering: bool,
    serve: bool,
    record: Path | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Train a small code model under the whole law, and watch: about six minutes on two cores.

    It is trained on the source of the Python standard library that runs it, for one epoch of ten tenths. Three
    signatories with throw-away keys consent by themselves, and are labelled as automatic. At the fourth tenth a watcher
    pulls the cord; the run halts, everyone consents again, and it goes on. Nothing leaves this machine.

    With --full the charter has three more phases of ten tenths: puzzles with their solutions, self-play in a jail, and
    pairs that simulated annotators judge and a signatory seals. At the end it says what each phase did.
    """
    if dry_run:
        text = f"would train a model on Python's standard library below {folder}" + ", in four phases" * full
        emit({"would": text}) if as_json else click.echo(text)
        return DONE
    folder = folder.resolve()
    finished = [Path(run).resolve() for run in runs_under(str(folder / "runs")) if not is_live(run)]
    if tampering and not interactive and (folder / MARK).exists() and any(map(_trained, finished)):
        return _tamper(next(filter(_trained, finished)))
    if interactive and not on_terminal():
        raise WrongInput("the demo was not begun", "there is no terminal to ask you on", "leave out --interactive")
    need_trainer()
    claim(folder)
    plan = (whole if full else Plan)(folder, interactive=interactive, record=record)
    with beside(plan.runs, plan.viewer) if serve else nullcontext("") as link:
        if link:
            click.echo(f"The control room, for one browser:\n  {link}", err=as_json)
        code, run = play(plan, as_json=as_json)
        if link and on_terminal() and not as_json:
            click.prompt("Enter ends the control room", default="", show_default=False, prompt_suffix="")
    if tampering and code == DONE:
        return _tamper(run)
    return code


def _trained(run: Path) -> bool:
    return sum(1 for _ in (run / "checkpoints").iterdir()) > 1


def _tamper(run: Path) -> int:
    return DONE if tamper.show(run) else BROKEN
