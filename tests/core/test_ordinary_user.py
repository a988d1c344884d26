"""Does it all hold for a user without privileges, too?

Run as root, these tests become nobody. Run as anybody else they are skipped, since then all the others are this test.
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tenth
from core.live import Live, wait_for
from tenth.errors import BrokenPromise

NOBODY = "65534"
NEEDED = ("cryptography", "rfc8785", "tomli_w", "cffi", "_cffi_backend*", "pycparser", "bcrypt", "*.dist-info")


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Path]:
    """A copy of this Python, with what the core needs, where everybody can read it."""
    if os.geteuid() != 0:
        pytest.skip("not root: the other tests run as an ordinary user already")
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is missing: nobody can be become")
    home = Path(tempfile.mkdtemp(prefix="tenth-test-python-"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = home / "lib" / version
    (home / "bin").mkdir()
    python = home / "bin" / version
    shutil.copy(Path(sys.executable).resolve(), python)
    left_out = shutil.ignore_patterns("test", "tests", "__pycache__", "site-packages", "idlelib", "tkinter", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=left_out)
    shared = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY") or "")
    for found in shared.parent.glob("libpython*.so*"):
        shutil.copy(found, home / "lib")
    packages = library / "site-packages"
    packages.mkdir()
    for folder in {*site.getsitepackages(), sysconfig.get_path("platlib")}:
        for pattern in NEEDED:
            for found in Path(folder).glob(pattern):
                target = packages / found.name
                shutil.copytree(found, target, dirs_exist_ok=True) if found.is_dir() else shutil.copy(found, target)
    shutil.copytree(Path(tenth.__file__).parent, packages / "tenth", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(home)], check=True)
    try:
        command = [*become(python), str(python), "-c", "import tenth.supervisor.loop"]
        check = subprocess.run(command, capture_output=True, text=True, cwd="/")
        if check.returncode:
            pytest.skip(f"the copied Python does not run as nobody: {check.stderr[-300:]}")
        yield python
    finally:
        shutil.rmtree(home)


def become(python: Path, path: str = "/usr/bin:/bin") -> list[str]:
    """Words before a command that make it nobody's, in an environment that says nothing of ours."""
    words = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]
    return [*words, "env", "-i", f"PATH={path}", "HOME=/", f"LD_LIBRARY_PATH={python.parents[1] / 'lib'}"]


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
