"""The auditor: replays log, law and signatures from the run directory alone, offline, and checks every digest on disk.

Promise 7, and through it promises 1, 4, 8 and 9. Stops at the first thing that does not hold and says which promise it breaks.
Does not protect against: a log cut back to an earlier head together with everything after it (a rollback); only someone
who remembers a later head, a witness or a signatory, can tell that.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.encoding import canonical, decode, digest, digest_file, is_digest
from tenth.errors import BadCharter, BrokenPromise, TenthError, Unlawful
from tenth.gate.adjustment import set_keys, without_excluded
from tenth.gate.history import History
from tenth.gate.sealing import finish, folder_digest
from tenth.log import store
from tenth.log.entry import Entry
from tenth.log.head import origin
from tenth.log.tree import Tree

UNLAWFUL = {"leased": 1, "consented": 9, "objected": 9, "metered": 4, "reached": 4}
"""Which promise an unlawful entry of each kind breaks; others break 7."""


@dataclass(frozen=True)
class Report:
    """A run that verifies."""

    run: str
    entries: int
    heads: int
    stance: str
    gate: int
    gates: int
    fingerprint: str
    """Root of the last head, in hex: compare it with what others have seen."""
    notes: tuple[str, ...]
    history: History
    """What the log says, for a supervisor that goes on from here."""


def verify(run: Path, progress: Callable[[int, int], None] | None = None) -> Report:
    """Check everything. Raises BrokenPromise at the first thing that does not hold.

    ``progress(done, of)`` is called now and then, in entries.
    """
    log = store.read(run / "log")
    if not log.entries:
        raise BrokenPromise(7, "the log is empty", str(run))
    try:
        return _Audit(run, log).all(progress)
    except BrokenPromise:
        raise
    except (TenthError, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BrokenPromise(7, "this run cannot be read", f"{type(error).__name__}: {error}"[:300]) from None


class _Audit:
    def __init__(self, run: Path, log: store.Log) -> None:
        self.run, self.log = run, log
        self.tree = Tree()
        self.accounted: dict[str, set[str]] = {name: set() for name in ("gates", "checkpoints", "samples")}
        """Names in these folders that the log speaks of."""

    def all(self, progress: Callable[[int, int], None] | None) -> Report:
        entries, log = self.log.entries, self.log
        self.history = self._opened(entries[0])
        for entry in entries:
            if entry.index:
                self._follow(entry)
            self.tree.append(entry.leaf)
            if progress and entry.index % 5000 == 0:
                progress(entry.index, len(entries))
        notes = log.notes + self._strangers()
        state = self.history.state
        return Report(
            self.history.run,
            len(entries),
            len(log.heads),
            state.stance.value,
            state.gate,
            state.gates,
            log.heads[-1].root.hex(),
            notes,
            self.history,
        )

    def _opened(self, entry: Entry) -> History:
        source = self._file("charter.toml", entry.body.get("charter"), entry)
        try:
            history = History(charters.parse(source), entry)
        except BadCharter as error:
            raise BrokenPromise(9, "the charter is not one", str(error), entry=0) from None
        except TenthError as error:
            raise BrokenPromise(7, "the log does not begin as it should", str(error), entry=0) from None
        if self.log.heads[0].origin != origin(history.run):
            raise BrokenPromise(7, "the heads are of another run", self.log.heads[0].origin, entry=0)
        self._file("manifest.json", entry.body["manifest"], entry)
        for name, wanted in entry.body["recipes"].items():
            self._file(name, wanted, entry)
        for phase, wanted in entry.body["data"].items():
            self._file(f"data.{phase}.jsonl", wanted, entry)
        return history

    def _follow(self, entry: Entry) -> None:
        try:
            dossier = self._sealed(entry) if entry.event == "sealed" else None
            self.history.follow(entry, dossier)
        except BrokenPromise:
            raise
        except Unlawful as error:
            promise = UNLAWFUL.get(entry.event, 7)
            raise BrokenPromise(promise, f"entry {entry.index} is unlawful", str(error), entry=entry.index) from None
        except TenthError as error:
            promise = 9 if "envelope" in entry.body or entry.event == "leased" else 7
            what = f"entry {entry.index}, '{entry.event}', does not hold"
            raise BrokenPromise(promise, what, str(error), entry=entry.index) from None
        if entry.event == "reached":
            self._checkpoint(entry)
        shard = entry.body if entry.event == "sampled" else entry.body.get("sampled")
        if shard:
            self._shard(shard, entry)

    # --- what the entries point at -----------------------------------------------------------------------------------

    def _sealed(self, entry: Entry) -> Mapping[str, Any]:
        """The dossier, which must say what the history says and cover what lies on disk."""
        path = entry.body["path"]
        if path != self.history.gate_path():
            raise BrokenPromise(7, f"gate folder {path!r} is out of order", self.history.gate_path(), entry=entry.index)
        self.accounted["gates"].add(Path(path).name)
        dossier = decode(self._file(f"{path}/dossier.json", entry.body["dossier"], entry), "the dossier")
        wanted = self.history.dossier_base(charters.compute(entry.body["spent"]), frozen=dossier["frozen"])
        wanted["log"] = {"size": entry.index, "root": self.tree.root().hex()}
        wanted |= {"recipe": self._recipe(entry), "data": self._data(entry)}
        for key, value in wanted.items():
            # Compared as written: True is not 1 there.
            if canonical(dossier.get(key)) != canonical(value):
                found = f"it says {dossier.get(key)!r}, the log {value!r}"[:300]
                raise BrokenPromise(9, f"the dossier's '{key}' is wrong", found, entry=entry.index)
        if set(dossier) != set(wanted) | {"evidence", "protections"}:
            raise BrokenPromise(9, "the dossier has other keys", ", ".join(sorted(dossier)), entry=entry.index)
        if dossier["frozen"] and not self.history.frozen:
            raise BrokenPromise(3, "the dossier promises a thaw", "nothing was frozen", entry=entry.index)
        self._evidence(path, dossier["evidence"], entry)
        return dict(dossier)

    def _evidence(self, path: str, panels: Any, entry: Entry) -> None:
        asked = [panel.name for panel in self.history.evidence]
        found = [panel["name"] for panel in panels]
        if found != asked:
            raise BrokenPromise(9, "evidence is missing", f"asked: {asked}, in the dossier: {found}", entry=entry.index)
        for panel in panels:
            folder = self.run / panel["path"]
            if panel["path"] != f"{path}/evidence/{panel['name']}":
                raise BrokenPromise(9, f"evidence {panel['name']!r} lies elsewhere", panel["path"], entry=entry.index)
            self._folder(folder, panel["digest"], f"evidence '{panel['name']}' of {path}", entry)

    def _recipe(self, entry: Entry) -> str:
        """Digest of the recipe in force; it must be the first one with the adjustments' keys set."""
        history = self.history
        first, name = history.recipe_name, history.recipe_file()
        found = digest_file(self.run / name)
        if name != first:
            document = tomllib.loads((self.run / first).read_text())
            for change in history.recipe_changes(first):
                set_keys(document, change)
            if tomllib.loads((self.run / name).read_text()) != document:
                raise BrokenPromise(9, f"{name} is not the adjusted recipe", found, entry=entry.index)
        elif found != history.opened["recipes"][first]:
            raise BrokenPromise(9, f"{name} was changed", found, entry=entry.index)
        return found

    def _data(self, entry: Entry) -> str:
        history = self.history
        first, name = f"data.{history.phase_name}.jsonl", history.data_file()
        if name == first:
            return str(history.opened["data"][history.phase_name])
        found = (self.run / name).read_bytes()
        globs = [glob for group in history.exclusions() for glob in group]
        if found != without_excluded((self.run / first).read_bytes(), globs):
            raise BrokenPromise(9, f"{name} is not the adjusted listing", digest(found), entry=entry.index)
        return digest(found)

    def _checkpoint(self, entry: Entry) -> None:
        checkpoint = entry.body["checkpoint"]
        wanted = f"checkpoints/{entry.body['gate']:02d}"
        if checkpoint["path"] != wanted:
            raise BrokenPromise(9, "a checkpoint lies elsewhere", checkpoint["path"], entry=entry.index)
        self.accounted["checkpoints"].add(Path(wanted).name)
        self._folder(self.run / wanted, checkpoint["digest"], wanted, entry)

    def _shard(self, shard: Mapping[str, Any], entry: Entry) -> None:
        path = Path(shard["path"])
        if path.parent != Path("samples") or path.name in self.accounted["samples"]:
            raise BrokenPromise(7, "a sample shard lies elsewhere, or twice", str(path), entry=entry.index)
        self.accounted["samples"].add(path.name)
        data = self._file(str(path), shard["sha256"], entry)
        if data.count(b"\n") != shard["count"]:
            raise BrokenPromise(7, f"{path} does not hold {shard['count']} samples", str(path), entry=entry.index)

    # --- digests -----------------------------------------------------------------------------------------------------

    def _file(self, name: str, wanted: Any, entry: Entry) -> bytes:
        try:
            data = (self.run / name).read_bytes()
        except OSError as error:
            raise BrokenPromise(7, f"{name} cannot be read", str(error), entry=entry.index) from None
        if not is_digest(wanted) or digest(data) != wanted:
            found = f"the log says {wanted}, the file is {digest(data)}"
            raise BrokenPromise(9, f"{name} is not the file the log speaks of", found, entry=entry.index)
        return data

    def _folder(self, folder: Path, wanted: Any, what: str, entry: Entry) -> None:
        try:
            found = finish(folder_digest(folder))
        except (OSError, TenthError) as error:
            raise BrokenPromise(9, f"{what} cannot be read", str(error), entry=entry.index) from None
        if found != wanted:
            what = f"{what} is not what the log speaks of: a file was changed, added or removed"
            raise BrokenPromise(9, what, f"digest {found}, on record {wanted}", entry=entry.index)

    def _strangers(self) -> tuple[str, ...]:
        """Folders that the log does not speak of: what a crash left behind, or somebody put there."""
        found = []
        for kind, known in self.accounted.items():
            names = {p.name for p in (self.run / kind).iterdir()} if (self.run / kind).is_dir() else set()
            found += [f"{kind}/{name} is not in the log" for name in sorted(names - known) if not name.startswith(".")]
        return tuple(found)
