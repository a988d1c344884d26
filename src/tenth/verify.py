"""The auditor: replays log, law and signatures from the run directory alone, offline, and checks every digest on disk.

Promise 7, and through it 1, 4, 8 and 9. Stops at the first thing that does not hold and says which promise it breaks.
Does not protect against: a log cut back to an earlier head together with everything after it (a rollback); only someone
who remembers a later head, a witness or a signatory, can tell that (``tenth.witness.checking``, for ``tenth verify``).
"""

from __future__ import annotations

import gc
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.encoding import canonical, decode, digest, digest_file, read_plain
from tenth.errors import BadCharter, BrokenPromise, TenthError, Unlawful
from tenth.gate.adjustment import set_keys, without_excluded
from tenth.gate.history import History
from tenth.gate.sealing import SEALED, SHARES, finish, folder_digest, surprised
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
    collecting = gc.isenabled()
    gc.disable()  # a hundred thousand entries, none of them garbage
    try:
        log = store.read(run / "log")
        if not log.entries:
            raise BrokenPromise(7, "the log is empty", str(run))
        return _Audit(run, log).all(progress)
    except BrokenPromise:
        raise
    except (TenthError, OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BrokenPromise(7, "this run cannot be read", f"{type(error).__name__}: {error}"[:300]) from None
    finally:
        if collecting:
            gc.enable()


class _Audit:
    def __init__(self, run: Path, log: store.Log) -> None:
        self.run, self.log = run, log
        self.roots = {head.size: head.root for head in log.heads}
        self.at = 0
        """The entry that is looked at."""
        self.said: set[tuple[str, bytes]] = set()
        """The envelopes in the log, and where copies of them may lie."""
        self.unseen = ""
        """A checkpoint that is gone, until its encrypted form has been seen."""
        self.accounted: dict[str, set[str]] = {name: set() for name in ("gates", "checkpoints", "samples")}
        """Names in these folders that the log speaks of."""

    def all(self, progress: Callable[[int, int], None] | None) -> Report:
        entries, heads = self.log.entries, self.log.heads
        self.history = self._opened(entries[0])
        for entry in entries:
            self.at = entry.index
            if entry.index:
                self._follow(entry)
            if progress and entry.index % 5000 == 0:
                progress(entry.index, len(entries))
        for gate in self.accounted["gates"]:
            for copy in self.run.glob(f"gates/{gate}/consents/[!.]*"):
                name = str(copy.relative_to(self.run))
                self._hold((name, read_plain(copy)) in self.said, 9, f"{name} is no copy of a logged statement")
        self._hold(not self.unseen, 9, f"{self.unseen} is missing")
        history, notes = self.history, self.log.notes + self._strangers()
        state, root = history.state, heads[-1].root.hex()
        size = (len(entries), len(heads))
        return Report(history.run, *size, state.stance.value, state.gate, state.gates, root, notes, history)

    def _hold(self, holds: object, promise: int, what: str, found: str = "") -> None:
        if not holds:
            raise BrokenPromise(promise, what, found[:400], entry=self.at)

    def _opened(self, entry: Entry) -> History:
        source = self._file("charter.toml", entry.body.get("charter"))
        try:
            history = History(charters.parse(source), entry)
        except TenthError as error:
            promise = 9 if isinstance(error, BadCharter) else 7
            raise BrokenPromise(promise, "the log does not begin as it should", str(error), entry=0) from None
        self._hold(self.log.heads[0].origin == origin(history.run), 7, "the heads are of another run")
        data = {f"data.{phase}.jsonl": wanted for phase, wanted in entry.body["data"].items()}
        for name, wanted in {"manifest.json": entry.body["manifest"], **entry.body["recipes"], **data}.items():
            self._file(name, wanted)
        return history

    def _follow(self, entry: Entry) -> None:
        body = entry.body
        try:
            event = self.history.follow(entry, self._sealed(entry) if entry.event == "sealed" else None)
        except BrokenPromise:
            raise
        except TenthError as error:
            promise = 9 if "envelope" in body or entry.event == "leased" else 7
            if isinstance(error, Unlawful):
                promise = UNLAWFUL.get(entry.event, 7)
            what = f"entry {entry.index}, '{entry.event}', does not hold"
            raise BrokenPromise(promise, what, str(error), entry=entry.index) from None
        if entry.event == "reached":
            path, wanted = body["checkpoint"]["path"], f"checkpoints/{body['gate']:02d}"
            self._hold(path == wanted, 9, "a checkpoint lies elsewhere", path)
            if self.history.charter.seal.checkpoints and not (self.run / path).exists():
                self.unseen, name = path, Path(path).name
                self.accounted["checkpoints"].add(name)
            else:
                self._folder("checkpoints", path, body["checkpoint"]["digest"])
        if entry.event == "sampled":
            self._shard(body)
        if "envelope" in body:
            name = f"{self.history.sealed_path}/consents/{event.by}.json"
            self.said.add((name, canonical(body["envelope"])))

    # --- what the entries point at -----------------------------------------------------------------------------------

    def _sealed(self, entry: Entry) -> Mapping[str, Any]:
        """The dossier, which must say what the history says and cover what lies on disk."""
        path, history = entry.body["path"], self.history
        self._hold(path == history.gate_path(), 7, f"gate folder {path!r} is out of order", history.gate_path())
        self.accounted["gates"].add(Path(path).name)
        dossier = decode(self._file(f"{path}/dossier.json", entry.body["dossier"]), "the dossier")
        wanted = history.dossier_base(charters.compute(entry.body["spent"]), frozen=dossier["frozen"] is True)
        wanted["log"] = {"size": entry.index, "root": self._root(entry.index).hex()}
        wanted |= {"recipe": self._recipe(), "data": self._data()}
        for key, value in wanted.items():
            said = dossier.get(key)  # compared as written: True is not 1 there
            same = json.dumps(said) == json.dumps(value) or canonical(said) == canonical(value)
            self._hold(
                same, 9, f"the dossier's '{key}' is wrong", "" if same else f"it says {said!r}, the log {value!r}"
            )
        extra = {"evidence", "protections"} | ({"sealed"} if history.charter.seal.checkpoints else set())
        self._hold(set(dossier) == set(wanted) | extra, 9, "the dossier has other keys")
        self._sealed_checkpoint(dossier.get("sealed"))
        self._hold(not dossier["frozen"] or history.frozen, 3, "the dossier promises a thaw", "nothing was frozen")
        asked, found = [panel.name for panel in history.evidence], [panel["name"] for panel in dossier["evidence"]]
        self._hold(found == asked, 9, "evidence is missing", f"asked: {asked}, in the dossier: {found}")
        for panel in dossier["evidence"]:
            self._hold(panel["path"] == f"{path}/evidence/{panel['name']}", 9, "evidence lies elsewhere", panel["path"])
            self._folder("gates", panel["path"], panel["digest"])
            said = surprised(self.run / panel["path"])
            self._hold(panel["surprised"] is said, 9, f"'{panel['name']}' says otherwise of its surprise", repr(said))
        return dict(dossier)

    def _sealed_checkpoint(self, sealed: Any) -> None:
        """Promise 14: where the charter asks for it, what lies on the table is encrypted."""
        checkpoint, before = self.history.checkpoint, self.history.sealed_checkpoint
        if not self.history.charter.seal.checkpoints:
            return
        self._hold((sealed is None) is (checkpoint is None), 14, "a checkpoint was not encrypted", repr(sealed))
        if sealed and checkpoint:
            wanted = checkpoint["path"] + SEALED
            found = {"path": wanted, "digest": sealed["digest"]}
            self._hold(sealed == (before or found), 14, "a sealed checkpoint is another one, or lies elsewhere", wanted)
            self._folder("checkpoints", wanted, sealed["digest"])
            self.accounted["checkpoints"].add(Path(checkpoint["path"] + SHARES).name)
            self.unseen = ""

    def _recipe(self) -> str:
        """Digest of the recipe in force; it must be the first one with the adjustments' keys set."""
        first, name = self.history.recipe_name, self.history.recipe_file()
        found = digest_file(self.run / name)
        if name == first:
            self._hold(found == self.history.opened["recipes"][first], 9, f"{name} was changed", found)
        else:
            document = tomllib.loads(read_plain(self.run / first).decode())
            for change in self.history.recipe_changes(first):
                set_keys(document, change)
            adjusted = tomllib.loads(read_plain(self.run / name).decode())
            self._hold(adjusted == document, 9, f"{name} is not the adjusted recipe")
        return found

    def _data(self) -> str:
        first, name = f"data.{self.history.phase_name}.jsonl", self.history.data_file()
        if name == first:
            return str(self.history.opened["data"][self.history.phase_name])
        found = read_plain(self.run / name)
        globs = [glob for group in self.history.exclusions() for glob in group]
        kept = without_excluded(read_plain(self.run / first), globs)
        self._hold(found == kept, 9, f"{name} is not the adjusted listing", digest(found))
        return digest(found)

    def _shard(self, shard: Mapping[str, Any]) -> None:
        folder, _, name = shard["path"].partition("/")
        fresh = folder == "samples" and "/" not in name and name not in self.accounted["samples"]
        self._hold(fresh, 7, "a sample shard lies elsewhere, or twice", shard["path"])
        self.accounted["samples"].add(name)
        data = self._file(shard["path"], shard["sha256"])
        counted = canonical(shard["count"]) == b"%d" % data.count(b"\n")
        self._hold(counted, 7, "a shard does not hold the samples it should", name)

    def _root(self, size: int) -> bytes:
        if size not in self.roots:  # no head was signed just there
            tree = Tree()
            for entry in self.log.entries[:size]:
                tree.append(entry.leaf)
            self.roots[size] = tree.root()
        return self.roots[size]

    # --- digests -----------------------------------------------------------------------------------------------------

    def _file(self, name: str, wanted: Any) -> bytes:
        try:
            data = read_plain(self.run / name)
        except OSError as error:
            raise BrokenPromise(7, f"{name} cannot be read", str(error), entry=self.at) from None
        found = digest(data)
        if found != wanted:
            self._hold(False, 9, f"{name} is not what the log speaks of", f"the log says {wanted}, the file is {found}")
        return data

    def _folder(self, kind: str, path: str, wanted: Any) -> None:
        self.accounted[kind].add(path.split("/")[1])
        try:
            found = finish(folder_digest(self.run / path))
        except (OSError, TenthError) as error:
            raise BrokenPromise(9, f"{path} cannot be read", str(error), entry=self.at) from None
        what = f"{path} is not what the log speaks of: a file was changed, added or removed"
        self._hold(found == wanted, 9, what, f"digest {found}, on record {wanted}")

    def _strangers(self) -> tuple[str, ...]:
        """Folders that the log does not speak of: what a crash left behind, or somebody put there."""
        found = []
        for kind, known in self.accounted.items():
            names = {p.name for p in (self.run / kind).iterdir()} if (self.run / kind).is_dir() else set()
            found += [f"{kind}/{name} is not in the log" for name in sorted(names - known) if not name.startswith(".")]
        return tuple(found)
