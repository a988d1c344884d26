"""The words for what happened: log entries, compute, times and sizes, as people read them."""

from __future__ import annotations

import base64
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tenth.sanitise import plain

Entry = Mapping[str, Any]

REASONS = {
    "ceiling": "the ceiling is reached",
    "lease": "the lease is used up",
    "limit": "the trainer passed a limit of its quarantine",
    "escape": "the trainer tried to leave its quarantine",
    "silence": "the trainer fell silent",
    "crash": "the trainer ended out of turn",
    "claim": "the trainer claims what cannot be",
    "frame": "the trainer broke the protocol",
    "alarm": "an alarm went off",
    "evidence": "evidence could not be made",
    "data": "what was agreed on was changed",
    "checkpoint": "the checkpoint cannot be used",
    "lost_supervisor": "the supervisor was lost",
}
STANCES = {
    "GATHERING": "gathering evidence",
    "GATE": "at a gate",
    "RUNNING": "training",
    "HALTED": "halted",
    "CLOSED": "closed",
}


def signed(envelope: Any) -> dict[str, Any]:
    """What an envelope says: its predicate. Not verified here; an empty one if it cannot be read."""
    try:
        return dict(json.loads(base64.b64decode(envelope["payload"]))["predicate"])
    except (KeyError, TypeError, ValueError):
        return {}


def entry_words(entry: Entry) -> str:
    """One line about one log entry."""
    body = entry["body"]
    if "envelope" in body:
        return _signed_words(entry["event"], signed(body["envelope"]))
    match entry["event"]:
        case "opened":
            return "the run was opened"
        case "sealed":
            return f"dossier of gate {body['gate']} sealed" + (" once more" if "." in body["path"] else "")
        case "leased":
            return lease_words(body["lease"])
        case "metered":
            return f"metered: {seconds(body['spent']['device_seconds'])} device-seconds"
        case "sampled":
            return f"{body['count']} samples kept"
        case "reached":
            return f"gate {body['gate']} reached, checkpoint sealed"
        case "pulled":
            return _pulled(body)
        case "tripped":
            detail = plain(body.get("detail", ""), limit=200)
            return f"tripped: {REASONS.get(body['reason'], plain(body['reason']))}" + (f" ({detail})" if detail else "")
        case "closed":
            return "released: everyone consented"
    return plain(entry["event"], limit=60)


def _signed_words(event: str, said: Mapping[str, Any]) -> str:
    who, note = plain(said.get("signatory", "someone"), limit=40), plain(said.get("note", ""), limit=120)
    what = {
        "consented": "consented",
        "objected": "objected",
        "adjusted": f"adjusted: {patch_words(said.get('patch', {}))}",
        "reopened": "reopened the run",
        "noted": "notes",
        "closed": "abandoned the run",
    }.get(event, plain(event, limit=60))
    return f"{who} {what}" + (f": “{note}”" if note else "")


def _pulled(body: Mapping[str, Any]) -> str:
    name = plain(body["by"].get("name") or f"user {body['by'].get('uid')}", limit=40)
    if body.get("stopped_ms") is None:
        return f"{name} pulled the cord"
    kept = ", trainer frozen" if body.get("frozen") else ""
    return f"{name} pulled the cord: stopped in {body['stopped_ms']:.1f} ms{kept}"


def lease_words(lease: Mapping[str, Any]) -> str:
    what = {"fresh": "begins", "checkpoint": "goes on from its checkpoint", "thaw": "thaws"}[lease["resume"]]
    return f"lease for tenth {lease['tenth']} of {lease['of']} granted, the trainer {what}"


def proposal_words(dossier: Mapping[str, Any]) -> str:
    """What a consent to this dossier would allow."""
    if "lease" not in dossier["proposal"]:
        return "release the model: every tenth is trained, and nothing more will be"
    lease, spent = dossier["proposal"]["lease"], dossier["spent"]
    how = {
        "fresh": "beginning from random weights",
        "checkpoint": "going on from the checkpoint of this gate",
        "thaw": "by thawing the frozen trainer, which goes on in the middle of its step",
    }[lease["resume"]]
    limit = lease["device_seconds"] - spent["device_seconds"]
    where = f"tenth {lease['tenth']} of {lease['of']} of epoch {lease['epoch']} of '{lease['phase']}'"
    most = f"{seconds(limit)} device-seconds and {amount(lease['flop'] - spent['flop'])} FLOP"
    return f"train {where}, {how}, with at most {most} more"


def patch_words(patch: Mapping[str, Any]) -> str:
    parts = [f"{plain(key)} = {plain(json.dumps(value))}" for key, value in patch.get("recipe", {}).items()]
    parts += [f"without {plain(glob)}" for glob in patch.get("exclude", [])]
    evidence = patch.get("evidence", {})
    parts += [f"no more evidence '{plain(name)}'" for name in evidence.get("drop", [])]
    parts += [f"new evidence '{plain(panel['name'])}'" for panel in evidence.get("add", [])]
    return ", ".join(parts) or "nothing"


def clock(time: str) -> str:
    """HH:MM:SS, in UTC as the log has it."""
    return plain(time[11:19])


def seconds(value: float) -> str:
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def amount(value: float) -> str:
    """Large numbers as 1.2e15, small ones as they are."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1e6:
        return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def duration(value: float) -> str:
    """0:12, 3:05, 2:10:00."""
    whole = max(0, round(value))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(value: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"
        value /= 1000
    return ""


def hanging(line: str, width: int) -> str:
    """``line`` broken at ``width``, what follows below the second column (after two blanks or more)."""
    label = re.match(r"\s*\S+( \S+)*\s{2,}|\s*", line)
    return "\n".join(textwrap.wrap(line, max(40, width), subsequent_indent=" " * (label.end() if label else 0))) or line


def names(people: Iterable[str]) -> str:
    """ada; ada and bo; ada, bo and cy."""
    listed = list(people)
    return listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " and " + listed[-1] if listed else "nobody"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def figures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """A panel's figures by name, with their bounds: ``x_error`` alone, or ``x_low`` and ``x_high``, or none."""
    for name, value in metrics.items():
        stem, _, end = name.rpartition("_")
        if end in ("error", "low", "high") and stem in metrics:
            continue
        bounds = ((f"{name}_error",), (f"{name}_low", f"{name}_high"))
        yield (
            name,
            value,
            next((tuple(metrics[one] for one in names) for names in bounds if metrics.keys() >= {*names}), ()),
        )
