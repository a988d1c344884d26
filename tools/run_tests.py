#!/usr/bin/env python3
"""Run every test, in two lanes at once: what is timed against a live supervisor, and everything else.

    python tools/run_tests.py [words for pytest]     # with words: one lane, just those

Most tests wait more than they compute, so two lanes take little more than half the time. Not by a plugin that hands
single tests to workers: a supervisor's children are bound to the thread that started them, and time is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
TIMED = ("promises", "core", "cli", "hostile", "faults")
"""Folders of the first lane, whose output is seen as it comes; the second's follows when both are done."""
WORDS = ("-q", "--durations=10")


def folders() -> list[str]:
    """All folders that hold tests."""
    return sorted({path.parent.name for path in TESTS.glob("*/test_*.py")})


def pytest(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *words]


def main() -> int:
    if sys.argv[1:]:
        return subprocess.call(pytest(*WORDS, *sys.argv[1:]), cwd=TESTS.parent)
    others = [f"tests/{name}" for name in folders() if name not in TIMED]
    # Threads of a trainer that wait by spinning would take the other lane's processor.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryFile("w+") as said:
        lane = subprocess.Popen(
            pytest(*WORDS, "-o", "cache_dir=.pytest_cache/second", *others),
            cwd=TESTS.parent, env=environment, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            timed = subprocess.call(pytest(*WORDS, *(f"tests/{name}" for name in TIMED)), cwd=TESTS.parent)
            other = lane.wait()
        finally:
            lane.kill()
            lane.wait()
        said.seek(0)
        print(f"\n=== the other tests: {', '.join(others)} ===\n{said.read()}")
    return timed or other


if __name__ == "__main__":
    sys.exit(main())
