"""Fixtures: a server over a live run, and people with browsers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import Live
from web.served import BROWSERS, Client, Person, Served, browser_path, chromium


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serves the folder of a run. Ended when the test is over."""
    made: list[Served] = []

    def make(live: Live, *invited: str) -> Served:
        made.append(Served(live.path.parent, tmp_path / f"home{len(made)}").start(*invited))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium. Without one, these tests are skipped, and that is said loudly."""
    if browser_path() is None:
        warnings.warn(NONE, pytest.PytestWarning, stacklevel=1)
        pytest.skip(NONE)
    with chromium() as found:
        yield found


NONE = f"no browser is installed ({', '.join(BROWSERS)}): apt-get install chromium-headless-shell"


@pytest.fixture
def person(browser: Any) -> Iterator[Callable[..., Person]]:
    """People with browsers. Whatever their browsers complained about fails the test, a breach of the policy first."""
    made: list[Person] = []

    def make(served: Served, name: str = "ada", **options: Any) -> Person:
        made.append(Person(browser, served, name, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    complaints = [words for one in made for words in one.complaints if "ERR_CONNECTION_REFUSED" not in words]
    assert complaints == []


@pytest.fixture
def client(serve: Callable[..., Served]) -> Callable[..., Client]:
    """People without browsers."""
    return Client
