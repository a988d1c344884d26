"""``feedback``: judge samples in the terminal, see how far people agree, export data sets, seal a batch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import click

from tenth import charter as charters
from tenth.charter import Charter, Phase
from tenth.cli import ours, words
from tenth.cli.find import find_run
from tenth.cli.gate import changing
from tenth.cli.live.screen import on_terminal
from tenth.cli.options import (
    FILE,
    Signing,
    dry_run_option,
    json_option,
    key_options,
    note_option,
    run_argument,
    signing_options,
)
from tenth.cli.outcome import DONE, emit
from tenth.cli.people import Chosen, key_folder, signer, unlock
from tenth.errors import BadKey, WrongInput
from tenth.feedback import batch, pairs
from tenth.feedback.agreement import agreement
from tenth.feedback.desk import Annotator, Desk, people
from tenth.feedback.table import Table
from tenth.feedback.views import VIEWS
from tenth.gate.statement import MAX_NOTE
from tenth.keys import SigningKey

view_option = click.option(
    "--view", type=click.Choice(list(VIEWS)), default="dpo", show_default=True, help="Which data set."
)
output_option = click.option("-o", "--output", type=FILE, required=True, help="A .jsonl or .parquet file to write.")


READ_BY: Mapping[str | None, str | None] = {
    "pretrain": None, "sft": "sft", "dpo": "dpo", "kto": "kto", "selfplay": "grades",
}  # fmt: skip
"""Verb -> the view that a phase of it reads."""


class AskFirst(click.Group):
    """Without a verb of its own, ``tenth feedback RUN`` asks."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if known else ["ask", *args])


@click.group("feedback", cls=AskFirst)
def feedback_command() -> None:
    """Judge samples, two at a time; see how far people agree; seal what follows for training.

    'tenth feedback RUN' asks; so does the control room. Nothing that is judged enters training before a signatory has
    sealed it at a gate and everyone has consented.
    """


@feedback_command.command("ask")
@run_argument
@click.option("--pairs", "pairs_file", type=FILE, help="Ask about these as well: JSON lines of prompt and completions.")
@click.option("--proposals", "proposals_file", type=FILE, help="Proposals of self-play to grade: JSON lines of text.")
@click.option("--grade", is_flag=True, help="Grade proposals: useful, junk, unsafe.")
@click.option("--add-only", is_flag=True, help="Add what the files hold, and ask nothing.")
@key_options
def ask(
    run: str | None, pairs_file: Path | None, proposals_file: Path | None, grade: bool, add_only: bool, chosen: Chosen
) -> int:
    """Lay two samples side by side, and ask which is better. One key answers.

    Which model wrote which is not said, and the order is drawn by lot. --as NAME judges under the key NAME of your key
    folder, whether or not the charter lists it.
    """
    desk, charter = _desk(run)
    added = (pairs.of_file(pairs_file) if pairs_file else []) + (
        pairs.proposals(proposals_file) if proposals_file else []
    )
    if added:
        click.echo(f"{words.count(len(set(desk.table.add(added))), 'item')} to judge from files", err=True)
    if add_only:
        return DONE
    if not on_terminal():
        raise WrongInput("nothing was asked", "there is no terminal", "use one, or the control room: tenth serve")
    from tenth.cli.judge.judging import Judging

    who, key = _annotator(charter, chosen)
    made = Judging(Annotator(desk, who, key), "proposal" if grade else "pair").run()
    click.echo(
        f"{words.count(made, 'judgement')} signed by {who}. " + _told(desk.table, "proposal" if grade else "pair")
    )
    return DONE


@feedback_command.command("show")
@run_argument
@json_option
def show(run: str | None, as_json: bool) -> None:
    """Check every signature of the table, and say how far its annotators agree."""
    table = _desk(run)[0].table
    table.update()
    guide = _guide(table)
    if as_json:
        found = {kind: vars(agreement(table.events, table.items, kind)) for kind in ("pair", "proposal")}
        emit(
            {
                "run": table.run,
                "events": table.counts,
                **found,
                "guide": guide and dict(zip(("right", "of"), guide, strict=True)),
            }
        )
        return
    for kind in ("pair", "proposal"):
        click.echo(f"{kind + 's':<10} {_told(table, kind)}")
    if guide:
        click.echo(f"{'guide':<10} agrees with {guide[0]} of {guide[1]} grades that it was not told")
    for name, key in table.annotators.items():
        click.echo(f"{name:<10} {words.count(table.counts[name], 'event')}, {key.fingerprint}")


def _guide(table: Table) -> tuple[int, int] | None:
    """How often the Guide agrees with grades it was not told; None where there are few, or numpy is not installed."""
    rows = list(VIEWS["grades"](table.events, table.items))
    try:
        from tenth.feedback import guide
    except ImportError:
        return None
    return guide.left_out(rows) if len(rows) > guide.FEWEST else None


@feedback_command.command("export")
@run_argument
@view_option
@output_option
@dry_run_option
@json_option
def export(run: str | None, view: str, output: Path, dry_run: bool, as_json: bool) -> None:
    """Write a data set in the columns of TRL's trainers.

    \b
    dpo      prompt, chosen, rejected, share     of the votes for one of the two; ties are left out
    reward   prompt, chosen, rejected, share, margin     with ties
    kto      prompt, completion, label
    sft      prompt, completion                  what people wrote instead
    grades   proposal, useful, junk, unsafe      for the Guide of self-play
    """
    table = _desk(run)[0].table
    table.update()
    rows = list(VIEWS[view](table.events, table.items))
    if output.suffix not in (".jsonl", ".parquet"):
        raise WrongInput(f"{output} was not written", "its name says no known form", "name it .jsonl or .parquet")
    if not dry_run:
        _write(rows, output)
    if as_json:
        emit({"would" if dry_run else "wrote": str(output), "view": view, "rows": len(rows)})
    else:
        click.echo(f"{'would write' if dry_run else 'wrote'} {output}: {words.count(len(rows), 'row')} of {view}")


def _write(rows: list[dict[str, object]], output: Path) -> None:
    if output.exists():
        raise WrongInput(f"{output} was not written", "it exists", "choose another name")
    if output.suffix == ".jsonl":
        output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise WrongInput(
            f"{output} was not written", "pyarrow is not installed", "pip install 'tenth[data]', or write .jsonl"
        ) from None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), output)


@feedback_command.command("seal")
@run_argument
@click.option("--view", type=click.Choice(list(VIEWS)), help="Which data set; by default what the next tenth reads.")
@click.option(
    "--tenths",
    type=click.IntRange(1),
    default=pairs.TENTHS,
    show_default=True,
    help="Samples of so many tenths, the newest; of grades all.",
)
@click.option("--keep", is_flag=True, help="Train on the batches that the recipe names already as well.")
@note_option
@signing_options
def seal(run: str | None, view: str | None, tenths: int, keep: bool, note: str, how: Signing) -> int:
    """At a gate or after a halt: make a batch of what was judged, and sign the adjustment that hands it to training.

    The batch lies in the run's folder under its digest; the recipe's key feedback.batches names it, so every dossier
    and every consent covers it. All consents are void, as with every adjustment.
    """
    found = changing.changeable(run, "adjusted", how)
    history = found.history
    view = _read_by(history.tenth.phase, view)
    table = Table(found.path, history.run, people(history.charter))
    table.update()
    least = 0 if view == "grades" else history.state.gate - tenths  # what is unsafe stays so, whichever model wrote it
    made = batch.Made(view, least, table.counts)
    digest, told = batch.write(table, made, dry_run=how.dry_run)
    before = batch.of_recipe(tomllib.loads((found.path / history.recipe_file()).read_text())) if keep else []
    patch = {"recipe": {batch.KEY: [*(name for name in before if name != digest), digest]}}
    said = f"{told}. {note}".strip(". ")[:MAX_NOTE]
    what = f"hands a batch of feedback to training: {told}"
    return changing.speak(found, "adjusted", what, said, patch, how)


def _read_by(phase: Phase, wanted: str | None) -> str:
    """The view that this phase reads, where it runs our trainer. Raises WrongInput for another: its lease would end."""
    verb = ours.verb(phase)
    view = READ_BY.get(verb, wanted or "dpo")
    if view is None or wanted not in (None, view):
        reads = f"reads '{view}'" if view else "reads no feedback"
        do = f"'--view {view}' does" if view else "seal it at the last gate before a phase that does"
        what = f"the next tenth is of phase '{phase.name}', whose '{verb}' {reads}"
        raise WrongInput("no batch was made", what, do)
    return view


def _desk(run: str | None) -> tuple[Desk, Charter]:
    path = Path(find_run(run))
    charter = charters.parse((path / "charter.toml").read_bytes())
    return Desk(path, path.name, people(charter)), charter


def _annotator(charter: Charter, chosen: Chosen) -> tuple[str, SigningKey]:
    """Somebody of the charter, or whoever ``--as`` names, with the key of that name."""
    listed = people(charter)
    if chosen.person and chosen.person not in listed:
        return chosen.person, unlock(chosen.key or key_folder() / chosen.person, chosen.passphrase_file)
    try:
        return signer(listed, chosen)
    except BadKey as error:
        do = "say which with --as NAME; a key that the charter does not list does as well: tenth key new NAME"
        raise BadKey("it is not clear who judges", error.found, do) from None


def _told(table: Table, kind: str) -> str:
    return agreement(table.events, table.items, kind).words()
