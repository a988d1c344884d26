"""A live run for benchmarks: people with keys, a charter, the real supervisor in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenth import opening
from tenth.encoding import decode
from tenth.gate import statement
from tenth.keys import SigningKey
from tenth.log.entry import timestamp
from tenth.quarantine import leash, sandbox
from tenth.trainer import recipe as recipes
from tenth.trainer.__main__ import ARENAS

HERE = Path(__file__).resolve().parent
SIGNATORIES, WATCHER = ("ada", "bob", "eve"), "lin"
SECONDS = 120.0
"""Until something that was expected is given up."""
BACK_ENDS: Mapping[str, Mapping[str, bool]] = {
    "bubblewrap, cgroup": {},
    "bubblewrap": {"cgroup": False},
    "launcher, cgroup": {"bwrap": False},
    "launcher": {"bwrap": False, "cgroup": False},
}
"""The ways in which the supervisor can hold a trainer."""
DEMO_ENV = {"OMP_WAIT_POLICY": "PASSIVE", "GLIBC_TUNABLES": ARENAS}
"""What the demo's charter gives its trainer, and what the trainer gives itself by beginning again."""

Json = Any


def back_ends() -> list[str]:
    """Those that this machine has."""
    walls, groups = sandbox.bubblewrap() is not None, leash.cgroup_parent() is not None
    return [
        name
        for name, odd in BACK_ENDS.items()
        if (walls or not odd.get("bwrap", True)) and (groups or not odd.get("cgroup", True))
    ]


def wait_for(
    found: Callable[[], Any], what: str, seconds: float = SECONDS, pause: float = 0.005, said: Callable[[], str] = str
) -> Any:
    """The first true value of ``found``, looked for every ``pause`` seconds. ``said``: printed where none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(pause)
    raise SystemExit(f"waited for {what}, in vain\n{said()}")


@dataclass
class Live:
    """One run with its people. Use it as a context: it ends what it started."""

    folder: Path
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    every: int = 10
    back_end: str = "bubblewrap, cgroup"
    prompts: Sequence[str] = ("def ", "class ", "import ")
    samples_per_minute: float = 12
    evidence: Sequence[str] = ()
    """Names of panels; their commands do nothing."""
    panels: Sequence[str] = ()
    """Commands of tenth-evidence, each with its arguments; the first word names the panel."""
    model: Mapping[str, int] = field(default_factory=dict)
    """What the demo's recipe has otherwise, of its table [model]."""
    patience: float = SECONDS
    """Until something that was expected is given up."""
    standard_library: Set[str] | None = None
    """Train on this Python's own source, without these folders; None: on one line of text."""

    def __post_init__(self) -> None:
        self.root = self.folder / "project"
        self.keys = {name: SigningKey.generate() for name in (*SIGNATORIES, WATCHER)}
        self.process: subprocess.Popen[bytes] | None = None
        self._begin()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- before ------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        shutil.copytree(HERE / "trainers", self.root / "code", ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "data").mkdir()
        if self.standard_library is not None:
            copy_standard_library(self.root / "data", self.standard_library)
        else:
            (self.root / "data" / "poem.txt").write_text("a rose is a rose\n")
        recipe = (Path(recipes.__file__).parent / "recipes" / "demo.toml").read_text()
        for name, value in self.model.items():
            recipe = re.sub(rf"^{name} = .*$", f"{name} = {value}", recipe, flags=re.MULTILINE)
        (self.root / "recipe.toml").write_text(recipe)
        (self.root / "charter.toml").write_text(self._charter())
        held = sandbox.means(leash.cgroup_parent() is not None)
        self.path = opening.begin(
            self.root / "charter.toml", self.folder / "runs", held, time.time(), {"flop_per_device_second": 1e13}
        ).path

    def _charter(self) -> str:
        env = ", ".join(f"{name} = {json.dumps(value)}" for name, value in self.env.items())
        text = [
            '[run]\nname = "bench"\npurpose = "a benchmark"',
            f'[[phase]]\nname = "pretrain"\ncommand = {json.dumps(list(self.command))}\ndata = ["data"]',
            f"env = {{ {env} }}",
            f'[gates]\nevery = "1/{self.every} epoch"',
            "[ceiling]\ndevice_seconds = 1e7\nflop = 1e20",
            '[quarantine]\nlevel = "none"\nsilence_seconds = 600',
            f"[watch]\nsamples_per_minute = {self.samples_per_minute}\nprompts = {json.dumps(list(self.prompts))}",
        ]
        text += [f'[[evidence]]\nname = "{name}"\ncommand = ["true"]' for name in self.evidence]
        for name, *words in map(str.split, self.panels):
            command = json.dumps(["tenth-evidence", name, *words])
            text.append(f'[[evidence]]\nname = "{name}"\ncommand = {command}')
        for name, key in self.keys.items():
            kind = "watcher" if name == WATCHER else "signatory"
            text.append(f'[[{kind}]]\nname = "{name}"\nkey = "{key.public.line}"')
        return "\n".join(text) + "\n"

    # --- the supervisor ----------------------------------------------------------------------------------------------

    def start(self) -> Live:
        """Start the supervisor, and wait until it answers."""
        words = [str(HERE / "held_otherwise.py"), json.dumps(BACK_ENDS[self.back_end]), str(self.path)]
        if not BACK_ENDS[self.back_end]:
            words = ["-m", "tenth.supervisor", str(self.path)]
        with (self.folder / "supervisor.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder
            )
        self.wait(self._answers, "the supervisor to answer")
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.ask(do="status"))
        except OSError:
            return False

    def stop(self) -> None:
        """Ask the supervisor to leave; its trainer goes with it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def wait(self, found: Callable[[], Any], what: str) -> Any:
        """The first true value of ``found``, as long as the supervisor lives."""

        def there() -> Any:
            if (value := found()) or self.process is None or self.process.poll() is None:
                return value
            raise SystemExit(f"the supervisor ended before {what}\n{self.said()}")

        return wait_for(there, what, self.patience, said=self.said)

    # --- asking ------------------------------------------------------------------------------------------------------

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(SECONDS)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            sock.connect(f"/proc/self/fd/{folder}/control.sock")
        except OSError:
            sock.close()
            raise
        finally:
            os.close(folder)
        return sock

    def ask(self, **request: Json) -> Json:
        """One request, one answer."""
        with self.connect() as sock, sock.makefile("rb") as lines:
            sock.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(lines.readline())

    def status(self) -> Json:
        return self.ask(do="status")["status"]

    def until(self, stance: str) -> Json:
        """Wait until the run stands so; its status."""

        def there() -> Json:
            status = self.status()
            return status if status["stance"] == stance else None

        return self.wait(there, stance)

    @contextlib.contextmanager
    def told(self) -> Iterator[Iterator[Json]]:
        """What the supervisor tells a watcher from now on. Ends the benchmark when the run trips."""
        sock = self.connect()
        with sock, sock.makefile("rb") as lines:
            sock.sendall(b'{"do":"watch","name":"lin"}\n')
            lines.readline()
            yield map(self._not_tripped, lines)

    def _not_tripped(self, line: bytes) -> Json:
        message = json.loads(line)
        if message["on"] == "entry" and message["entry"]["event"] == "tripped":
            raise SystemExit(f"the run tripped: {message['entry']['body']}\n{self.said()}")
        return message

    def said(self) -> str:
        """The last words of supervisor and trainer."""
        paths = [self.folder / "supervisor.log", self.path / "trainer.log"]
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in paths if path.exists())

    # --- deciding ----------------------------------------------------------------------------------------------------

    def _submit(self, event: str, name: str, status: Json) -> None:
        facts: dict[str, Any] = {"run": self.path.name, "signatory": name, "anchor": status["anchor"]}
        if event in statement.ON_DOSSIER:
            sealed = max((self.path / "gates").glob("*/dossier.json"), key=lambda path: path.stat().st_mtime_ns)
            facts["subjects"] = statement.subjects_of(status["dossier"], decode(sealed.read_bytes()))
        envelope = statement.sign(event, self.keys[name], time=timestamp(time.time()), **facts)
        answer = self.ask(do="submit", envelope=envelope)
        if not answer["ok"]:
            raise SystemExit(f"{event} by {name} was refused: {answer['error']}")

    def consent(self) -> None:
        """Everyone, to the dossier on the table."""
        status = self.until("GATE")
        for name in SIGNATORIES:
            self._submit("consented", name, status)

    def reopen(self) -> None:
        self._submit("reopened", SIGNATORIES[0], self.until("HALTED"))


def copy_standard_library(target: Path, left_out: Set[str]) -> None:
    """The source of this Python's library, without these folders."""
    source = Path(sysconfig.get_paths()["stdlib"])
    for parent, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("."))
        into = target / Path(parent).relative_to(source)
        for name in sorted(files):
            if name.endswith(".py"):
                into.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(parent) / name, into / name)
