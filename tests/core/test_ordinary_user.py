"""Does it all hold for a user without privileges, too?

Run as root, these tests become nobody. Run as anybody else they are skipped, since then all the others are this test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import Live, wait_for
from hostile.arena import Arena, facts, outside
from nobody import NOBODY, become, copy_python
from tenth.errors import BrokenPromise

PROBE = """
import json
from tenth.probes.outside import held, probe
from tenth.quarantine import sandbox
found = probe()
escaped = {one.name: one.what for one in found if not one.contained}
print(json.dumps({"level": sandbox.level(), "held": held(found), "probes": len(found), "escaped": escaped}))
"""


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Path]:
    """A copy of this Python, with what the core needs, where everybody can read it."""
    if os.geteuid() != 0:
        pytest.skip("not root: the other tests run as an ordinary user already")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is missing: nobody can be become")
    home = Path(tempfile.mkdtemp(prefix="tenth-test-python-"))
    python = copy_python(home)
    try:
        command = [*become(python), str(python), "-c", "import tenth.supervisor.loop"]
        check = subprocess.run(command, capture_output=True, text=True, cwd="/")
        if check.returncode:
            pytest.skip(f"the copied Python does not run as nobody: {check.stderr[-300:]}")
        yield python
    finally:
        shutil.rmtree(home)


@pytest.fixture(params=["bubblewrap", "without"])
def nobodys(interpreter: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Live]]:
    """As ``live``, but the supervisor and all below it are nobody's."""
    walls = request.param == "bubblewrap"
    prefix = become(interpreter, os.environ["PATH"] if walls else "/nonexistent")
    # What can be had is asked as nobody, too.
    trial = (
        f"from tenth.quarantine import sandbox; raise SystemExit(sandbox.level() != '{'full' if walls else 'partial'}')"
    )
    if subprocess.run([*prefix, str(interpreter), "-c", trial], cwd="/").returncode:
        pytest.skip("nobody may not use bubblewrap here")
    folder = Path(tempfile.mkdtemp(prefix="tenth-test-"))
    folder.chmod(0o755)
    made: list[Live] = []

    def make(trainer: str, env: dict[str, Any], **options: Any) -> Live:
        command = [str(interpreter), f"code/{trainer}"]
        env = {**env, "LD_LIBRARY_PATH": interpreter.parents[1] / "lib"}
        run = Live(folder / f"run{len(made)}", command=command, python=[*prefix, str(interpreter)], env=env, **options)
        run.begin()
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(run.folder)], check=True)
        made.append(run)
        return run.start()

    try:
        yield make
        for run in made:
            run.close()
            said = run.audit()
            assert not isinstance(said, BrokenPromise), said
    finally:
        for run in made:
            run.close()
        shutil.rmtree(folder)


def test_the_whole_law_works_for_nobody(nobodys: Callable[..., Live]) -> None:
    run = nobodys("stubborn.py", env={"BUSY": "1"})
    run.consent()
    beats = run.path / "work"
    wait_for(lambda: len(list(beats.glob("beat.*"))) == 5, "five processes")
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in run.marked()} == {int(NOBODY)}
    answer = run.pull()
    before = [path.read_text() for path in sorted(beats.glob("beat.*"))]
    assert answer["status"]["frozen"]
    run.say("reopened", "ada")
    run.until("GATE")
    assert [path.read_text() for path in sorted(beats.glob("beat.*"))] == before
    run.consent()
    wait_for(lambda: [path.read_text() for path in sorted(beats.glob("beat.*"))] != before, "it to go on")
    run.kill9()
    wait_for(lambda: not run.marked(), "all of it to be gone", 1)
    run.start()
    assert run.last("tripped")["reason"] == "lost_supervisor"


def test_tenth_after_tenth_of_nobodys(nobodys: Callable[..., Live]) -> None:
    run = nobodys("steady.py", env={"STEPS": 20, "PAUSE": 0})
    run.run_to("GATE", gate=3)


def test_the_ceiling_holds_for_nobody(nobodys: Callable[..., Live]) -> None:
    run = nobodys("glutton.py", env={"HOW": "fork"}, device_seconds=3.0)
    run.consent()
    run.until("HALTED")
    assert run.last("tripped")["reason"] == "lease"
    assert run.marked() == []


@pytest.mark.parametrize("walls", [True, False], ids=["bubblewrap", "without"])
def test_the_level_that_is_claimed_is_held_for_nobody(interpreter: Path, walls: bool) -> None:
    """Nobody's sandbox lets nothing out but what the threat model names."""
    prefix = become(interpreter, os.environ["PATH"] if walls else "/nonexistent")
    done = subprocess.run([*prefix, str(interpreter), "-c", PROBE], cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    said = json.loads(done.stdout)
    if walls and said["level"] != "full":
        pytest.skip("nobody may not use bubblewrap here")
    assert said["held"] == said["level"] == ("full" if walls else "partial"), said["escaped"]
    assert said["probes"] >= 90


ENDS = {"running.hides_its_memory": "lease", "running.ignores_and_blocks_every_signal": "lease"}
ENDS |= {"reaching.traces_another": "escape", "reaching.nests_a_namespace": "escape"}
ENDS |= {f"reaching.{name}": "reached" for name in ("slows_others_down", "signals_others", "reads_its_parents")}
ENDS |= {f"folders.{name}": "reached" for name in ("edits_what_is_sealed", "edits_through_mapped_memory")}
ENDS |= {"reaching.forges_a_consent": "reached"}
"""Hostile programs for which it may matter whose they are -> how each ends."""


def test_hostile_trainers_gain_nothing_by_being_their_supervisors_user(interpreter: Path, tmp_path: Path) -> None:
    """Without bubblewrap: user and files are the same inside and outside."""
    folder = Path(tempfile.mkdtemp(prefix="tenth-test-"))
    folder.chmod(0o755)
    run = Arena.of(folder / "arena", machine="neither", env={"LD_LIBRARY_PATH": interpreter.parents[1] / "lib"})
    run.command = [str(interpreter), "hostile/act.py"]
    run.python = [*become(interpreter, "/nonexistent"), str(interpreter)]
    try:
        run.begin()
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(run.folder)], check=True)
        run.start()
        with outside(tmp_path) as world:
            for program, ended in ENDS.items():
                outcome = run.let(program, **facts(run, world))
                assert outcome.ended == ended, (program, outcome)
                assert outcome.gains == [], (program, outcome)
    finally:
        run.close()
        shutil.rmtree(folder)
