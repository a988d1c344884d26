"""``status``: where a run stands, and whom it waits for. From its supervisor, or from its log when nobody holds it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from tenth.cli import wire, words
from tenth.cli.find import find_run, is_live
from tenth.cli.live import raised
from tenth.cli.options import json_option, run_argument
from tenth.cli.outcome import DONE, STANCE_EXIT, emit
from tenth.log.entry import Entry
from tenth.sanitise import plain


@click.command("status")
@run_argument
@json_option
def status_command(run: str | None, as_json: bool) -> int:
    """Say where RUN stands. Exit code 3: waiting at a gate; 4: halted."""
    path = find_run(run, quiet=as_json)
    status = status_of(path)
    status |= {"alarms": raised.standing(Path(path)), "halted": _halted(Path(path), status)}
    if as_json:
        emit(status)
    else:
        click.echo("\n".join(status_lines(status)))
    return STANCE_EXIT.get(status["stance"], DONE)


def status_of(path: str) -> dict[str, Any]:
    """As the control socket answers; replayed from the log when no supervisor lives (``supervisor`` is null then)."""
    if is_live(path):
        try:
            return dict(wire.ask(path, do="status")["status"])
        except wire.Gone:
            pass  # it left in this very moment
    from tenth.cli.replay import replay

    found = replay(Path(path))
    history, state = found.history, found.history.state
    return {
        "run": history.run,
        "path": path,
        "stance": state.stance.value,
        "anchor": state.anchor,
        "gate": state.gate,
        "gates": state.gates,
        "phase": history.phase_name,
        "epoch": history.tenth.epoch,
        "dossier": state.dossier,
        "signatories": sorted(state.signatories),
        "consents": sorted(state.consents),
        "objections": sorted(state.objections),
        "waiting_for": sorted(state.waiting_for),
        "spent": state.spent.record(),
        "ceiling": state.ceiling.record(),
        "limit": state.limit.record() if state.limit else None,
        "claims": history.claims,
        "halts": history.halts,
        "frozen": False,
        "unwatched": False,
        "entries": len(found.log.entries),
        "root": found.fingerprint,
        "supervisor": None,
        "trainer": None,
    }


def _halted(path: Path, status: dict[str, Any]) -> dict[str, Any] | None:
    """Who or what stopped the run, as its log has it; None while it is not halted."""
    if status["stance"] != "HALTED" or not status["halts"]:
        return None
    with (path / "log" / "entries.jsonl").open("rb") as entries:
        line = next(islice(entries, status["halts"][-1]["index"], None), b"")
    return Entry.parse(line.rstrip(b"\n")).body


def status_lines(status: dict[str, Any]) -> list[str]:
    stance = status["stance"]
    held = (
        f"process {status['supervisor']}" if status["supervisor"] else f"none: go on with  tenth run {status['path']}"
    )
    if stance == "CLOSED":
        held = "none, and none is needed"
    rows = [
        ("run", status["run"]),
        ("state", f"{stance}, {_where(status)}"),
        ("supervisor", held),
        ("compute", _compute(status)),
    ]
    claims = status.get("claims") or {}
    if claims.get("loss") is not None:
        rows.append(("loss", f"{claims['loss']:.4g}, as the trainer claims"))
    if stance == "GATE":
        rows += [("consented", words.names(status["consents"])), ("waiting for", words.names(status["waiting_for"]))]
    if halted := status.get("halted"):
        by = halted.get("by")
        rows.append(("because", f"{by['name'] or by['uid']} pulled the cord" if by else str(halted.get("detail"))))
    if "alarms" in status and (said := raised.words(status["alarms"], live=bool(status["supervisor"]))):
        rows.append(("alarms", said))
    if status["objections"]:
        rows.append(("objected", words.names(status["objections"])))
    if status.get("unwatched"):
        rows.append(("", "the trainer waits until somebody of the charter watches: tenth watch --name NAME"))
    rows += [
        ("log", f"{words.count(status['entries'], 'entry').replace('entrys', 'entries')}, head {status['root'][:16]}…")
    ]
    rows += [("next", _next(status))]
    return [f"{label:<12} {plain(text, limit=600)}" for label, text in rows]


def _where(status: dict[str, Any]) -> str:
    gate, gates = status["gate"], status["gates"]
    where = f"gate {gate} of {gates}"
    if status["stance"] == "RUNNING":
        return f"tenth {gate + 1} of {gates}" + (", frozen" if status["frozen"] else "")
    if status["stance"] == "HALTED" and status["halts"]:
        last = status["halts"][-1]
        why = "pulled" if last["event"] == "pulled" else words.REASONS.get(last["reason"], last["reason"])
        return f"after {where}: {why}" + (", the trainer is frozen" if status["frozen"] else "")
    return where


def _compute(status: dict[str, Any]) -> str:
    spent, most = status["spent"], status["ceiling"]
    seconds = f"{words.seconds(spent['device_seconds'])} of {words.seconds(most['device_seconds'])} device-seconds"
    return f"{seconds}, {words.amount(spent['flop'])} of {words.amount(most['flop'])} FLOP"


def _next(status: dict[str, Any]) -> str:
    return {
        "GATHERING": "evidence is being gathered",
        "GATE": "tenth review, then tenth consent or tenth object",
        "RUNNING": "tenth watch; tenth pull stops it",
        "HALTED": "a signatory reopens, adjusts or closes it: tenth reopen",
        "CLOSED": "nothing follows; tenth verify checks it",
    }[status["stance"]]
