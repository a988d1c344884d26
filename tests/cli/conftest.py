"""A house for the command line's tests: keys of their own, a tiny corpus, and the steady trainer instead of a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tenth import keyfile
from tenth.cli.find import runs_under
from tenth.cli.live.standing import status_of
from tenth.keys import SigningKey

REPO = Path(__file__).parents[2]
STEADY = REPO / "tests" / "trainers" / "steady.py"
TENTH = Path(sys.executable).with_name("tenth")


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A person's shell: a folder, and the keys of one person."""

    folder: Path
    home: Path
    supervisors: set[int] = field(default_factory=set)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": os.path.join(tempfile.gettempdir(), f"tenth-test-cache-{os.getuid()}"),  # the peak, once
            "TENTH_HOME": str(self.home / "tenth"),
            "USER": "tess",
            "TERM": "xterm-256color",
        }

    def __call__(self, *words: object, stdin: str = "") -> Done:
        done = subprocess.run(
            [TENTH, *map(str, words)], cwd=self.folder, env=self.environment, input=stdin,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: object) -> Done:
        done = self(*words)
        assert done.code == 0, done
        return done

    def status(self) -> dict[str, Any]:
        """Of the newest run; without a new process, since tests ask often."""
        return status_of(os.path.abspath(runs_under(str(self.folder / "runs"))[0]))

    def until(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 20) -> dict[str, Any]:
        """Wait until the newest run's status is as wanted."""
        deadline = time.monotonic() + seconds
        while not holds(status := self.status()):
            assert time.monotonic() < deadline, status
            time.sleep(0.02)
        return status

    def stance(self, wanted: str, gate: int | None = None) -> dict[str, Any]:
        return self.until(lambda status: status["stance"] == wanted and gate in (None, status["gate"]))

    def training(self) -> dict[str, Any]:
        """Wait until the trainer has said something."""
        return self.until(lambda status: status["stance"] == "RUNNING" and status["claims"].get("step", 0) > 0)

    def begin(self) -> dict[str, Any]:
        """A run at gate 0, its supervisor in the background."""
        started: dict[str, Any] = self.ok("run", "charter.toml", "--detach", "--json").json
        self.supervisors.add(started["supervisor"])
        self.stance("GATE")
        return started


CHARTER = """\
[run]
name = "tiny"
purpose = "To test the command line."

[[phase]]
name = "count"
command = ["{python}", "{trainer}"]
data = ["data"]
env = {{ STEPS = "{steps}", PAUSE = "{pause}" }}

[ceiling]
device_seconds = 1000
flop = 1e15

[quarantine]
level = "none"

[[evidence]]
name = "size"
command = ["{python}", "evidence.py"]

{people}"""

EVIDENCE = """\
import json, os, pathlib
summary = {
    "headline": "it has \\x1b[31mone file",
    "metrics": {"files": 1, "per \\u202e cent": 0.5},
    "tables": [{"title": "Files", "columns": ["name", "bytes"], "rows": [["state\\x07", 64]]}],
}
pathlib.Path(os.environ["TENTH_OUT"], "summary.json").write_text(json.dumps(summary))
"""


def person(name: str, line: str, kind: str = "signatory") -> str:
    return f'[[{kind}]]\nname = "{name}"\nkey = "{line}"\n'


def make_key(shell: Shell, name: str) -> str:
    """As 'tenth key new' would; returns the public line."""
    folder = shell.home / "tenth" / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = SigningKey.generate()
    keyfile.save(key, folder / name, name)
    return key.public.line


def write_project(shell: Shell, *, steps: int = 50, pause: float = 0.002, watchers: tuple[str, ...] = ("lin",)) -> None:
    """Keys for ada and bob in this shell, and a charter of theirs."""
    people = ""
    for name in ("ada", "bob", *watchers):
        people += person(name, make_key(shell, name), "watcher" if name in watchers else "signatory")
    (shell.folder / "data").mkdir()
    (shell.folder / "data" / "a.py").write_text("x = 1\n")
    (shell.folder / "data" / "b.py").write_text("y = 2\n")
    (shell.folder / "recipe.toml").write_text("[optim]\nlearning_rate = 0.001\n# clip = 1.0\n")
    (shell.folder / "evidence.py").write_text(EVIDENCE)
    text = CHARTER.format(python=sys.executable, trainer=STEADY, steps=steps, pause=pause, people=people)
    (shell.folder / "charter.toml").write_text(text)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """An empty folder and an empty key folder; what was started in it is ended afterwards."""
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    one = Shell(tmp_path / "work", tmp_path / "home")
    yield one
    for lock in tmp_path.rglob("supervisor.lock"):
        end(int(lock.read_text() or 0))


def end(pid: int) -> None:
    """End a supervisor of ours, if it still lives."""
    try:
        if pid > 1 and b"tenth.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, 9)
    except (FileNotFoundError, ProcessLookupError):
        pass
