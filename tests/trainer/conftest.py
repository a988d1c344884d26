"""A small corpus and a stand-in supervisor for the trainer's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from client.fake_supervisor import FakeSupervisor, write_listing
from trainer.tiny import TINY


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Thirty short documents of different content."""
    root = tmp_path / "root"
    for i in range(30):
        place = root / "data" / f"{i:02d}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(f"line {n} of {i}: {n * i % 97} words\n" for n in range(20)))
    return root


@pytest.fixture
def supervise(corpus: Path, tmp_path: Path) -> Callable[..., FakeSupervisor]:
    """Make stand-in supervisors, each with a run of its own: `supervise("a", of=5, recipe=TINY)`."""

    def make(name: str, recipe: str = TINY, of: int = 5, **more: object) -> FakeSupervisor:
        run = tmp_path / name
        run.mkdir()
        (run / "recipe.toml").write_text(recipe)
        listing = write_listing(corpus, run / "data.jsonl")
        return FakeSupervisor(run, run / "recipe.toml", listing, corpus, of=of, **more)  # type: ignore[arg-type]

    return make
