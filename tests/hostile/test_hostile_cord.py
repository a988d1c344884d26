"""Does a pull hold against trees that will not stand still, whatever holds them?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from core.live import machines, wait_for
from hostile.arena import Arena

WILD: dict[str, dict[str, Any]] = {
    "running.ignores_and_blocks_every_signal": {},
    "running.hides_its_memory": {},
    "running.wakes_itself": {},
    "running.waits_in_the_kernel": {},
    "running.forks_faster_than_it_is_killed": {"chains": 12},
    "running.forks_without_end": {"doublings": 6},
    "folders.holds_on_to_what_the_supervisor_opens": {},
}
"""Program -> how much of it."""
PATIENT = {"device_seconds": 20_000, "silence_seconds": 60, "memory_bytes": 4_000_000_000}
"""So that nothing but the pull ends it. What forked processes share is counted for each, and looked at after 2 s."""


@pytest.fixture(scope="module")
def arenas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Arena]]:
    """One for each way of holding trainers."""
    runs = {kind: Arena.of(tmp_path_factory.mktemp("arena"), machine=kind, **PATIENT) for kind in machines()}
    yield runs
    for run in runs.values():
        run.close()


def moving(run: Arena) -> bytes:
    """What the program writes while any of its processes runs."""
    return b"".join(path.read_bytes() for name in ("tally", "chains") if (path := run.path / "work" / name).exists())


@pytest.mark.parametrize("program", WILD)
@pytest.mark.parametrize("machine", machines())
def test_a_pull_holds(arenas: dict[str, Arena], machine: str, program: str) -> None:
    arena = arenas[machine]
    if not arena.alive:
        arena.start()
    arena.send_in(program, **WILD[program])
    arena.until("RUNNING")  # not at once: what was consented to is looked at once more
    before = wait_for(lambda: moving(arena) or arena.status()["claims"], "it to work")
    if isinstance(before, bytes):
        wait_for(lambda: moving(arena) != before, "it to go on")
    begun = time.monotonic()
    answer = arena.pull()
    assert answer["status"]["stance"] == "HALTED"
    assert answer["processes"] >= 1
    assert answer["stopped_ms"] < 1000, "the figure is for the benchmark; this says that it was not by patience"
    still = moving(arena)
    time.sleep(0.25)
    assert moving(arena) == still, "nothing of it runs"
    arena.say("reopened", "ada")
    status = arena.until("GATE")
    assert status["frozen"], "a pull costs nothing, whatever is pulled"
    assert moving(arena) == still
    assert time.monotonic() - begun < 10, "and nobody was kept waiting"
    arena.kill_trainer()
    wait_for(lambda: arena.marked() == [], "it to be gone")
    arena.consent()
    arena.until("HALTED")  # the frozen tree was lost
