"""One small run for all tests that only read it."""

from __future__ import annotations

import pytest

from client.fake_supervisor import FakeSupervisor
from evidence.small_run import passed


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeSupervisor:
    """Two gates, and the end of a log."""
    run = passed(2, tmp_path_factory.mktemp("small"))
    (run.run / "log").mkdir()
    (run.run / "log" / "entries.jsonl").write_text('{"body":{},"event":"reached","index":9}\n')
    return run
