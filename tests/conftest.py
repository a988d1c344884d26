"""Fixtures for tests with a live run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import Live
from tenth.errors import BrokenPromise


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Makes runs. When the test is over they are ended, and both verifiers must agree on each: it holds."""
    made: list[Live] = []

    def make(**options: Any) -> Live:
        made.append(Live(tmp_path / f"run{len(made)}", **options))
        return made[-1]

    yield make
    for run in made:
        run.close()
    for run in made:
        if run.begun is not None:
            run.check_acknowledged()
            said = run.audit()
            assert run.tampered or not isinstance(said, BrokenPromise), f"does not verify: {said}"
