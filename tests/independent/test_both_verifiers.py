"""Both verifiers, which share no code, on the same runs, the same leftovers of crashes and the same forgeries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from independent.build_run import STORIES, build
from independent.tamperings import NOTED, REBUILT, TAMPERINGS
from tenth.errors import BrokenPromise
from tenth.verify import verify


@pytest.fixture(scope="module")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("full") / "run")


@pytest.mark.parametrize("story", STORIES)
def test_a_run_that_another_program_wrote_verifies(story: str, tmp_path: Path) -> None:
    report = verify(build(tmp_path / "run", story=story))
    assert report.entries == report.heads > 0
    assert report.notes == ()


@pytest.mark.parametrize("name", NOTED)
def test_the_leftovers_of_a_crash_are_noted(name: str, full_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(full_run, tmp_path / "run"))
    NOTED[name](run)
    assert verify(run).notes


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_forgery_is_refused(name: str, full_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    if name not in REBUILT:
        shutil.copytree(full_run, run)
    TAMPERINGS[name](run)
    with pytest.raises(BrokenPromise):
        verify(run)
