#!/usr/bin/env python3
"""Run every test, folder by folder, three at a time.

    python tools/run_tests.py [words for pytest]     # with words: one pytest, just those

Most tests wait more than they compute, so that three at a time fill two cores. Not by a plugin that hands single tests
to workers: a supervisor's children are bound to the thread that started them, and time is measured.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

TESTS = Path(__file__).resolve().parent.parent / "tests"
LONGEST_FIRST = ("promises", "trainer", "core", "web", "cli", "examples", "hostile", "faults", "client")
"""Whatever takes less than half a minute comes after these."""
AT_ONCE = 3
LEAVING_SECONDS = 30.0
"""For pytest to end what its tests have started."""

Folder = tuple[str, IO[str]]
"""Its name, and what its pytest says."""


def folders() -> list[str]:
    """All folders that hold tests, in the order in which they are begun."""
    found = {path.parent.name for path in TESTS.glob("*/test_*.py")}
    return [*(name for name in LONGEST_FIRST if name in found), *sorted(found - set(LONGEST_FIRST))]


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", *words]


def begin(name: str) -> tuple[subprocess.Popen[str], Folder]:
    print(f"tests/{name} ...", flush=True)
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read and closed when the folder is done)
    # Threads of a trainer that wait by spinning would take the processor of the other folders.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    words = pytest("--durations=5", "-p", "no:cacheprovider", f"tests/{name}")
    process = subprocess.Popen(
        words, cwd=TESTS.parent, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    return process, (name, said)


def run(names: Sequence[str]) -> dict[str, str]:
    """Those that failed, and what their tests said."""
    waiting, failed = list(names), dict[str, str]()
    running: dict[subprocess.Popen[str], Folder] = {}
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.update([begin(waiting.pop(0))])
            time.sleep(0.1)
            for process in [one for one in running if one.poll() is not None]:
                name, said = running.pop(process)
                with said:
                    said.seek(0)
                    report = f"\n=== tests/{name} ===\n{said.read()}"
                failed |= {name: report} if process.returncode else {}
                print(report, flush=True)
    finally:
        end(running)
    return failed


def end(running: Iterable[subprocess.Popen[str]]) -> None:
    """As Ctrl-C does it, once: pytest then ends the supervisors and servers of its tests."""
    for process in running:
        process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + LEAVING_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def leave(number: int, _: object) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> int:
    if sys.argv[1:]:
        os.chdir(TESTS.parent)
        os.execv(sys.executable, pytest("--durations=10", *sys.argv[1:]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    failed = run(folders())
    print(*failed.values(), sep="\n")  # once more, for whoever keeps the last lines alone
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nAll folders passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
