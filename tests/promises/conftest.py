"""After the promises were tested: a list of them, with how far each is kept and what the tests said."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SAID: dict[str, tuple[int, str]] = {}
"""Node id of a test -> the number and status that its module declares."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        module = getattr(item, "module", None)
        if item.path.parent == HERE and hasattr(module, "PROMISE"):
            SAID[item.nodeid] = (module.PROMISE, module.STATUS)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    counts: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.nodeid in SAID:
                counts[SAID[report.nodeid]][outcome] += 1
    if counts:
        terminalreporter.section("promises")
    for (number, status), outcomes in sorted(counts.items()):
        tests = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        terminalreporter.write_line(f"{number:>4}. {status}  ({tests})")
