"""What becomes of trainers that do their worst? Each ends in a named trip, or gains nothing by what it tried.

And for each: nothing of it runs on, its compute stays under its lease but for a metering interval, the supervisor
lives, and both verifiers agree that the log holds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import machines
from hostile.arena import Arena, facts, outside

ENDS: dict[str, str | tuple[str, ...]] = {
    # does not stop
    "running.ignores_and_blocks_every_signal": "lease",
    "running.hides_its_memory": "lease",
    "running.kills_its_launcher": ("lease", "crash"),
    "running.stops_itself": "silence",
    "running.runs_at_idle_priority": "lease",
    "running.computes_in_short_lives": "lease",
    "running.forks_faster_than_it_is_killed": ("lease", "limit"),
    "running.wakes_itself": "lease",
    "running.waits_in_the_kernel": "lease",
    "running.takes_all_memory": ("limit", "crash", "lease"),
    "running.forks_without_end": ("limit", "crash"),
    "frames.closes_the_channel_and_computes": ("lease", "silence"),
    "frames.computes_before_it_says_hello": ("lease", "silence"),
    "frames.says_it_is_done_and_goes_on": ("lease", "silence"),
    # says what it should not, or nothing
    "frames.malformed": "frame",
    "frames.bytes_that_are_no_text": "frame",
    "frames.endless": "frame",
    "frames.deeply_nested": "frame",
    "frames.nested_as_deep_as_fits": "frame",
    "frames.numbers_without_end": "frame",
    "frames.out_of_order": "frame",
    "frames.goes_backwards": "frame",
    "frames.speaks_after_it_was_done": "frame",
    "frames.speaks_for_the_supervisor": "frame",
    "frames.claims_another_gate": "frame",
    "frames.saved_beyond_its_folder": "frame",
    "frames.saved_nothing": "checkpoint",
    "frames.floods_with_samples": "frame",
    "frames.floods_with_progress": "lease",
    "frames.drips": "silence",
    "frames.never_says_hello": "silence",
    "frames.never_reports": "silence",
    "frames.reports_fewer_flop": ("lease", "claim"),
    "frames.reports_more_flop": "claim",
    "frames.reports_more_flop_and_leaves": "claim",
    # leaves what nobody should open
    "folders.a_symlink": "checkpoint",
    "folders.a_symlink_instead_of_it": "checkpoint",
    "folders.a_hard_link": "checkpoint",
    "folders.a_fifo": "checkpoint",
    "folders.a_socket": "checkpoint",
    "folders.names_that_steer_terminals": "checkpoint",
    "folders.names_that_hide": "checkpoint",
    "folders.as_deep_as_the_kernel_lets": "checkpoint",
    # takes more room than it may
    "folders.fills_the_disk": "limit",
    "folders.fills_the_disk_and_leaves": "limit",
    "folders.holes_that_take_a_year_to_hash": "limit",
    "folders.one_file_too_large": "crash",
    "folders.more_files_than_can_be_counted": ("limit", "lease"),
    "folders.prints_without_end": ("limit", "crash"),
    # asks the kernel for what no honest trainer asks for
    "reaching.traces_another": "escape",
    "reaching.writes_anothers_memory": "escape",
    "reaching.sets_the_clock": "escape",
    "reaching.remounts": "escape",
    "reaching.unmounts": "escape",
    "reaching.nests_a_namespace": "escape",
}
"""Program -> reason of its trip. Several where the machine's speed or its kernel decide which limit is met first."""

GAINS_NOTHING = (
    "running.leaves_a_daemon",
    "running.becomes_another_program",
    "running.raises_its_limits",
    "frames.claims_another_gate_in_its_position",
    "frames.sends_descriptors",
    "folders.a_hard_link_to_what_is_sealed",
    "folders.a_device",
    "folders.a_program_with_its_owners_rights",
    "folders.a_pickle",
    "folders.names_of_markup",
    "folders.edits_through_an_open_descriptor",
    "folders.edits_through_mapped_memory",
    "folders.edits_what_is_sealed",
    "reaching.reads_keys_and_log",
    "reaching.reads_its_parents",
    "reaching.connects",
    "reaching.uses_what_was_left_open",
    "reaching.signals_others",
    "reaching.slows_others_down",
    "reaching.traces_in_a_child",
    "reaching.reads_anothers_memory",
    "reaching.bends_the_clock",
    "reaching.nests_a_namespace_by_the_newer_call",
    "reaching.gains_privileges",
    "reaching.forges_a_consent",
)
"""Programs whose every attempt is refused, and that then come to the gate like any other."""

AMOUNTS = {
    "running.takes_all_memory": {"megabytes": 400},
    "running.forks_without_end": {"doublings": 8},
    "running.forks_faster_than_it_is_killed": {"chains": 12},
    "folders.fills_the_disk": {"megabytes": 60},
    "folders.fills_the_disk_and_leaves": {"megabytes": 30},
    "folders.holes_that_take_a_year_to_hash": {"files": 50, "bytes": 10_000_000},
    "folders.one_file_too_large": {"megabytes": 30},
    "folders.more_files_than_can_be_counted": {"files": 25_000},
    "folders.prints_without_end": {"megabytes": 60},
    "folders.as_deep_as_the_kernel_lets": {"levels": 1500},
}
"""How much each tries, at most."""


KINDS = (machines()[0], machines()[-1])
"""The best and the least way in which this machine can hold a trainer."""


def cases(programs: Iterable[str]) -> list[tuple[str, str]]:
    """What a trainer says reaches the supervisor in one way, whatever holds it; all else is tried in both."""
    return [(kind, name) for kind in KINDS for name in programs if kind == KINDS[0] or not name.startswith("frames.")]


TENTH = Path(sys.executable).with_name("tenth")
HARMFUL = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of characters that a terminal obeys, or that hide or turn around others."""


@pytest.fixture(scope="module")
def arenas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Arena]]:
    """One for each way of holding trainers, as soon as somebody enters it."""
    runs: dict[str, Arena] = {}
    yield runs
    for run in runs.values():
        run.close()


@pytest.fixture
def arena(arenas: dict[str, Arena], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Arena:
    if request.param not in arenas:
        arenas[request.param] = Arena.of(tmp_path_factory.mktemp("arena"), machine=request.param)
        arenas[request.param].start()
    return arenas[request.param]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with outside(tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.mark.parametrize(("arena", "program"), cases(ENDS), indirect=["arena"])
def test_it_ends_in_a_named_trip(arena: Arena, world: dict[str, Any], program: str) -> None:
    outcome = arena.let(program, **{**facts(arena, world), **AMOUNTS.get(program, {})})
    wanted = ENDS[program]
    assert outcome.ended in ((wanted,) if isinstance(wanted, str) else wanted), outcome
    assert outcome.detail, "the log says what it was"


@pytest.mark.skipif("cgroup" not in KINDS[0], reason="without a cgroup the kernel forgets them: docs/threat-model.md")
@pytest.mark.parametrize("arena", KINDS[:1], indirect=True)
def test_lives_that_nobody_mourns_are_metered(arena: Arena, world: dict[str, Any]) -> None:
    outcome = arena.let("running.computes_in_lives_that_nobody_mourns", **facts(arena, world))
    assert outcome.ended == "lease"
    assert outcome.spent - outcome.before >= 0.8 * outcome.burnt


@pytest.mark.parametrize("arena", KINDS, indirect=True)
def test_what_is_swapped_is_sealed_as_one_or_the_other(arena: Arena, world: dict[str, Any]) -> None:
    """Or not at all, when the swap is caught half-way. Whatever was hashed is what lies there."""
    outcome = arena.let("folders.swaps_by_path", **facts(arena, world))
    assert outcome.ended in ("reached", "checkpoint"), outcome
    if outcome.ended == "reached":
        assert arena.result() in (b"x", b"another model")


TEXTS = (
    "\x1b]0;owned\x07\x1b[2J\x1b]52;c;cm0gLXJmIC8=\x07",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "pass\u202etxt.exe\u2066\u200b",
    "<img src=x onerror=alert(1)><script>alert(1)</script> [click](javascript:alert(1))",
)


@pytest.mark.parametrize("arena", KINDS[:1], indirect=True)
def test_what_it_says_is_shown_as_text(arena: Arena, world: dict[str, Any]) -> None:
    """Samples, names of metrics, what it printed: whoever reads the run sees characters, and no terminal obeys them."""
    known = facts(arena, world)
    assert arena.let("reaching.says_what_steers_terminals", **known, texts=TEXTS).ended == "reached"
    for verb in ("review", "status"):
        done = subprocess.run([TENTH, verb, str(arena.path)], capture_output=True, text=True, cwd=arena.folder)
        assert done.returncode in (0, 3), done.stderr
        shown = done.stdout + done.stderr
        assert [repr(one) for one in shown if one != "\n" and unicodedata.category(one) in HARMFUL] == []
        assert verb == "status" or "onerror=alert" in shown, "the newest sample is shown"


@pytest.mark.parametrize(("arena", "program"), cases(GAINS_NOTHING), indirect=["arena"])
def test_it_gains_nothing(arena: Arena, world: dict[str, Any], program: str) -> None:
    bystander = [os.getpriority(os.PRIO_PROCESS, world["bystander"]), os.sched_getaffinity(world["bystander"])]
    gate = arena.status()["gate"]
    known = facts(arena, world)
    consents = sorted((arena.path / "gates").rglob("bob.json"))
    outcome = arena.let(program, **known)
    assert outcome.ended == "reached", outcome
    assert not Path(world["marker"]).exists(), "what was pickled was run"
    assert bystander == [os.getpriority(os.PRIO_PROCESS, world["bystander"]), os.sched_getaffinity(world["bystander"])]
    assert arena.status()["gate"] == gate + 1
    assert len(sorted((arena.path / "gates").rglob("bob.json"))) <= len(consents) + 1
    if program != "frames.claims_another_gate_in_its_position":
        assert outcome.gains == []
