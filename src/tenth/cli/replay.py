"""A run's history as its log tells it, without the files that a reviewer may not have: log, law, signatures, dossiers.

``tenth verify`` checks more: every checkpoint and every sample. This is what a pack for offline review is held against.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.encoding import decode, digest
from tenth.errors import BrokenPromise, TenthError
from tenth.gate.history import History
from tenth.gate.sealing import finish, folder_digest
from tenth.log import store
from tenth.verify import Report, verify

ATTEMPTS = 20


@dataclass(frozen=True)
class Replay:
    """What a log says."""

    path: Path
    log: store.Log
    history: History
    gate_path: str | None
    """Folder of the last sealed gate."""

    @property
    def fingerprint(self) -> str:
        return self.log.heads[-1].root.hex()


def audit(run: Path) -> Report:
    """``verify``, for a run that may be alive: a log that grew while it was read is read again."""
    for _ in range(ATTEMPTS):
        before = _log_size(run)
        try:
            return verify(run)
        except BrokenPromise:
            if _log_size(run) == before:
                raise
    return verify(run)


def _log_size(run: Path) -> tuple[int, ...]:
    return tuple(
        path.stat().st_size for path in (run / "log" / store.ENTRIES, run / "log" / store.HEADS) if path.exists()
    )


def replay(run: Path) -> Replay:
    """Follow the log. Raises BrokenPromise where log, law, signatures or dossiers do not hold."""
    for _ in range(ATTEMPTS):
        before = _log_size(run)
        try:
            return _replay(run)
        except BrokenPromise:
            if _log_size(run) == before:
                raise
    return _replay(run)


def _replay(run: Path) -> Replay:
    log = store.read(run / "log")
    if not log.entries:
        raise BrokenPromise(7, "the log is empty", str(run))
    try:
        history = History(charters.parse((run / "charter.toml").read_bytes()), log.entries[0])
        gate_path = None
        for entry in log.entries[1:]:
            dossier = None
            if entry.event == "sealed":
                gate_path = str(entry.body["path"])
                dossier = _dossier(run / gate_path / "dossier.json", entry.body["dossier"])
            history.follow(entry, dossier)
    except BrokenPromise:
        raise
    except (TenthError, OSError, KeyError, TypeError, ValueError) as error:
        raise BrokenPromise(7, "this run cannot be replayed", str(error)[:300]) from None
    return Replay(run, log, history, gate_path)


def _dossier(path: Path, wanted: str) -> Mapping[str, Any]:
    data = path.read_bytes()
    if digest(data) != wanted:
        raise BrokenPromise(9, f"{path.name} of {path.parent.name} is not the one on record", f"digest {digest(data)}")
    return dict(decode(data, "the dossier"))


def check_what_is_covered(run: Path, dossier: Mapping[str, Any], *, files: Mapping[str, str]) -> list[str]:
    """Hash what lies here of what the dossier names; returns it in words. Raises BrokenPromise(9) at a difference."""
    seen = []
    for name, wanted in files.items():
        if (run / name).is_file():
            _same(name, digest((run / name).read_bytes()), wanted)
            seen.append(name)
    for panel in dossier["evidence"]:
        _same(panel["path"], finish(folder_digest(run / panel["path"])), panel["digest"])
        seen.append(f"evidence '{panel['name']}'")
    for shard in dossier["samples"]:
        if (run / shard["path"]).is_file():
            _same(shard["path"], digest((run / shard["path"]).read_bytes()), shard["sha256"])
            seen.append(shard["path"])
    checkpoint = dossier["checkpoint"]
    if checkpoint and os.path.isdir(run / checkpoint["path"]):
        _same(checkpoint["path"], finish(folder_digest(run / checkpoint["path"])), checkpoint["digest"])
        seen.append(checkpoint["path"])
    return seen


def _same(what: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise BrokenPromise(9, f"{what} is not what the dossier speaks of", f"digest {found}, on record {wanted}")
