"""What every signing verb does: check what is signed, say it in words, ask, sign, hand it to the supervisor."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tenth import cipher
from tenth.cli import wire, words
from tenth.cli.outcome import DONE, emit
from tenth.cli.people import Chosen, signer
from tenth.cli.replay import Replay, audit, replay
from tenth.encoding import canonical, read_plain, write_durably
from tenth.errors import BadStatement, Unlawful, WrongInput
from tenth.gate import statement
from tenth.gate.sealing import SHARES
from tenth.keys import PublicKey, SigningKey
from tenth.log.entry import timestamp
from tenth.sanitise import plain

Envelope = dict[str, Any]


def checked(run: Path) -> Replay:
    """Verify everything first: nobody signs what does not hold. Raises BrokenPromise."""
    audit(run)
    return replay(run)


def make(
    found: Replay, event: str, chosen: Chosen, note: str, patch: Mapping[str, Any] | None = None
) -> tuple[str, Envelope]:
    """``(who, envelope)`` for this moment of the run, signed with a key that lies here.

    With a consent to a sealed checkpoint goes the signer's share of its key, under ``share``; it is in no log.
    """
    history, state = found.history, found.history.state
    if len(note) > statement.MAX_NOTE:
        raise WrongInput("this note is refused", f"it has {len(note):,} characters", f"at most {statement.MAX_NOTE:,}")
    who, key = signer(history.charter.signatories, chosen)
    subjects = None
    if event in statement.ON_DOSSIER:
        assert state.dossier is not None
        assert history.dossier is not None
        subjects = statement.subjects_of(state.dossier, history.dossier)
    envelope = statement.sign(
        event, key, run=history.run, signatory=who, anchor=state.anchor, time=timestamp(time.time()),
        subjects=subjects, note=note, patch=patch,
    )  # fmt: skip
    if event == "consented" and history.sealed_checkpoint:
        envelope["share"] = _share(found, who, key)
    return who, envelope


def _share(found: Replay, who: str, key: SigningKey) -> str:
    """The signer's share of the key of the sealed checkpoint, for the supervisor's eyes only."""
    history = found.history
    assert history.checkpoint is not None
    try:
        data = read_plain(found.path / (history.checkpoint["path"] + SHARES))
    except OSError as error:
        do = "ask for a pack made by this version's 'tenth review --export'"
        raise WrongInput("your share of the checkpoint's key is not here", str(error), do) from None
    shares = cipher.read_shares(data, history.run, history.checkpoint["digest"])
    return cipher.pass_on(shares, who, key, PublicKey.parse(history.opened["log_key"]))


def at_gate(found: Replay, event: str) -> None:
    """Only a dossier on the table can be consented to."""
    stance = found.history.state.stance.value
    if stance != "GATE":
        verb = {"consented": "consent", "objected": "objection"}[event]
        raise Unlawful(f"this {verb} is refused", f"the run is {stance}: no dossier lies on the table", "tenth status")


def describe(found: Replay, event: str, who: str) -> list[str]:
    """What is about to be signed."""
    history = found.history
    assert history.dossier is not None
    verb = {"consented": "consents", "objected": "objects"}[event]
    return [
        f"{who} {verb} to gate {history.dossier['gate']} of {history.run}",
        f"  dossier   {history.state.dossier}",
        f"  proposal  {words.proposal_words(history.dossier)}",
    ]


def confirm(lines: list[str], *, yes: bool, quiet: bool = False) -> None:
    """Show, and ask unless told not to. Without anybody to ask, the answer is no."""
    if not quiet:
        click.echo("\n".join(plain(line, limit=1_000) for line in lines))
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongInput(
            "nothing was signed", "there is no terminal to ask on", "read it (tenth review), then say --yes"
        )
    if not click.confirm("Sign?", err=True):
        raise click.Abort


def hand_in(run: str, envelope: Envelope, who: str, event: str, *, as_json: bool) -> int:
    share = envelope.pop("share", None)
    answer = wire.ask(run, do="submit", envelope=envelope, share=share)
    status = answer["status"]
    if as_json:
        emit({"signatory": who, "event": event, "index": answer["index"], "status": status})
        return DONE
    click.echo(f"signed by {who}, entry {answer['index']} of the log")
    if status["stance"] == "GATE" and event in statement.ON_DOSSIER:
        missing = [name for name in status["waiting_for"] if name not in status["objections"]]
        if status["objections"]:
            click.echo(f"objected: {words.names(status['objections'])}; nothing starts while an objection stands")
        elif missing:
            click.echo(f"waiting for {words.names(missing)}")
        else:
            click.echo("everyone has consented")
    return DONE


def rehearse(lines: list[str], envelope: Envelope, who: str, event: str, *, as_json: bool) -> int:
    """--dry-run: what would be signed; the signature itself is not given away."""
    predicate = words.signed(envelope)
    if as_json:
        emit({"would": event, "signatory": who, "predicate": predicate})
    else:
        click.echo("\n".join(plain(line, limit=1_000) for line in lines))
        click.echo("nothing was signed (--dry-run)")
    return DONE


def write_envelope(target: Path, envelope: Envelope) -> None:
    if target.exists():
        raise WrongInput(f"{target} was not written", "it exists", "choose another name")
    write_durably(target, canonical(envelope) + b"\n")


def read_envelope(source: Path, event: str) -> Envelope:
    import json

    try:
        envelope = json.loads(source.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadStatement(f"{source} cannot be imported", f"it is not JSON: {error}"[:200], _OFFLINE) from None
    if not isinstance(envelope, dict) or not words.signed(envelope):
        raise BadStatement(f"{source} cannot be imported", "it is not a signed statement", _OFFLINE)
    try:
        import base64

        kind = json.loads(base64.b64decode(envelope["payload"]))["predicateType"]
    except (KeyError, TypeError, ValueError):
        kind = None
    if statement.EVENTS.get(kind) != event:
        said = statement.EVENTS.get(kind, "something else")
        raise BadStatement(f"{source} is not imported", f"it says '{said}', not '{event}'", "use the verb that fits it")
    return envelope


_OFFLINE = "make it with 'tenth consent --offline PACK -o FILE'"
