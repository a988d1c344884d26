"""The derived index of one run: entries, samples and curves in SQLite. Made from the run's files; delete it at will."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenth.cli.words import entry_words
from tenth.sanitise import plain
from tenth.sinks.reader import Reader
from tenth.web.reading import Fresh, LogTail, Sample, ShardTail
from tenth.web.risk import signs

VERSION = 2
MOST_TEXT = 8_000
"""Characters of one sample that a page shows; the shard has them all."""
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, time TEXT, event TEXT, words TEXT, at INTEGER, size INTEGER, leaf BLOB);
CREATE INDEX entries_by_event ON entries (event, idx);
CREATE TABLE samples (
  seq INTEGER PRIMARY KEY, gate INTEGER, step INTEGER, time TEXT, prompt TEXT, text TEXT, temperature REAL,
  signs TEXT, risk INTEGER, sha TEXT, bits TEXT
);
CREATE INDEX samples_by_gate ON samples (gate, prompt, seq);
CREATE INDEX samples_by_risk ON samples (risk, seq) WHERE risk > 0;
CREATE TABLE points (series TEXT, step INTEGER, at REAL, value REAL, PRIMARY KEY (series, step)) WITHOUT ROWID;
"""
ROW = "seq, gate, step, time, prompt, text, temperature, signs, risk, sha, bits"

Row = dict[str, Any]


class Index:
    """One run's index. Used from several threads: one at a time takes in, and one at a time looks, without waiting."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._lock, self._look = threading.Lock(), threading.Lock()
        self._db, self._reader = self._open(run / "index.sqlite")
        self._log = LogTail(
            run / "log", self._leaves(), int(self._meta("entries_at", 0)), int(self._meta("heads_at", 0))
        )
        self._shards = ShardTail(run / "samples", *(int(self._meta(name, default)) for name, default in PLACE.items()))
        self._curves = Reader(run)

    def _open(self, path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        """The index beside the run; one in memory where the folder cannot be written, or of another version."""
        try:
            return self._ready(path), self._ready(path)
        except sqlite3.Error:
            try:
                for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                    path.with_name(name).unlink(missing_ok=True)
                return self._ready(path), self._ready(path)
            except (sqlite3.Error, OSError):
                self._look = self._lock
                memory = self._ready(":memory:")
                return memory, memory

    def _ready(self, path: Path | str) -> sqlite3.Connection:
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")  # derived: what a crash spoils is made again
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            db.close()
            raise sqlite3.DatabaseError("another version")
        return db

    def _meta(self, key: str, default: Any) -> Any:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else row[0]

    def _leaves(self) -> Iterator[bytes]:
        for row in self._db.execute("SELECT leaf FROM entries ORDER BY idx"):
            yield row[0]

    # --- taking in ---------------------------------------------------------------------------------------------------

    def update(self) -> int:
        """Take in what is new, one reading's worth. Returns how many rows that were. Raises BrokenPromise(7)."""
        with self._lock:
            entries, samples, points = self._log.new(), self._shards.new(), self._curves.new()
            if not (entries or samples or points):
                return 0
            self._db.execute("BEGIN")
            try:
                self._db.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?,?)", map(_entry_row, entries))
                self._db.executemany(
                    f"INSERT INTO samples ({ROW[5:]}) VALUES (?,?,?,?,?,?,?,?,?,?)", map(_sample_row, samples)
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO points VALUES (?,?,?,?)",
                    ((name, one.step, one.time, value) for one in points for name, value in one.values.items()),
                )
                places = {"entries_at": self._log.entries_at, "heads_at": self._log.heads_at}
                places |= {name: getattr(self._shards, name) for name in PLACE}
                self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", places.items())
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            return len(entries) + len(samples) + len(points)

    # --- giving out --------------------------------------------------------------------------------------------------

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._look:
            return [dict(row) for row in self._reader.execute(query, values)]

    def sizes(self) -> tuple[int, int]:
        """``(entries, number of the newest sample)``."""
        row = self.rows("SELECT (SELECT max(idx) FROM entries) AS entries, (SELECT max(seq) FROM samples) AS samples")[
            0
        ]
        return (row["entries"] + 1 if row["entries"] is not None else 0), row["samples"] or 0

    def samples_after(self, seq: int, most: int) -> list[Row]:
        return self.rows(f"SELECT {ROW} FROM samples WHERE seq > ? ORDER BY seq LIMIT ?", (seq, most))

    def samples(self, *, before: int = 1 << 62, most: int = 200, text: str = "", ranked: bool = False) -> list[Row]:
        """The newest first; those that hold ``text``; or those with signs of risk, the most first."""
        where, values = "seq < ?", [before]
        if text:
            pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
            where += " AND (text LIKE ? ESCAPE '\\' OR prompt LIKE ? ESCAPE '\\')"
            values += [pattern, pattern]  # type: ignore[list-item]
        order = "risk DESC, seq DESC" if ranked else "seq DESC"
        where += " AND risk > 0" if ranked else ""
        return self.rows(f"SELECT {ROW} FROM samples WHERE {where} ORDER BY {order} LIMIT ?", (*values, most))

    def before(self, seq: int) -> Row | None:
        """What the model wrote to the same prompt in the tenth before: the newest of it."""
        query = f"""SELECT {ROW} FROM samples WHERE prompt = (SELECT prompt FROM samples WHERE seq = :seq)
            AND gate = (SELECT gate FROM samples WHERE seq = :seq) - 1 ORDER BY seq DESC LIMIT 1"""
        with self._look:
            row = self._reader.execute(query, {"seq": seq}).fetchone()
        return dict(row) if row else None

    def entries(self, *, before: int = 1 << 62, most: int = 200, quiet: bool = False) -> list[Row]:
        """The newest first; ``quiet`` leaves the meter and the sample shards out."""
        rest = "AND event NOT IN ('metered', 'sampled')" if quiet else ""
        query = f"SELECT idx, time, event, words FROM entries WHERE idx < ? {rest} ORDER BY idx DESC LIMIT ?"
        return self.rows(query, (before, most))

    def last(self, *events: str) -> Row | None:
        """The newest entry of one of these kinds."""
        marks = ",".join("?" * len(events))
        rows = self.rows(f"SELECT * FROM entries WHERE event IN ({marks}) ORDER BY idx DESC LIMIT 1", events)
        return rows[0] if rows else None

    def leaves(self) -> list[bytes]:
        with self._look:
            return [row[0] for row in self._reader.execute("SELECT leaf FROM entries ORDER BY idx")]

    @property
    def head(self) -> Any:
        return self._log.head


PLACE: Mapping[str, int] = {"shard": 1, "line": 0, "offset": 0}


def _entry_row(fresh: Fresh) -> tuple[Any, ...]:
    entry = fresh.entry
    try:
        said = entry_words({"event": entry.event, "body": entry.body})
    except (KeyError, TypeError, ValueError, AttributeError):  # a body that no supervisor of ours wrote
        said = entry.event
    return entry.index, entry.time, entry.event, plain(said, limit=600), fresh.offset, len(entry.line), entry.leaf


def _sample_row(sample: Sample) -> tuple[Any, ...]:
    """Through the sanitising exit before anything else sees it (promise 10)."""
    fields = sample.fields
    found = signs(fields["text"])
    text, bits = _surprisal(fields["text"], fields.get("bits", []))
    heat = fields.get("temperature")
    return (
        fields["gate"], fields["step"], plain(fields.get("time", ""), limit=30),
        plain(fields["prompt"], lines=True, limit=MOST_TEXT), text,
        float(heat) if isinstance(heat, int | float) else None,
        json.dumps(found), len(found), hashlib.sha256(sample.raw).hexdigest(), json.dumps(bits) if bits else None,
    )  # fmt: skip


def _surprisal(text: str, bits: Any) -> tuple[str, list[list[float]]]:
    """The text as it may be shown, and of each token as shown its length for a browser (UTF-16) and its bits.

    What the trainer says of its tokens must fit its text, or is left out.
    """
    try:
        fits = 0 < len(text) <= MOST_TEXT and sum(int(size) for size, _ in bits) == len(text)
    except (TypeError, ValueError):  # a shard that no supervisor of ours wrote
        fits = False
    if not fits:
        return plain(text, lines=True, limit=MOST_TEXT), []
    pieces, rows, at = [], [], 0
    for size, value in bits:
        pieces.append(plain(text[at : at + int(size)], lines=True))
        rows.append([len(pieces[-1].encode("utf-16-le")) // 2, float(value)])
        at += int(size)
    return "".join(pieces), rows
