"""Open a run: make its directory, copy what was agreed, pin what it speaks of, write the log's first entry.

Not part of the trusted core: the supervisor looks at everything that is written here again before gate 0 is sealed.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth import keyfile
from tenth.charter import Charter
from tenth.encoding import canonical, decode, digest, sync_folder, write_durably
from tenth.errors import WrongInput
from tenth.gate.sealing import data_listing, finish
from tenth.keys import SigningKey
from tenth.log.store import LogWriter
from tenth.supervisor.rundir import RunDir

RUNS = (".py", ".js", ".mjs", ".css", ".svg", ".html")
"""Endings of what runs: Python, and what the control room serves."""
FOLDERS = ("log", "gates", "checkpoints", "samples", "work")


def begin(
    charter_file: Path, runs: Path, protections: list[dict[str, Any]], now: float, peak: Mapping[str, Any],
    probes: Sequence[dict[str, Any]] = (),
) -> RunDir:  # fmt: skip
    """Make a run directory with its first log entry, ``opened``; it appears under its name only when it is whole.

    ``peak``: what one device computes at its best, as ``tenth.peak.of_this_machine`` gives it.
    """
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
        opened = _write_agreement(draft, charter, root, run, peak, protections, probes)
        key = SigningKey.generate()
        keyfile.save(key, draft / "supervisor.key", f"log of {run}")
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
    draft: Path,
    charter: Charter,
    root: Path,
    run: str,
    peak: Mapping[str, Any],
    protections: list[dict[str, Any]],
    probes: Sequence[dict[str, Any]],
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
    package = Path(__file__).resolve().parent
    code.append({"path": "tenth", "digest": digest(finish(data_listing(package, _sources(package))))})
    manifest = {
        "version": 1,
        "data": data,
        "code": code,
        "packages": sorted({f"{one.name}=={one.version}" for one in importlib.metadata.distributions()}),
        "machine": {**_machine(), **peak, "root": str(root)},
        "protections": protections,
        "probes": list(probes),
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
    """Everything of ours that runs, on this machine or in a browser."""
    return [str(path.relative_to(package)) for path in sorted(package.rglob("*")) if path.suffix in RUNS]


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
