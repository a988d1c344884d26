"""What happens between a tenth and its gate: the checkpoint is sealed, evidence is computed, the dossier is written.

Everything here is done in small steps by generators, so that the supervisor's one loop hears the cord between any two.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from tenth.charter import Evidence
from tenth.encoding import canonical, digest, digest_file, write_durably
from tenth.errors import TenthError, WrongInput
from tenth.gate.adjustment import patched_recipe, without_excluded
from tenth.gate.history import History
from tenth.gate.sealing import data_listing, folder_digest, make_durable, seal, surprised
from tenth.supervisor.child import Child, cell
from tenth.supervisor.rundir import OPEN, RunDir

WAIT = 0.02
"""Seconds to wait for a child before looking again."""
MOST_EVIDENCE_BYTES = 1 << 30
RECORD = ("manifest.json", "log/entries.jsonl", "gates", "samples", "reviews.jsonl")
"""What of the run's record an evidence command may read."""
MOST_FILES = 20_000
"""In the work folder: more could not be looked at between two moments of the cord."""

Steps = Generator[float | None, None, Any]
"""Work in small steps; a step may say how many seconds it can wait."""


class Trip(TenthError):
    """Something that must halt the run: ``reason`` is one of gate.history.REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"the run is tripped ({reason})", detail)
        self.reason, self.detail = reason, detail


@contextlib.contextmanager
def tripping(reason: str) -> Iterator[None]:
    """Whatever is refused in here trips the run."""
    try:
        yield
    except WrongInput as error:
        raise Trip(reason, str(error)) from None


def seal_checkpoint(run: RunDir, saved: str, gate: int) -> Steps:
    """Move what the trainer saved to its place; returns the record for ``reached``."""
    path = f"checkpoints/{gate:02d}"
    target, source = run.path / path, run.work / saved
    discard(target)  # of a tenth that a crash undid: the log does not speak of it
    with tripping("checkpoint"):
        if source.resolve() != source or not source.is_dir():
            raise WrongInput(f"'{saved}' cannot be sealed", "it is a link, or not a folder in the work folder")
        if size(source, MOST_FILES) > (most := run.charter().quarantine.output_bytes):
            raise Trip("limit", f"more than {most:,.0f} bytes or {MOST_FILES:,} files in the checkpoint")
        found = yield from seal(source, target)
    return {"path": path, "digest": found}


def unchanged(run: RunDir, history: History) -> Steps:
    """Trip unless charter, recipes, listings, manifest, code and checkpoint are what was agreed."""
    pinned = {"charter.toml": history.charter.digest, "manifest.json": history.opened["manifest"]}
    pinned |= history.opened["recipes"]
    pinned |= {f"data.{phase}.jsonl": wanted for phase, wanted in history.opened["data"].items()}
    for name, wanted in pinned.items():
        _same_file(run, name, wanted)
    named = {name for phase in history.charter.phases for name in phase.code}
    for row in (row for row in run.manifest()["code"] if row["path"] in named):
        with tripping("data"):
            listing = yield from data_listing(run.root, [row["path"]])
        if digest(listing) != row["digest"]:
            raise Trip("data", f"the code '{row['path']}' was changed")
    if checkpoint := history.sealed_checkpoint or history.checkpoint:
        with tripping("checkpoint"):
            found = yield from folder_digest(run.path / checkpoint["path"])
        if found != checkpoint["digest"]:
            raise Trip("checkpoint", f"{checkpoint['path']} was changed after it was sealed")


def still_as_sealed(run: RunDir, history: History) -> Steps:
    """Trip unless everything that was consented to is still what it was (promise 9)."""
    yield from unchanged(run, history)
    dossier = history.dossier
    assert dossier is not None
    files = {history.recipe_file(): dossier["recipe"], history.data_file(): dossier["data"]}
    for name, wanted in {f"{history.sealed_path}/dossier.json": history.state.dossier, **files}.items():
        _same_file(run, name, wanted)
    for panel in dossier["evidence"]:
        with tripping("evidence"):
            found = yield from folder_digest(run.path / panel["path"])
        if found != panel["digest"]:
            raise Trip("evidence", f"{panel['path']} was changed after it was sealed")


def _same_file(run: RunDir, name: str, wanted: str | None) -> None:
    if not (run.path / name).is_file() or digest_file(run.path / name) != wanted:
        raise Trip("data", f"{name} in the run directory was changed")


def documents_unchanged(run: RunDir, history: History) -> Steps:
    """Trip unless the data is what was agreed."""
    phase = history.tenth.phase
    with tripping("data"):
        found = yield from data_listing(run.root, phase.data)
    agreed = (run.path / f"data.{phase.name}.jsonl").read_bytes()
    if found != agreed:
        before, now = set(agreed.splitlines()), set(found.splitlines())
        example = min(before ^ now).decode()[:200]
        raise Trip("data", f"the data of '{phase.name}' changed, for one: {example}")


def write_adjusted(run: RunDir, history: History) -> None:
    """Make the recipe and the listing in force, if adjustments changed them. Raises BadStatement if one cannot be."""
    first = history.recipe_name
    changes = history.recipe_changes(first)
    if changes:
        write_durably(run.path / history.recipe_file(), patched_recipe((run.path / first).read_bytes(), changes))
    if globs := [glob for group in history.exclusions() for glob in group]:
        listing = without_excluded((run.path / f"data.{history.phase_name}.jsonl").read_bytes(), globs)
        write_durably(run.path / history.data_file(), listing)


def evidence(run: RunDir, history: History, path: str, charge: Callable[[float], None], left: float) -> Steps:
    """Run each panel's command in the sandbox; returns the dossier's ``evidence``. One that fails trips the run.

    ``charge`` is told the device-seconds spent, also when the work is broken off; ``left`` is how many there are.
    """
    rows = []
    for panel in history.evidence:
        out = run.path / path / "evidence" / panel.name
        if history.sealed_checkpoint:
            rows.append(_once_more(run, history, panel.name, out))
            continue
        out.mkdir(parents=True)
        sealed = _describe(run, history, path)
        spent = yield from _run_panel(run, panel, out, sealed, charge, left)
        left -= spent
        with tripping("evidence"):
            found = yield from folder_digest(out)
            row = {"name": panel.name, "surprised": surprised(out), "device_seconds": spent}
        rows.append({**row, "path": f"{path}/evidence/{panel.name}", "digest": found})
    return rows


def _once_more(run: RunDir, history: History, name: str, out: Path) -> dict[str, Any]:
    """The evidence of the dossier before: the same checkpoint, which nobody can open for another look."""
    rows = [row for row in (history.dossier or {})["evidence"] if row["name"] == name]
    with tripping("evidence"):
        if not rows:
            raise WrongInput(f"there is no evidence '{name}'", "the checkpoint was sealed before it was asked for")
        shutil.copytree(run.path / rows[0]["path"], out)
    return {**rows[0], "path": str(out.relative_to(run.path)), "device_seconds": 0.0}


def _describe(run: RunDir, history: History, path: str) -> Path:
    """The file that tells an evidence command what lies where."""
    number = f"{history.state.gate - 1:02d}"
    before = next((name for name in (f"checkpoints/{number}", f"{OPEN}/{number}") if (run.path / name).is_dir()), None)
    assert history.checkpoint is not None
    facts = {
        "run": history.run,
        "path": str(run.path),
        "gate": history.state.gate,
        "checkpoint": str(run.path / history.checkpoint["path"]),
        "previous": str(run.path / before) if before else None,
        "data": str(run.path / history.data_file()),
        "root": str(run.root),
        "recipe": str(run.path / history.recipe_file()),
        "work": str(run.work),
        "prompts": list(history.charter.watch.prompts),
    }
    target = run.path / path / "sealed.json"
    target.write_text(json.dumps(facts, indent=1))
    return target


def _run_panel(
    run: RunDir, panel: Evidence, out: Path, sealed: Path, charge: Callable[[float], None], left: float
) -> Steps:
    words = [*panel.command, *(name for phase in run.charter().phases for name in phase.data)]
    seen = [*run.shown(), run.work, sealed, *_files(run)]
    inside = cell(run, words, out, seen, {"TENTH_SEALED": str(sealed), "TENTH_OUT": str(out)})
    deadline = time.monotonic() + panel.timeout_seconds
    child = Child(run, panel.command, inside, f"tenth-{run.name}-evidence-{time.monotonic_ns()}")
    try:
        while child.leash.poll() is None:
            if time.monotonic() > deadline:
                raise Trip("evidence", f"'{panel.name}' took longer than {panel.timeout_seconds:g} s")
            if child.device_seconds() > left:
                raise Trip("ceiling", f"evidence '{panel.name}' reached the ceiling")
            if size(out) > MOST_EVIDENCE_BYTES:
                raise Trip("evidence", f"'{panel.name}' wrote more than {MOST_EVIDENCE_BYTES:,} bytes")
            yield WAIT
    finally:
        spent = child.device_seconds()
        child.close()
        charge(spent)
    if status := child.leash.poll():
        raise Trip("evidence", f"'{panel.name}' ended with status {status}; its last words: {child.last_words()}")
    return spent


def _files(run: RunDir) -> list[Path]:
    record = [path for name in RECORD if (path := run.path / name).exists()]
    return sorted([*run.path.glob("*.toml"), *run.path.glob("data.*.jsonl"), *record])


def size(folder: Path, most: float = float("inf")) -> float:
    """Bytes of what lies below, on disk or to be read, holes included; what comes and goes meanwhile is not counted.
    Infinite above ``most`` files."""
    total, count, todo = 0, 0, [folder]
    while todo:
        with contextlib.suppress(OSError), os.scandir(todo.pop()) as entries:
            for entry in entries:
                count += 1
                if count > most:
                    return float("inf")
                with contextlib.suppress(OSError):
                    found = entry.stat(follow_symlinks=False)
                    total += max(found.st_blocks * 512, found.st_size)
                    todo += [Path(entry.path)] if entry.is_dir(follow_symlinks=False) else []
    return total


def write_dossier(run: RunDir, path: str, dossier: dict[str, Any]) -> Steps:
    """Write it, make its gate's folder durable, evidence included, and return its digest."""
    source = canonical(dossier)
    write_durably(run.path / path / "dossier.json", source)
    yield from make_durable(run.path / path)
    return digest(source)


def digests_in_force(run: RunDir, history: History) -> dict[str, str]:
    names = {"recipe": history.recipe_file(), "data": history.data_file()}
    return {part: digest_file(run.path / name) for part, name in names.items()}


def discard(folder: Path) -> None:
    """Remove a folder that the log does not speak of, read-only, deep, or whatever is in it."""
    if folder.is_symlink() or folder.exists():
        for command in (["chmod", "-R", "u+rwX", "--", str(folder)], ["rm", "-rf", "--", str(folder)]):
            subprocess.run(command, check=False, capture_output=True)
