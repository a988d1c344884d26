"""What people type that writes files by itself: done or not done, wherever it ends, and never half."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.live import PYTHON, Live, audit
from faults.story import CALLS
from faults.trials import Found, Point, listed
from tenth import keyfile
from tenth.cli.gate.signing import read_envelope
from tenth.errors import TenthError

PASSING = re.compile(r"(?<=live-)[0-9a-f]{8}")
"""The part of a run's name that is another one each time."""
LAST = Point(0, "", "after the last call")


@dataclass(frozen=True)
class Command:
    """A command line with the folder that it writes to, made anew for each time it is run."""

    folder: Path
    prepare: Callable[[Path], list[str]]
    """Makes what it needs in an empty folder; the words of the command."""
    writes: str
    """Where it writes, below the folder."""
    check: Callable[[Path, int], None]
    """Raises AssertionError unless what lies in the folder after this exit status is done or not done."""


def points(command: Command) -> list[Point]:
    status, calls = _run(command, {})
    assert status == 0
    command.check(command.folder, status)
    return listed([{**call, "path": PASSING.sub("*", call["path"])} for call in calls])


def spoil(command: Command, point: Point, how: str) -> Found:
    """Run it with this call spoiled. A cut at LAST loses what it had not made durable when it had ended well."""
    found = Found(point, how, exact=True)
    found.status, calls = _run(command, {"at": point.number, "how": how})
    spoiled = [(call["number"], call["name"], PASSING.sub("*", call["path"])) for call in calls if call["spoiled"]]
    found.reached = point is LAST or spoiled == [(point.number, point.name, point.path)]
    try:
        command.check(command.folder, found.status)
    except (AssertionError, TenthError, OSError) as error:
        found.faults.append(f"{type(error).__name__}: {error}")
    return found


def _run(command: Command, spec: dict[str, Any]) -> tuple[int, list[Any]]:
    shutil.rmtree(command.folder, ignore_errors=True)
    command.folder.mkdir(parents=True)
    words = command.prepare(command.folder)
    report = command.folder / "report"
    spec = {"below": str(command.folder / command.writes), "report": str(report), **spec}
    done = subprocess.run(
        [PYTHON, "-I", "-S", str(CALLS), json.dumps(spec), *words],
        cwd=command.folder, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, timeout=60,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in report.read_text().splitlines()]


# --- opening a run ---------------------------------------------------------------------------------------------------


def opening(folder: Path) -> Command:
    return Command(folder / "opening", _prepare_opening, "run/project/runs", _no_run_or_one_that_begins)


def _prepare_opening(folder: Path) -> list[str]:
    (folder / "run" / "project" / "runs").mkdir(parents=True)
    return [PYTHON, str(Path(__file__).with_name("open_run.py")), str(folder / "run")]


def _no_run_or_one_that_begins(folder: Path, status: int) -> None:
    runs = [path for path in (folder / "run/project/runs").iterdir() if not path.name.startswith(".")]
    assert len(runs) <= 1
    assert runs or status != 0, "a run was opened, and is gone"
    for run in runs:
        said = audit(run)
        assert not isinstance(said, Exception), str(said)
        words = [PYTHON, "-m", "tenth.supervisor", str(run), "--exit-at-gate"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.returncode == 3, f"it does not come to gate 0: {done.stderr}"


# --- signing on another machine --------------------------------------------------------------------------------------


def signing(folder: Path) -> Command:
    """``tenth consent --offline``; ``folder`` is given a run that waits at gate 0."""
    run = Live(folder / "run").start()
    run.until("GATE", gate=0)
    run.stop()
    keyfile.save(run.keys["ada"], folder / "ada")
    subprocess.run(
        [PYTHON, "-m", "tenth.cli", "review", run.path, "--export", folder / "pack.zip"],
        check=True,
        capture_output=True,
    )

    def prepare(fresh: Path) -> list[str]:
        (fresh / "out").mkdir()
        options = ["--offline", folder / "pack.zip", "-o", fresh / "out" / "ada.json"]
        options += ["--key", folder / "ada", "--as", "ada", "--yes"]
        return [PYTHON, "-m", "tenth.cli", "consent", *map(str, options)]

    return Command(folder / "signing", prepare, "out", _no_signature_or_a_whole_one)


def _no_signature_or_a_whole_one(folder: Path, status: int) -> None:
    file = folder / "out" / "ada.json"
    assert file.exists() or status != 0, "a signature was written, and is gone"
    if file.exists():
        assert read_envelope(file, "consented")["signatures"]
