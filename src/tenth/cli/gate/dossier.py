"""The dossier in plain words: what is proposed, what changed, the evidence, the samples, the halts, who has signed."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from rich.text import Text

from tenth.cli import words
from tenth.cli.chart import ACCENT, ALARM, ink
from tenth.cli.live.view import sample_lines
from tenth.cli.replay import Replay
from tenth.encoding import canonical, decode, digest
from tenth.feedback.desk import Desk, people
from tenth.sanitise import plain

SAMPLES, SAMPLE_LINES, ROWS = 6, 12, 12
NUMBER = re.compile(r"([-+−]?[\d.,]+(e[-+]?\d+)?%?|–)?")


def pages(found: Replay, *, width: int) -> Iterator[Text]:
    """Line by line. Everything that model, trainer or evidence wrote goes through the sanitising exit (promise 10)."""
    history, dossier = found.history, found.history.dossier
    if dossier is None:
        yield Text("No dossier has been sealed yet: the evidence for gate 0 is still being gathered.")
        return
    title = f"Gate {dossier['gate']} of {history.state.gates}, run {history.run}"
    yield Text(title, "bold")
    yield Text(plain(history.charter.purpose, lines=True, limit=2_000), "dim")
    state = history.state
    if state.stance.value != "GATE":
        yield Text(f"This is the last dossier; the run is {state.stance.value} now, and it cannot be signed.", ALARM)
    yield from _section("Your consent would", [Text(words.proposal_words(dossier), ACCENT)])
    yield from _section("What changed", _changes(found, dossier))
    yield from _section("Evidence", _evidence(found, dossier, width))
    yield from _section("Samples since the last gate (claims of the trainer)", _samples(found.path, dossier, width))
    yield from _section("Halts since the last gate", _halts(found, dossier))
    yield from _section("Compute", _compute(found, dossier))
    yield from _section("Protections", _protections(dossier))
    yield from _section("Who has signed this dossier", _people(found))
    yield from _section("What a consent covers, by SHA-256", _digests(dossier))


def _section(title: str, lines: Sequence[Text] | Iterator[Text]) -> Iterator[Text]:
    yield Text()
    yield Text(title, "bold")
    empty = True
    for line in lines:
        empty = False
        yield Text("  ").append_text(line)
    if empty:
        yield Text("  none", "dim")


def _changes(found: Replay, dossier: Mapping[str, Any]) -> Iterator[Text]:
    history = found.history
    if dossier["checkpoint"] is None:
        yield Text("nothing is trained yet: this gate is about the charter itself")
        for row in decode((found.path / "manifest.json").read_bytes())["data"]:
            yield Text(f"data of '{row['phase']}': {words.count(row['files'], 'file')}, {words.size(row['bytes'])}")
    else:
        sealed = ", sealed: your consent brings your share of its key" if dossier.get("sealed") else ""
        yield Text(f"checkpoint {dossier['checkpoint']['path']}, after {words.count(dossier['gate'], 'tenth')}{sealed}")
    claims = dossier["claims"] or {}
    if claims.get("loss") is not None:
        before = _claims_before(found, dossier)
        was = f", was {before['loss']:.4f}" if before and before.get("loss") is not None else ""
        yield Text(f"training loss {claims['loss']:.4f}{was} (claimed)")
    for _, patch in history.patches:
        yield Text(f"adjusted: {words.patch_words(patch)}", ALARM)
    recipe = tomllib.loads((found.path / history.recipe_file()).read_text())
    for holds, line in Desk(found.path, history.run, people(history.charter)).batches(recipe):
        yield Text(f"feedback {line}", "" if holds else ALARM)
    if dossier["frozen"]:
        yield Text("the trainer stands frozen in the middle of its tenth")


def _claims_before(found: Replay, dossier: Mapping[str, Any]) -> Mapping[str, Any] | None:
    before = _dossier_of(found.path, dossier["gate"] - 1)
    return before["claims"] if before else None


def _dossier_of(run: Path, gate: int) -> Mapping[str, Any] | None:
    path = run / "gates" / f"{gate:02d}" / "dossier.json"
    return json.loads(path.read_bytes()) if gate >= 0 and path.is_file() else None


def summary(folder: Path) -> dict[str, Any]:
    """``summary.json`` of one panel: {"headline", "metrics", "tables"}, each part optional, believed in nothing."""
    try:
        found = json.loads((folder / "summary.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _evidence(found: Replay, dossier: Mapping[str, Any], width: int) -> Iterator[Text]:
    for panel in dossier["evidence"]:
        said = summary(found.path / panel["path"])
        headline = plain(said.get("headline", "it wrote no summary"), limit=300)
        yield ink(panel["name"], ACCENT).append(f"  {headline}")
        if panel["surprised"]:
            yield Text("  surprised: nobody had foreseen this, so a consent needs a note that says why", ALARM)
        before = summary(found.path / f"gates/{dossier['gate'] - 1:02d}/evidence/{panel['name']}").get("metrics")
        yield from _metrics(said.get("metrics"), before if isinstance(before, dict) else {})
        yield from _tables(said.get("tables"), width - 6)


def _metrics(metrics: object, before: Mapping[str, Any]) -> Iterator[Text]:
    if not isinstance(metrics, dict):
        return
    for name, value, bounds in islice(words.figures(metrics), ROWS):
        line = Text(f"  {plain(name, limit=40).replace('_', ' '):<28} {_figure(value)}")
        if bounds:
            line.append(f" {'±' if len(bounds) == 1 else 'from'} {' to '.join(map(_figure, bounds))}")
        if name in before:
            line.append(f"   was {_figure(before[name])}", "dim")
        yield line


def _figure(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain("–" if value is None else value, limit=80)
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4f}" if abs(value) < 1e4 else words.amount(value)


def _tables(tables: object, width: int) -> Iterator[Text]:
    """Lists of rows under a title: a list of {"title", "columns", "rows"}, or {title: rows}."""
    if isinstance(tables, dict):
        tables = [{"title": title, "rows": rows} for title, rows in tables.items()]
    for table in tables if isinstance(tables, list) else []:
        if not isinstance(table, dict):
            continue
        rows = table.get("rows")
        rows = rows if isinstance(rows, list) else []
        yield Text(f"  {plain(table.get('title', table.get('name', 'table')), limit=100)}", "bold")
        columns = table.get("columns")
        cells = [[_figure(value) for value in _values(row)] for row in rows[:ROWS]]
        lines = _aligned([[plain(name, limit=40) for name in columns], *cells] if isinstance(columns, list) else cells)
        for number, line in enumerate(lines):
            yield Text("    ").append(line[:width], "dim" if number == 0 and isinstance(columns, list) else "default")
        if len(rows) > ROWS:
            yield Text(f"    and {len(rows) - ROWS} more rows", "dim")


def _values(row: object) -> list[object]:
    return list(row.values()) if isinstance(row, dict) else row if isinstance(row, list) else [row]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell, but at most 44; numbers stand to the right."""
    columns = list(zip_longest(*rows, fillvalue=""))
    widths = [min(44, max(map(len, column))) for column in columns]
    sides = [">" if all(map(NUMBER.fullmatch, column[1:])) else "<" for column in columns]
    return [
        "  ".join(f"{cell[:44]:{sides[place]}{widths[place]}}" for place, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def samples_of(run: Path, dossier: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The samples of the shards that the dossier names, as far as they lie here."""
    found: list[dict[str, Any]] = []
    for shard in dossier["samples"]:
        path = run / shard["path"]
        if path.is_file():
            found += [json.loads(line) for line in path.read_bytes().splitlines()]
    return found


def _samples(run: Path, dossier: Mapping[str, Any], width: int) -> Iterator[Text]:
    found = samples_of(run, dossier)
    if not found:
        return
    step = max(1, len(found) // SAMPLES)
    shown = found[::-1][::step][:SAMPLES]
    yield Text(f"{len(shown)} of {len(found)}, the newest first", "dim")
    for sample in shown:
        yield from sample_lines(sample, width - 4, SAMPLE_LINES)


def _halts(found: Replay, dossier: Mapping[str, Any]) -> Iterator[Text]:
    for halt in dossier["halts"]:
        entry = found.log.entries[halt["index"]]
        yield ink(f"{words.clock(entry.time)}  ", "dim").append(
            words.entry_words({"event": entry.event, "body": entry.body}), ALARM
        )


def _compute(found: Replay, dossier: Mapping[str, Any]) -> Iterator[Text]:
    spent, most = dossier["spent"], dossier["ceiling"]
    before = _dossier_of(found.path, dossier["gate"] - 1)
    for name, label in (("device_seconds", "device-seconds"), ("flop", "FLOP, at most")):
        share = spent[name] / most[name]
        since = f"; {words.amount(spent[name] - before['spent'][name])} since the last gate" if before else ""
        yield Text(f"{label:<16} {words.amount(spent[name])} of {words.amount(most[name])} spent, {share:.0%}{since}")


def _protections(dossier: Mapping[str, Any]) -> Iterator[Text]:
    for one in sorted(dossier["protections"], key=lambda row: not row["holds"]):
        mark, style = ("✓", "") if one["holds"] else ("✗", "yellow")
        yield ink(f"{mark} {plain(one['name'])}", style).append(f"  {plain(one['how'])}", "dim")


def _people(found: Replay) -> Iterator[Text]:
    """From what was signed since the last seal, so that it can also be read after the run has gone on."""
    last = max(entry.index for entry in found.log.entries if entry.event == "sealed")
    since = [entry for entry in found.log.entries[last + 1 :] if entry.event in ("consented", "objected")]
    said = {words.signed(entry.body["envelope"])["signatory"]: entry.event for entry in since}
    for name in sorted(found.history.state.signatories):
        match said.get(name):
            case "objected":
                yield Text(f"{name} objects", ALARM)
            case "consented":
                yield Text(f"✓ {name} consents")
            case _:
                yield Text(f"· {name} has not said anything", "dim")
    for entry in since:
        predicate = words.signed(entry.body["envelope"])
        if predicate["note"]:
            yield Text(f"{plain(predicate['signatory'])}: “{plain(predicate['note'], limit=2_000)}”")


def _digests(dossier: Mapping[str, Any]) -> Iterator[Text]:
    from tenth.gate.statement import subjects_of

    for name, covered in subjects_of(digest(canonical(dossier)), dossier):
        yield ink(f"{name:<11} ", "dim").append(covered)
