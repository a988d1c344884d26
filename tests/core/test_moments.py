"""Moments that no sleeping test hits: two things that the supervisor learns of in one turn of its loop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.live import MACHINES, PYTHON, TESTS, Live, machines
from tenth import keyfile


def by_hand(run: Live, story: str) -> dict[str, Any]:
    """Let the story be told about a run that waits for its last consent."""
    command = [PYTHON, str(TESTS / "core" / "by_hand.py"), str(run.path), story]
    command.append(json.dumps(MACHINES[run.machine] if run.machine else {}))
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, f"{said.stdout}{said.stderr}"
    return dict(json.loads(said.stdout))


@pytest.fixture
def ready(live: Callable[..., Live]) -> Callable[..., Live]:
    def make(**options: Any) -> Live:
        run = live(signatories=("ada",), **options).start()
        run.until("GATE", gate=0)
        run.stop()
        keyfile.save(run.keys["ada"], run.path.parent / "ada")
        return run

    return make


@pytest.mark.parametrize("story", ["pulled_as_it_left", "pulled_when_it_was_heard_to_be_done"])
def test_a_pull_in_the_moment_the_trainer_leaves_keeps_its_tenth(ready: Callable[..., Live], story: str) -> None:
    run = ready(env={"STEPS": 200, "PAUSE": 0.01})
    told = by_hand(run, story)
    assert told["stance"] == "HALTED"
    assert told["events"][-1] == "pulled"
    assert run.last("pulled")["frozen"] is True, "what it had done is kept, like a frozen tree"


@pytest.mark.parametrize("machine", machines())
def test_a_pull_between_the_ends_of_trainer_and_launcher_keeps_its_tenth(
    ready: Callable[..., Live], machine: str
) -> None:
    run = ready(env={"STEPS": 200, "PAUSE": 0.01}, machine=machine)
    told = by_hand(run, "pulled_between_two_ends")
    assert told["gate"] == 1
    resumed = [entry["body"]["lease"]["resume"] for entry in run.entries() if entry["event"] == "leased"]
    assert resumed == ["fresh", "thaw"], "it was not trained again"


@pytest.mark.parametrize("story", ["killed_while_unwatched", "spun_while_unwatched"])
def test_a_run_that_stands_still_unwatched_stays_in_hand(ready: Callable[..., Live], story: str) -> None:
    run = ready(env={"STEPS": 2000, "PAUSE": 0.001}, unwatched="wait")
    by_hand(run, story)
    assert Path(run.path).is_dir()


@pytest.mark.parametrize("machine", machines())
@pytest.mark.parametrize("story", ["launcher_killed_as_it_began", "tripped_as_it_began"])
def test_what_was_only_just_forked_does_not_outlive_its_run(
    ready: Callable[..., Live], story: str, machine: str
) -> None:
    """It held the channel, and the supervisor waited for its end for ever, while it trained on unmetered."""
    run = ready(env={"STEPS": 2000, "PAUSE": 1}, machine=machine)
    told = by_hand(run, story)
    assert (told["stance"], told["events"][-1]) == ("HALTED", "tripped")
