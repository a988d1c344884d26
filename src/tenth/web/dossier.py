"""What a gate page shows of a dossier: the facts in order, every text of model, trainer and evidence sanitised."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tenth.cli import words
from tenth.encoding import canonical, decode, digest, read_plain
from tenth.errors import BrokenPromise, TenthError
from tenth.gate.statement import subjects_of
from tenth.sanitise import plain
from tenth.web.reading import read_from
from tenth.web.room import Room

Facts = dict[str, Any]
ROWS, PAIRS = 200, 24
MAX_SUMMARY = 8 << 20
TEXT = 6_000
"""Characters of one cell or text."""


def gate(room: Room, path: str | None = None, instead: Mapping[str, Any] | None = None) -> Facts | None:
    """The dossier at ``gates/03.2`` and so on, or the newest; None if there is none. Raises BrokenPromise(9).

    ``instead`` is shown in its place, as if it had been sealed there.
    """
    seals = room.index.rows("SELECT * FROM entries WHERE event = 'sealed' ORDER BY idx")
    bodies = [(row, room.body(row)) for row in seals]
    found = [(row, body) for row, body in bodies if path in (None, body["path"])]
    if not found:
        return None
    row, body = found[-1]
    dossier = dict(instead) if instead else read(room, body)
    covered = digest(canonical(dossier))
    before = _before(room, [one for other, one in bodies if other["idx"] < row["idx"]], dossier)
    people, notes = _people(room, row, last=row is seals[-1])
    return {
        "path": body["path"],
        "digest": covered,
        "entry": row["idx"],
        "time": row["time"],
        "newest": row is seals[-1],
        "gate": dossier["gate"],
        "gates": room.charter.gates,
        "purpose": plain(room.charter.purpose, lines=True, limit=2_000),
        "proposal": words.proposal_words(dossier),
        "release": "lease" not in dossier["proposal"],
        "changes": list(_changes(room, dossier, before)),
        "evidence": [_panel(room, panel, before) for panel in dossier["evidence"]],
        "pairs": _pairs(room, dossier),
        "halts": list(_halts(room, dossier)),
        "compute": list(_compute(dossier, before)),
        "protections": sorted(
            (
                {name: plain(one[name]) if name != "holds" else one[name] for name in one}
                for one in dossier["protections"]
            ),
            key=lambda one: one["holds"],
        ),
        "people": people,
        "notes": notes,
        "subjects": [list(pair) for pair in subjects_of(covered, dossier)],
        "seals": [{"path": one["path"], "gate": one["gate"]} for _, one in bodies],
        "adjustments": list(_adjustments(room, row["idx"])),
    }


def read(room: Room, sealed: Mapping[str, Any]) -> Facts:
    """The dossier that a ``sealed`` entry names; what is shown is what would be signed (promise 9)."""
    data = read_plain(room.path / sealed["path"] / "dossier.json")
    if digest(data) != sealed["dossier"]:
        found = f"digest {digest(data)}, on record {sealed['dossier']}"
        raise BrokenPromise(9, f"the dossier of {sealed['path']} is not the one on record", found)
    return dict(decode(data, "the dossier"))


def _before(room: Room, earlier: list[Facts], dossier: Facts) -> Facts | None:
    """The last dossier of the gate before: what its approval rested on."""
    those = [body for body in earlier if body["gate"] == dossier["gate"] - 1]
    try:
        return read(room, those[-1]) if those else None
    except (TenthError, OSError):
        return None


def _changes(room: Room, dossier: Facts, before: Facts | None) -> Iterator[Facts]:
    """What is not as it was when people last approved."""
    if dossier["frozen"]:
        yield {"what": "trainer", "now": "stands frozen in the middle of its tenth", "was": ""}
    if dossier["checkpoint"] is None:
        yield {"what": "weights", "now": "nothing is trained yet: this gate is about the charter itself", "was": ""}
        for row in decode(read_plain(room.path / "manifest.json"))["data"]:
            facts = f"{words.count(row['files'], 'file')}, {words.size(row['bytes'])}"
            yield {"what": f"data of {plain(row['phase'])}", "now": facts, "was": ""}
        return
    claims, old = dossier["claims"] or {}, (before or {}).get("claims") or {}
    for name, what in (("loss", "training loss (claimed)"), ("step", "step (claimed)")):
        if claims.get(name) is not None:
            yield {"what": what, "now": _figure(claims[name]), "was": _figure(old[name]) if old.get(name) else ""}
    for name in ("checkpoint", "recipe", "data", "charter", "manifest"):
        now, was = _short(dossier[name]), _short((before or {}).get(name))
        changed = now != was and bool(before)
        if name == "checkpoint" or changed:
            yield {"what": name, "now": now, "was": was if changed else "", "digest": True}


def _short(value: Any) -> str:
    text = value["digest"] if isinstance(value, dict) else value
    return text[:16] if isinstance(text, str) else "none"


def _panel(room: Room, panel: Facts, before: Facts | None) -> Facts:
    """One panel of evidence, beside the same panel of the gate before."""
    said = _summary(room.path / panel["path"])
    old: Any = {}
    for other in (before or {}).get("evidence", []):
        if other["name"] == panel["name"]:
            old = _summary(room.path / other["path"]).get("metrics") or {}
    metrics = said.get("metrics")
    return {
        "name": plain(panel["name"]),
        "headline": plain(said.get("headline", "it wrote no summary"), limit=300),
        "surprised": panel["surprised"],
        "device_seconds": words.seconds(panel["device_seconds"]),
        "digest": panel["digest"],
        "metrics": list(_metrics(metrics if isinstance(metrics, dict) else {}, old if isinstance(old, dict) else {})),
        "tables": list(_tables(said.get("tables"))),
    }


def _summary(folder: Path) -> Facts:
    """``summary.json`` of one panel, believed in nothing."""
    try:
        found = json.loads(read_from(folder / "summary.json", 0, MAX_SUMMARY))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _metrics(metrics: Mapping[str, Any], old: Mapping[str, Any]) -> Iterator[Facts]:
    """A figure with its interval, and what it was."""
    for name, value, bounds in islice(words.figures(metrics), ROWS):
        interval = ""
        if bounds and all(map(_real, bounds)):
            interval = " to ".join(map(_figure, bounds)) if len(bounds) == 2 else f"± {_figure(bounds[0])}"
        was = _figure(old[name]) if name in old else ""
        shown = plain(name, limit=60).replace("_", " ")
        yield {"name": shown, "value": _figure(value), "interval": interval, "was": was}


def _tables(tables: Any) -> Iterator[Facts]:
    if isinstance(tables, dict):
        tables = [{"title": title, "rows": rows} for title, rows in tables.items()]
    for table in tables if isinstance(tables, list) else []:
        if not isinstance(table, dict) or not isinstance(rows := table.get("rows"), list):
            continue
        columns = table.get("columns")
        if not isinstance(columns, list):
            columns = list(rows[0]) if rows and isinstance(rows[0], dict) else []
        cells = [[_figure(value) for value in _values(row, columns)] for row in rows[:ROWS]]
        title = plain(table.get("title", table.get("name", "table")), limit=100)
        shown = [plain(name, limit=60).replace("_", " ") for name in columns]
        long = any(len(cell) > 60 for row in cells for cell in row)
        yield {"title": title, "columns": shown, "rows": cells, "more": max(0, len(rows) - ROWS), "long": long}


def _values(row: Any, columns: list[Any]) -> list[Any]:
    if isinstance(row, dict):
        return [row.get(name) for name in columns]
    return row if isinstance(row, list) else [row]


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _figure(value: Any) -> str:
    if not _real(value):
        return plain("–" if value is None else value, lines=True, limit=TEXT)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.4f}" if 1e-3 <= abs(value) < 1e4 else words.amount(value)


def _pairs(room: Room, dossier: Facts) -> list[Facts]:
    """The newest sample of each prompt in the tenth just trained, beside that of the tenth before.

    A sample bears the gate that the tenth began from: those of the tenth to gate 4 bear 3.
    """
    last = dossier["gate"] - 1 if not dossier["frozen"] else dossier["gate"]
    query = """SELECT a.seq, a.prompt, a.text, a.step, a.signs,
        (SELECT text FROM samples AS b WHERE b.gate = a.gate - 1 AND b.prompt = a.prompt ORDER BY seq DESC LIMIT 1)
        AS before FROM (SELECT max(seq) AS seq FROM samples WHERE gate = ? GROUP BY prompt)
        JOIN samples AS a USING (seq) ORDER BY a.risk DESC, a.seq DESC LIMIT ?"""
    rows = room.index.rows(query, (last, PAIRS))
    return [{**row, "signs": json.loads(row["signs"])} for row in rows]


def _halts(room: Room, dossier: Facts) -> Iterator[Facts]:
    for halt in dossier["halts"]:
        rows = room.index.rows("SELECT idx, time, words FROM entries WHERE idx = ?", (halt["index"],))
        yield from ({"entry": row["idx"], "time": row["time"], "words": row["words"]} for row in rows)


def _compute(dossier: Facts, before: Facts | None) -> Iterator[Facts]:
    spent, most = dossier["spent"], dossier["ceiling"]
    lease = dossier["proposal"].get("lease")
    for name, label in (("device_seconds", "device-seconds"), ("flop", "FLOP, at most")):
        was = (before or {}).get("spent", {}).get(name, 0.0)
        limit = lease[name] if lease else spent[name]
        yield {
            "label": label,
            "spent": words.amount(spent[name]),
            "since": words.amount(spent[name] - was),
            "most": words.amount(most[name]),
            "asked": words.amount(limit - spent[name]),
            "share": min(1.0, spent[name] / most[name]),
            "limit": min(1.0, limit / most[name]),
        }


def _adjustments(room: Room, until: int) -> Iterator[Facts]:
    query = "SELECT idx, time, words FROM entries WHERE event = 'adjusted' AND idx < ? ORDER BY idx DESC"
    yield from room.index.rows(query, (until,))


def _people(room: Room, sealed: Mapping[str, Any], *, last: bool) -> tuple[list[Facts], list[Facts]]:
    """What everyone said to this dossier, and the words they signed."""
    query = "SELECT * FROM entries WHERE idx > ? AND idx < ? ORDER BY idx"
    following = room.index.rows(
        "SELECT min(idx) AS i FROM entries WHERE event = 'sealed' AND idx > ?", (sealed["idx"],)
    )
    end = 1 << 62 if last else following[0]["i"]
    said: dict[str, Facts] = {}
    notes = []
    for row in room.index.rows(query, (sealed["idx"], end)):
        if row["event"] not in ("consented", "objected"):
            continue
        predicate = words.signed(room.body(row)["envelope"])
        name = str(predicate.get("signatory", ""))
        said[name] = {"event": row["event"], "time": row["time"], "entry": row["idx"]}
        if predicate.get("note"):
            notes.append({"name": plain(name, limit=40), "note": plain(predicate["note"], limit=2_000)})
    nothing = {"event": "", "time": "", "entry": None}
    return [{"name": name, **said.get(name, nothing)} for name in sorted(room.charter.signatories)], notes
