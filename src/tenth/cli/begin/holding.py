"""A supervisor for a run: opened, started in a session of its own, waited for, told to leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tenth import charter as charters
from tenth import peak
from tenth.cli import words
from tenth.cli.find import is_live
from tenth.errors import BrokenPromise, RunRefused
from tenth.opening import begin
from tenth.probes.outside import Probe, probe, probe_jail
from tenth.quarantine import leash, sandbox
from tenth.sanitise import plain

START_SECONDS = 120.0
"""A long log is verified before anybody is let in."""


def open_run(charter: Path, runs: Path, found: Sequence[Probe] = ()) -> Path:
    """Make a run directory for a charter that was checked; what probing the quarantine found is pinned with it."""
    agreed = charters.parse(charter.read_bytes()).quarantine
    jailed = probe_jail() if agreed.jail else []
    probes = [one.record() for one in (*(found or probe()), *jailed)]
    holds = sandbox.means(leash.cgroup_parent() is not None)
    return begin(charter, runs, holds, time.time(), peak.of_this_machine(agreed.gpus), probes).path


def start(run: Path, *, exit_at_gate: bool = False) -> subprocess.Popen[bytes]:
    """Start a supervisor that outlives this shell; returns when it listens. Raises what it died of."""
    if is_live(os.fspath(run)):
        do = "tenth watch and tenth pull work beside it"
        raise RunRefused(f"the run {run.name} has a supervisor already", "it listens on its control socket", do)
    command = [sys.executable, "-m", "tenth.supervisor", str(run)] + (["--exit-at-gate"] if exit_at_gate else [])
    said = run / "supervisor.log"
    with said.open("ab") as output:
        before = output.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=run
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if is_live(os.fspath(run)):
            _watch_for_alarms(run)
            return process
        if process.poll() is not None:
            _raise(run, process.returncode, said.read_bytes()[before:].decode(errors="replace"))
        time.sleep(0.01)
    raise RunRefused(f"{run.name} was not begun", f"no answer within {words.duration(START_SECONDS)}", f"see {said}")


def _watch_for_alarms(run: Path) -> None:
    """Start the watcher that the charter asks for, and who misses it; both end with the supervisor."""
    if series := charters.parse((run / "charter.toml").read_bytes()).watch.alarms:
        named = [word for name in series for word in ("--of", name)]
        with (run / "alarms.log").open("ab") as output:
            subprocess.Popen(
                [sys.executable, "-m", "tenth.cli.judge.minding", str(run), *named],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip


def _raise(run: Path, code: int, said: str) -> None:
    """The supervisor's last words are an error in three lines."""
    parts = [plain(line, limit=500) for line in said.strip().splitlines()[-3:]] + ["", "", ""]
    if code == 5:
        raise BrokenPromise(7, f"{run.name} does not verify, and is not gone on with: {parts[0]}", parts[1])
    if code in (0, 3, 4):
        return
    raise RunRefused(parts[0] or f"the supervisor of {run.name} ended with status {code}", parts[1], parts[2])


def dismiss(pid: int) -> None:
    """Ask a supervisor to leave in order: nothing runs on without it."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
