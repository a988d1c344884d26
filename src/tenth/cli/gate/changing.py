"""``note``, ``adjust``, ``reopen``, ``close``: what one signatory may sign alone, since none of it starts anything."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tenth.cli import ours, words
from tenth.cli.find import find_run
from tenth.cli.gate import drilled, signing
from tenth.cli.options import Signing, note_option, run_argument, signing_options
from tenth.cli.replay import Replay
from tenth.drills import answers
from tenth.errors import Unlawful, WrongInput
from tenth.gate.adjustment import check_patch, patched_recipe
from tenth.sanitise import plain
from tenth.state import TABLE
from tenth.trainer.errors import RecipeError
from tenth.trainer.recipe import recipe_from


@click.command("adjust")
@run_argument
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a key of the recipe, such as optim.clip=0.5."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out the documents whose path matches.")
@click.option("--drop-evidence", "dropped", multiple=True, metavar="NAME", help="Ask no more for this evidence.")
@click.option(
    "--add-evidence",
    "added",
    multiple=True,
    metavar="NAME=COMMAND",
    help="Ask for this evidence too, at every gate to come.",
)
@click.option("--new-key", is_flag=True, help="Allow --set to set a key that the recipe does not have.")
@note_option
@signing_options
def adjust_command(
    run: str | None, settings: Sequence[str], exclude: Sequence[str], dropped: Sequence[str], added: Sequence[str],
    new_key: bool, note: str, how: Signing,
) -> int:  # fmt: skip
    """Change the recipe, the documents or the evidence, signed. All consents are void; a new dossier is gathered."""
    patch = check_patch(_patch(settings, exclude, dropped, added))
    found = changeable(run, "adjusted", how)
    known = {panel.name for panel in found.history.evidence} | {panel.name for panel in found.history.charter.evidence}
    for name in dropped:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise WrongInput("this adjustment is refused", f"there is no evidence '{name}'", f"known are: {listed}")
    if not new_key:
        _known_keys(found, patch.get("recipe", {}))
    _still_readable(found, patch)
    what = f"adjusts: {words.patch_words(patch)}"
    return speak(found, "adjusted", what, note, patch, how)


@click.command("reopen")
@run_argument
@note_option
@signing_options
def reopen_command(run: str | None, note: str, how: Signing) -> int:
    """After a halt, back to a gate. Nothing starts by it: everyone is asked for their consent again."""
    found = changeable(run, "reopened", how)
    what = "reopens the run: evidence is gathered, and everyone is asked again"
    return speak(found, "reopened", what, note, None, how)


@click.command("close")
@run_argument
@note_option
@signing_options
def close_command(run: str | None, note: str, how: Signing) -> int:
    """Abandon the run, for good. Nothing can follow.

    To release the model instead, no verb is needed: it happens when every signatory consents at the last gate.
    """
    found = changeable(run, "closed", how)
    what = "abandons the run: it ends here, for good, and its model is not released"
    return speak(found, "closed", what, note, None, how)


@click.command("note")
@run_argument
@click.option("-m", "--message", "text", required=True, metavar="TEXT", help="What is to be remembered.")
@signing_options
def note_command(run: str | None, text: str, how: Signing) -> int:
    """Put a signed text of at most 2,000 characters on record, at any moment. It changes nothing else."""
    if not text.strip():
        raise WrongInput("this note is refused", "it is empty", "write what is to be remembered")
    found = changeable(run, "noted", how)
    what = f"notes: “{plain(text, limit=500)}”"
    return speak(found, "noted", what, text, None, how)


def changeable(run: str | None, event: str, how: Signing) -> Replay:
    """The run, verified, where the law allows ``event`` now. Raises BrokenPromise or Unlawful."""
    found = signing.checked(Path(find_run(run, quiet=how.as_json)))
    state = found.history.state
    if state.stance not in TABLE[event].sources:
        allowed = ", ".join(sorted(stance.value for stance in TABLE[event].sources))
        do = "tenth pull stops it first" if state.stance.value == "RUNNING" else "tenth status"
        raise Unlawful(f"'{event}' is refused", f"the run is {state.stance.value}, and must be {allowed}", do)
    return found


def speak(found: Replay, event: str, what: str, note: str, patch: Any, how: Signing) -> int:
    """Sign this event for this moment, and hand it in. Returns the exit code."""
    if event in answers.NOTICED:
        done = drilled.answer_first(found, event, note, how, patch, what)
        if done is not None:
            return done
    who, envelope = signing.make(found, event, how.chosen, note, patch)
    lines = [f"{who} {what}", f"  run     {found.history.run}", f"  anchor  {found.history.state.anchor}"]
    if how.dry_run:
        return signing.rehearse(lines, envelope, who, event, as_json=how.as_json)
    signing.confirm(lines, yes=how.yes, quiet=how.as_json)
    return signing.hand_in(str(found.path), envelope, who, event, as_json=how.as_json)


def _patch(
    settings: Sequence[str], exclude: Sequence[str], dropped: Sequence[str], added: Sequence[str]
) -> dict[str, Any]:
    patch: dict[str, Any] = {}
    if settings:
        patch["recipe"] = dict(_setting(text) for text in settings)
    if exclude:
        patch["exclude"] = list(exclude)
    if dropped or added:
        patch["evidence"] = {"drop": list(dropped)} if dropped else {}
        if added:
            patch["evidence"]["add"] = [_panel(text) for text in added]
    if not patch:
        raise click.UsageError("there is nothing to adjust: give --set, --exclude, --drop-evidence or --add-evidence")
    return patch


def _known_keys(found: Replay, settings: Mapping[str, Any]) -> None:
    """A key once set cannot be taken out again, and a trainer may refuse a key it does not know: mind the spelling."""
    text = (found.path / found.history.recipe_file()).read_text()
    text += (found.path / found.history.recipe_name).read_text()  # the first one still has its comments
    known: dict[str, None] = {}
    table = ""
    for line in text.splitlines():
        if header := re.fullmatch(r"\[([\w.-]+)\]\s*(#.*)?", line.strip()):
            table = header[1] + "."
        elif key := re.match(r"\s*(?:# ?)?([\w-]+)\s*=", line):
            known[table + key[1]] = None
    for wanted in settings:
        if wanted not in known:
            near = difflib.get_close_matches(wanted, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "--new-key sets it nevertheless"
            raise WrongInput("this adjustment is refused", f"the recipe has no key {wanted}", hint)


def _still_readable(found: Replay, patch: Mapping[str, Any]) -> None:
    """Our trainer would refuse it at the next tenth, when everyone has consented."""
    history = found.history
    if not patch.get("recipe") or not ours.verb(history.tenth.phase):
        return
    changed = patched_recipe((found.path / history.recipe_file()).read_bytes(), [patch["recipe"]])
    try:
        recipe_from(tomllib.loads(changed.decode()))
    except RecipeError as error:
        raise WrongInput("this adjustment is refused", error.found, error.do) from None


def _setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE, the value in TOML; what is no TOML is taken as a text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise click.UsageError(f"--set {text}: write KEY=VALUE")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _panel(text: str) -> dict[str, Any]:
    import shlex

    name, equals, command = text.partition("=")
    if not equals or not command.strip():
        raise click.UsageError(f"--add-evidence {text}: write NAME=COMMAND")
    return {"name": name.strip(), "command": shlex.split(command)}
