"""``review``: the dossier of the gate in plain words, and the pack for a signatory on another machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.padding import Padding

from tenth.cli.find import find_run
from tenth.cli.gate import drilled, packs
from tenth.cli.gate.dossier import pages, samples_of, summary
from tenth.cli.options import FILE, json_option, run_argument
from tenth.cli.outcome import DONE, STANCE_EXIT, emit
from tenth.cli.replay import Replay, audit, check_what_is_covered, replay
from tenth.errors import WrongInput

README = """\
This is a review pack of tenth: what is needed to decide at gate {gate} of the run {run}.

  tenth review  THIS_FILE.zip                              read it; every digest is checked first
  tenth consent --offline THIS_FILE.zip -o consent.json    sign it with your own key
  tenth object  --offline THIS_FILE.zip -o objection.json  or sign against it

Carry the file that this writes back to the machine of the run, and there:

  tenth consent --import consent.json

Head of the log: {head}, {entries} entries. Compare it with what the others see.
The checkpoint is not in this pack; its digest is, and a consent covers it.
"""


@click.command("review")
@run_argument
@click.option("--export", "pack", type=FILE, help="Write a pack (.zip) for a signatory on another machine.")
@click.option("--as", "person", metavar="NAME", help="Which signatory reads, when keys of several lie here.")
@json_option
def review_command(run: str | None, pack: Path | None, person: str | None, as_json: bool) -> int:
    """Read the dossier of the gate: what is proposed, what changed, the evidence, the samples, who has signed.

    RUN may also be a review pack (.zip) from another machine. Every digest is checked before anything is shown.
    """
    with opened(run, quiet=as_json) as (found, checked):
        if pack is not None:
            return _export(found, pack, as_json)
        elsewhere = run is not None and os.path.isfile(run)  # a drill cannot be answered there, so it is not shown
        with contextlib.nullcontext(found) if elsewhere else drilled.first(found, person) as shown:
            if as_json:
                emit(_record(shown, checked))
            else:
                show(shown, checked)
        return STANCE_EXIT.get(found.history.state.stance.value, DONE) if found.history.dossier is None else DONE


@contextmanager
def opened(wanted: str | None, *, quiet: bool = False) -> Iterator[tuple[Replay, str]]:
    """A run directory or a pack, checked first; and what was checked, in words. Raises BrokenPromise."""
    if wanted is not None and os.path.isfile(wanted):
        with packs.unpacked(Path(wanted)) as folder:
            found = replay(folder)
            yield found, covered(found)
    else:
        path = Path(find_run(wanted, quiet=quiet))
        report = audit(path)
        yield replay(path), f"{report.entries} log entries, their signatures, and every file they speak of"


def covered(found: Replay) -> str:
    """Check a pack as far as its files go."""
    dossier, history = found.history.dossier, found.history
    if dossier is None:
        raise WrongInput("this pack cannot be reviewed", "no dossier was sealed in it", "ask for a newer one")
    files = {
        "charter.toml": dossier["charter"],
        "manifest.json": dossier["manifest"],
        history.recipe_file(): dossier["recipe"],
        history.data_file(): dossier["data"],
    }
    missing = [name for name in files if not (found.path / name).is_file()]
    if missing:
        raise WrongInput("this pack cannot be reviewed", f"{missing[0]} is missing", "ask for another copy")
    seen = check_what_is_covered(found.path, dossier, files=files)
    return f"{len(found.log.entries)} log entries, their signatures, and {', '.join(seen)}; the checkpoint is not here"


def show(found: Replay, checked: str) -> None:
    console = Console(highlight=False, soft_wrap=False)
    console.print(f"checked: {checked}", style="dim", markup=False)
    console.print()
    for line in pages(found, width=min(console.width, 120)):
        indent = len(line.plain) - len(line.plain.lstrip(" "))
        console.print(Padding(line[indent:], (0, 0, 0, indent), expand=False) if line else "")
    if found.history.state.stance.value == "GATE":
        console.print("\nNext: tenth consent, tenth object, or tenth adjust", markup=False)


def _export(found: Replay, pack: Path, as_json: bool) -> int:
    if found.history.dossier is None:
        raise WrongInput("no pack was written", "no dossier has been sealed yet", "wait for the gate: tenth status")
    if pack.suffix != ".zip":
        raise WrongInput("no pack was written", f"{pack.name} does not end in .zip", "name it so")
    readme = README.format(
        gate=found.history.dossier["gate"],
        run=found.history.run,
        head=found.fingerprint,
        entries=len(found.log.entries),
    )
    count = packs.write(pack, found, packs.review_files(found), readme)
    facts = {"pack": str(pack), "files": count, "bytes": pack.stat().st_size, "head": found.fingerprint}
    if as_json:
        emit(facts)
    else:
        click.echo(f"wrote {pack}: {count} files, {facts['bytes']:,} bytes")
        click.echo(f"head of the log: {found.fingerprint}")
        click.echo(f"there: tenth review {pack.name}, then tenth consent --offline {pack.name} -o consent.json")
    return DONE


def _record(found: Replay, checked: str) -> dict[str, object]:
    history = found.history
    dossier, state = history.dossier, history.state
    return {
        "run": history.run,
        "stance": state.stance.value,
        "checked": checked,
        "digest": state.dossier,
        "dossier": dossier,
        "consents": sorted(state.consents),
        "objections": sorted(state.objections),
        "waiting_for": sorted(state.waiting_for),
        "evidence": {
            panel["name"]: summary(found.path / panel["path"]) for panel in (dossier or {}).get("evidence", [])
        },
        "samples": samples_of(found.path, dossier)[-20:] if dossier else [],
        "head": found.fingerprint,
    }
