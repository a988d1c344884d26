"""What ``verify`` says when the record is tampered with: three forgeries, each on a copy of a run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from tenth.cli import words
from tenth.cli.replay import audit, replay
from tenth.errors import BrokenPromise
from tenth.keys import SigningKey
from tenth.log.entry import Entry
from tenth.log.store import ENTRIES, HEADS, LogWriter
from tenth.sanitise import plain


@dataclass(frozen=True)
class Forgery:
    """Something that somebody might do to a run directory."""

    name: str
    story: str
    do: Callable[[Path], None]
    promise: int
    """The promise that must be found broken."""


def forge_entry(run: Path) -> None:
    """Change one word of one entry: the pull is put down to somebody else."""
    path = run / "log" / ENTRIES
    lines = path.read_bytes().split(b"\n")
    place = next((n for n, line in enumerate(lines) if b'"event":"pulled"' in line), 1)
    old, new = (b'"name":"lin"', b'"name":"nil"') if b'"name":"lin"' in lines[place] else (b'"gate":0', b'"gate":1')
    lines[place] = lines[place].replace(old, new)
    path.write_bytes(b"\n".join(lines))


def swap_checkpoint(run: Path) -> None:
    """Put the files of an earlier checkpoint in the place of a later one."""
    first, *_, last = sorted((run / "checkpoints").iterdir())
    last.chmod(0o755)
    for path in last.iterdir():
        twin = first / path.name
        if twin.is_file() and path.is_file():
            path.chmod(0o644)
            shutil.copyfile(twin, path)


def drop_consent(run: Path) -> None:
    """Write the log again without one consent, with the supervisor's own key: every hash and head is right."""
    entries = list(replay(run).log.entries)
    place = next(n for n, entry in enumerate(entries) if entry.event == "leased") - 1
    del entries[place]
    for name in (ENTRIES, HEADS):
        (run / "log" / name).unlink()
    key = SigningKey.load(run / "supervisor.key")
    times = iter(entries)
    log = LogWriter(run / "log", run.name, key, lambda: _moment(next(times)))
    for entry in entries:
        log.append((entry.event, entry.body))
    log.close()


def _moment(entry: Entry) -> float:
    import datetime

    return datetime.datetime.fromisoformat(entry.time).timestamp()


FORGERIES = (
    Forgery(
        "a forged entry",
        "In log/entries.jsonl one word is changed: the pull is put down to somebody else.",
        forge_entry,
        7,
    ),
    Forgery("a swapped checkpoint", "The last checkpoint is replaced by the first one's files.", swap_checkpoint, 9),
    Forgery(
        "a missing consent",
        "With the supervisor's own key the whole log is written and signed again, without one person's consent.",
        drop_consent,
        1,
    ),
)


def show(run: Path) -> bool:
    """Try each forgery on a copy; True when every one is caught, by the promise that it breaks."""
    click.secho(f"\nTampering with copies of {run.name}", bold=True)
    caught = [_one(run, forgery) for forgery in FORGERIES]
    report = audit(run)
    click.echo(f"\n  the original   verifies, as before: head {report.fingerprint[:16]}…")
    return all(caught)


def _one(run: Path, forgery: Forgery) -> bool:
    with tempfile.TemporaryDirectory(prefix="tenth-tamper-", dir=run.parent.parent) as folder:
        copy = Path(folder) / run.name
        shutil.copytree(
            run, copy, ignore=shutil.ignore_patterns("work", "*.sock", "*.lock"), copy_function=_link_or_copy
        )
        click.secho(f"\n  {forgery.name}", bold=True)
        _say(f"    done     {forgery.story}")
        forgery.do(copy)
        found = _broken(copy)
    if found is None:
        click.secho("    verify   did not notice: this is a fault of tenth", fg="red")
        return False
    where = f" (entry {found.entry})" if found.entry is not None else ""
    _say(f"    verify   promise {found.promise} is broken{where}: {plain(found.refused, limit=300)}")
    _say(f"    found    {plain(found.found, limit=300)}")
    return found.promise == forgery.promise


def _say(line: str) -> None:
    click.echo(words.hanging(line, shutil.get_terminal_size((120, 24)).columns))


def _broken(run: Path) -> BrokenPromise | None:
    """The one place where a broken promise is what we hope for."""
    try:
        audit(run)
    except BrokenPromise as broken:
        return broken
    return None


def _link_or_copy(source: str, target: str) -> str:
    """Copies; never a link, since a forgery must not reach the original."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o644)
    return target
