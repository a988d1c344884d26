"""The run directory: begin one whole or not at all, find it again, let one supervisor in at a time."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import platform
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.charter import Charter
from tenth.encoding import canonical, decode, digest, sync_folder, write_durably
from tenth.errors import RunRefused, WrongInput
from tenth.gate.sealing import data_listing, finish
from tenth.keys import SigningKey
from tenth.log.store import LogWriter
from tenth.supervisor.sandbox import Protection

FOLDERS = ("log", "gates", "checkpoints", "samples", "work")


@dataclass(frozen=True)
class RunDir:
    """Paths of one run. All are absolute."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def root(self) -> Path:
        """The folder of the charter: what relative paths of data and commands are relative to."""
        return Path(self.manifest()["machine"]["root"])

    def manifest(self) -> dict[str, Any]:
        return dict(decode((self.path / "manifest.json").read_bytes(), "manifest.json"))

    def charter(self) -> Charter:
        return charters.parse((self.path / "charter.toml").read_bytes())

    def key(self) -> SigningKey:
        return SigningKey.load(self.path / "supervisor.key")

    @classmethod
    def find(cls, path: Path) -> RunDir:
        path = path.resolve()
        if not (path / "log" / "entries.jsonl").is_file():
            raise RunRefused("there is no run here", str(path), "begin one with 'tenth run charter.toml'")
        return cls(path)

    def lock(self) -> int:
        """Hold the run: the descriptor's life is the lock's. Refuses while another supervisor lives."""
        file = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(file, 20).decode("ascii", "replace").strip()
            os.close(file)
            raise RunRefused(
                f"the run {self.name} has a supervisor already",
                f"process {owner} holds it",
                "use 'tenth status' and 'tenth watch', or stop that process",
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        return file


def begin(charter_file: Path, runs: Path, protections: list[Protection], now: float) -> RunDir:
    """Make a run directory with its first log entry, ``opened``; it appears under its name only when it is whole."""
    source = _read(charter_file)
    charter = charters.parse(source)
    root = charter_file.resolve().parent
    run = f"{charter.name}-{secrets.token_hex(4)}"
    runs.mkdir(parents=True, exist_ok=True)
    draft = (runs / f".{run}.tmp").resolve()
    draft.mkdir(mode=0o755)
    try:
        for name in FOLDERS:
            (draft / name).mkdir()
        opened = _write_agreement(draft, charter, root, run, protections)
        key = SigningKey.generate()
        key.save(draft / "supervisor.key", f"log of {run}")
        log = LogWriter(draft / "log", run, key, lambda: now)
        log.append(("opened", {**opened, "log_key": key.public.line}))
        log.close()
        for name in (*FOLDERS, "."):
            sync_folder(draft / name)
        draft.rename(runs / run)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(runs)
    return RunDir((runs / run).resolve())


def _write_agreement(
    draft: Path, charter: Charter, root: Path, run: str, protections: list[Protection]
) -> dict[str, Any]:
    """Copy what was agreed, pin what it speaks of; returns the body of ``opened`` but for the log's key."""
    write_durably(draft / "charter.toml", charter.source)
    recipes = {}
    for name in {phase.recipe for phase in charter.phases}:
        recipe = _read(root / name)
        write_durably(draft / name, recipe)
        recipes[name] = digest(recipe)
    data, code = [], []
    for phase in charter.phases:
        listing = finish(data_listing(root, phase.data))
        if not listing:
            raise WrongInput(f"phase '{phase.name}' cannot start", "its data holds no documents", "mend 'data'")
        path = f"data.{phase.name}.jsonl"
        write_durably(draft / path, listing)
        sizes = [decode(line)["size"] for line in listing.splitlines()]
        row = {"phase": phase.name, "path": path, "digest": digest(listing), "files": len(sizes), "bytes": sum(sizes)}
        data.append(row)
        code += [{"path": name, "digest": digest(finish(data_listing(root, [name])))} for name in phase.code]
    package = Path(__file__).resolve().parents[1]
    code.append({"path": "tenth", "digest": digest(finish(data_listing(package, _sources(package))))})
    manifest = {
        "version": 1,
        "data": data,
        "code": code,
        "packages": sorted({f"{one.name}=={one.version}" for one in importlib.metadata.distributions()}),
        "machine": {**_machine(), "root": str(root)},
        "protections": [one.record() for one in protections],
    }
    write_durably(draft / "manifest.json", canonical(manifest))
    return {
        "version": 1,
        "run": run,
        "nonce": secrets.token_hex(16),
        "charter": charter.digest,
        "manifest": digest(canonical(manifest)),
        "recipes": recipes,
        "data": {row["phase"]: row["digest"] for row in data},
    }


def _sources(package: Path) -> list[str]:
    return [str(path.relative_to(package)) for path in sorted(package.rglob("*.py"))]


def _machine() -> Mapping[str, Any]:
    system = os.uname()
    return {
        "system": f"{system.sysname} {system.release}",
        "architecture": system.machine,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "user": os.getuid(),
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongInput(
            f"{path} cannot be read", error.strerror or str(error), "'tenth init' writes an example"
        ) from None
