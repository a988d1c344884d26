"""Packs: one file with what a signatory elsewhere needs to decide, or with all that an auditor needs to check."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tenth.cli.replay import Replay
from tenth.errors import WrongInput
from tenth.gate.sealing import SHARES
from tenth.log.store import ENTRIES, HEADS

MOST_BYTES, MOST_FILES = 4 << 30, 100_000
AUDITED = ("gates", "checkpoints", "samples", "feedback")

Add = Callable[[str, bytes], None]


def review_files(found: Replay) -> Iterator[tuple[str, Path]]:
    """What is needed to decide at this gate: agreement, dossiers, this gate's evidence, samples since the last gate."""
    run, history = found.path, found.history
    for name in sorted(
        {"charter.toml", "manifest.json", history.recipe_name, history.recipe_file(), history.data_file()}
    ):
        yield name, run / name
    for path in sorted(run.glob("gates/*/dossier.json")):
        yield path.relative_to(run).as_posix(), path
    if history.sealed_checkpoint and history.checkpoint:
        name = history.checkpoint["path"] + SHARES
        yield name, run / name
    dossier = history.dossier or {"evidence": [], "samples": []}
    for panel in dossier["evidence"]:
        yield from _below(run, panel["path"])
    for shard in dossier["samples"]:
        yield shard["path"], run / shard["path"]
    yield from _below(run, "feedback")


def audit_files(found: Replay) -> Iterator[tuple[str, Path]]:
    """Everything that the log speaks of: with it ``tenth verify`` says the same as here. No key of the log."""
    run = found.path
    for path in sorted([*run.glob("*.toml"), *run.glob("data.*.jsonl"), run / "manifest.json"]):
        yield path.name, path
    for folder in AUDITED:
        yield from _below(run, folder)


def _below(run: Path, folder: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((run / folder).rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            yield path.relative_to(run).as_posix(), path


def write(
    target: Path,
    found: Replay,
    files: Iterator[tuple[str, Path]],
    readme: str,
    beside: Mapping[str, bytes] | None = None,
) -> int:
    """Write ``target`` (.zip, or .tar.gz); all lies below a folder named after the run. Returns the file count.

    ``beside``: more files, by name.
    """
    if target.exists():
        raise WrongInput(f"{target} was not written", "it exists", "choose another name")
    top, count = found.history.run, 0
    log = found.path / "log"
    fixed = {
        "README.txt": readme.encode(),
        # Of a live run: just what was acknowledged when we looked.
        f"log/{ENTRIES}": (log / ENTRIES).read_bytes()[: found.log.kept],
        f"log/{HEADS}": (log / HEADS).read_bytes()[: found.log.heads_kept],
        **(beside or {}),
    }
    partial = target.with_name(f".{target.name}.tmp")
    try:
        with _writer(target, partial) as add:
            for name, data in fixed.items():
                add(f"{top}/{name}", data)
            for name, path in files:
                add(f"{top}/{name}", path.read_bytes())
                count += 1
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return count + len(fixed)


@contextmanager
def _writer(target: Path, partial: Path) -> Iterator[Add]:
    if target.suffix == ".zip":
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as pack:
            yield pack.writestr
    elif target.name.endswith((".tar.gz", ".tgz", ".tar")):
        with tarfile.open(partial, "w" if target.suffix == ".tar" else "w:gz") as archive:

            def add(name: str, data: bytes) -> None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))

            yield add
    else:
        raise WrongInput(f"{target} was not written", "its name says no known form", "name it .zip or .tar.gz")


@contextmanager
def unpacked(pack: Path) -> Iterator[Path]:
    """The run directory in a review pack (.zip), in a temporary folder. Names and sizes in it are not believed."""
    with tempfile.TemporaryDirectory(prefix="tenth-") as folder:
        try:
            with zipfile.ZipFile(pack) as source:
                yield _unpack(source, Path(folder), pack)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise WrongInput(
                f"{pack} cannot be read", str(error), "ask for another copy: tenth review --export"
            ) from None


def _unpack(source: zipfile.ZipFile, folder: Path, pack: Path) -> Path:
    infos = [info for info in source.infolist() if not info.is_dir()]
    tops = {PurePosixPath(info.filename).parts[:1] for info in infos}
    left = MOST_BYTES
    if len(tops) != 1 or len(infos) > MOST_FILES:
        raise WrongInput(f"{pack} is refused", "it is not one run", "ask for a pack made by 'tenth review --export'")
    for info in infos:
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename or len(path.parts) < 2:
            raise WrongInput(f"{pack} is refused", f"it holds a file named {info.filename!r}"[:200], "do not use it")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open(info) as file:
            data = file.read(left + 1)
        left -= len(data)
        if left < 0:
            raise WrongInput(f"{pack} is refused", f"it holds more than {MOST_BYTES:,} bytes", "do not use it")
        target.write_bytes(data)
    (top,) = tops
    return folder / top[0]
