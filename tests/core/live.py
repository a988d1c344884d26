"""A live run for tests: people with keys, a charter, the real supervisor in a process of its own, and both verifiers.

What it knows of processes it learns by itself, from a mark in their environment, and not from what it tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import verify_run
from tenth import cipher, opening
from tenth.encoding import decode
from tenth.errors import BrokenPromise
from tenth.gate import statement
from tenth.gate.sealing import SHARES
from tenth.keys import SigningKey
from tenth.log.entry import timestamp
from tenth.quarantine import leash, sandbox
from tenth.supervisor.rundir import RunDir
from tenth.verify import Report, verify

TESTS = Path(__file__).resolve().parents[1]
TRAINERS = TESTS / "trainers"
PYTHON = sys.executable
SECONDS = 30.0
"""Until something that was expected is given up."""

Json = Any
Status = dict[str, Any]

MACHINES: dict[str, dict[str, bool]] = {
    "bwrap+cgroup": {},
    "bwrap": {"cgroup": False},
    "cgroup": {"bwrap": False},
    "neither": {"cgroup": False, "bwrap": False},
}
"""Ways in which the supervisor can hold a trainer."""


def machines() -> list[str]:
    """Those that this machine has."""
    walls, groups = sandbox.bubblewrap() is not None, leash.cgroup_parent() is not None
    return [
        name
        for name, odd in MACHINES.items()
        if (walls or not odd.get("bwrap", True)) and (groups or not odd.get("cgroup", True))
    ]


def wait_for(found: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """The first true value of ``found``, looked for every few milliseconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.004)
    raise AssertionError(f"waited {seconds:g} s for {what}")


class Gone(Exception):
    """The supervisor has ended, or ends while it is asked."""


@dataclass
class Live:
    """One run with its people. Make it with the fixture ``live``, which ends and audits it."""

    folder: Path
    trainer: str = "steady.py"
    signatories: Sequence[str] = ("ada", "bob")
    watchers: Sequence[str] = ("lin",)
    env: Mapping[str, Any] = field(default_factory=dict)
    """For the trainer."""
    evidence: Sequence[tuple[str, Sequence[str]]] = ()
    device_seconds: float = 20_000
    flop: float = 1e18
    level: str = "none"
    silence_seconds: float = 60
    loopback: bool = False
    jail: int = 0
    gpus: Sequence[int] = ()
    devices: Path | None = None
    """Where the nodes of accelerators lie, in place of /dev."""
    code: Sequence[str] = ()
    seal: bool = False
    escrow: str | None = None
    peak: float = 1e12
    timeout_seconds: float = 60
    unwatched: str = "go"
    every: int = 10
    phases: int = 1
    prompts: Sequence[str] = ()
    samples_per_minute: float = 20
    machine: str | None = None
    python: Sequence[str] = (PYTHON,)
    """What starts the supervisor's interpreter."""
    command: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.recipe = "depth = 1\n\n[optim]\nlr = 0.5\n"
        self.documents = {"poem.txt": "a rose is a rose\n", "prose.txt": "it was\n"}
        self.mark = uuid.uuid4().hex
        self.keys = {
            name: SigningKey.generate()
            for name in (*self.signatories, *self.watchers, *([self.escrow] if self.escrow else []))
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.begun: RunDir | None = None
        self.tampered = False
        """Do not ask that the run verifies when the test is over, only that both verifiers agree."""
        self.acknowledged: dict[int, str] = {}
        """Index of an entry -> payload that the supervisor said it has written."""

    # --- before ------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        return self.folder / "project"

    @property
    def path(self) -> Path:
        assert self.begun is not None
        return self.begun.path

    @property
    def name(self) -> str:
        return self.path.name

    def charter(self) -> str:
        env = {"MARK": self.mark, **self.env}
        command = list(self.command or [PYTHON, f"code/{self.trainer}"])
        lines = ["[run]", 'name = "live"', 'purpose = "a test"', ""]
        for number in range(self.phases):
            lines += ["[[phase]]", f'name = "phase{number}"', f"command = {json.dumps(command)}", 'data = ["data"]']
            lines += [f"code = {json.dumps(list(self.code))}"] if self.code else []
            lines += ["[phase.env]", *(f"{name} = {json.dumps(str(value))}" for name, value in env.items()), ""]
        lines += ["[gates]", f'every = "1/{self.every} epoch"', ""]
        lines += ["[ceiling]", f"device_seconds = {self.device_seconds}", f"flop = {self.flop}", ""]
        lines += ["[quarantine]", f'level = "{self.level}"', f"silence_seconds = {self.silence_seconds}"]
        lines += [*(["loopback = true"] if self.loopback else []), *([f"jail = {self.jail}"] if self.jail else [])]
        lines += [f"gpus = {json.dumps(list(self.gpus))}", ""]
        if self.seal:
            lines += ["[seal]", "checkpoints = true"]
            lines += [f'escrow = "{self.keys[self.escrow].public.line}"'] if self.escrow else []
        lines += ["[watch]", f'unwatched = "{self.unwatched}"', f"samples_per_minute = {self.samples_per_minute}"]
        lines += [f"prompts = {json.dumps(list(self.prompts))}", ""]
        for name, words in self.evidence:
            lines += ["[[evidence]]", f'name = "{name}"', f"command = {json.dumps(list(words))}"]
            lines += [f"timeout_seconds = {self.timeout_seconds}", ""]
        for kind, names in (("signatory", self.signatories), ("watcher", self.watchers)):
            for name in names:
                lines += [f"[[{kind}]]", f'name = "{name}"', f'key = "{self.keys[name].public.line} {name}"', ""]
        return "\n".join(lines)

    def begin(self) -> Live:
        """Write the project and open the run."""
        shutil.copytree(TRAINERS, self.root / "code", ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "data").mkdir()
        for name, text in self.documents.items():
            (self.root / "data" / name).write_text(text)
        (self.root / "recipe.toml").write_text(self.recipe)
        (self.root / "charter.toml").write_text(self.charter())
        means = sandbox.means(leash.cgroup_parent() is not None)
        self.begun = opening.begin(
            self.root / "charter.toml", self.root / "runs", means, time.time(), {"flop_per_device_second": self.peak}
        )
        return self

    # --- the supervisor ----------------------------------------------------------------------------------------------

    def start(self, *options: str, fault: Mapping[str, Any] | None = None, answer: bool = True) -> Live:
        """Start the supervisor, and wait until it answers."""
        if self.begun is None:
            self.begin()
        odd: dict[str, Any] = dict(MACHINES[self.machine]) if self.machine else {}
        if self.devices:
            odd["devices"] = str(self.devices)
        if fault:
            odd["fault"] = fault
        words = [str(TESTS / "core" / "odd_supervisor.py"), json.dumps(odd)] if odd else ["-m", "tenth.supervisor"]
        with (self.folder / "supervisor.log").open("ab") as output:
            self.process = subprocess.Popen(
                [*self.python, *words, str(self.path), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=self.folder,
            )
        if answer:
            wait_for(self._answers, "the supervisor to answer: " + self.said())
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            return True
        try:
            return bool(self.status())
        except Gone:
            return False

    def said(self) -> str:
        """What the supervisor printed."""
        path = self.folder / "supervisor.log"
        return path.read_text() if path.exists() else ""

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Ask the supervisor to leave; its exit status."""
        assert self.process is not None
        if self.alive:
            self.process.terminate()
        return self.process.wait(20)

    def ended(self, seconds: float = SECONDS) -> int:
        """Wait until the supervisor ends by itself; its exit status."""
        assert self.process is not None
        return self.process.wait(seconds)

    def marked(self) -> list[int]:
        """Process ids of the trainer's whole tree, found by its environment."""
        return _with_environment(f"MARK={self.mark}")

    def kill_trainer(self) -> None:
        """Kill -9 every process of it that is there now."""
        self._kill(self.marked())

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def evidence_runs(self) -> list[int]:
        """Process ids of evidence commands of this run, found by their environment."""
        return _with_environment(f"TENTH_OUT={self.path}")

    # --- asking ------------------------------------------------------------------------------------------------------

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(20)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            wait_for(lambda: _connects(sock, f"/proc/self/fd/{folder}/control.sock"), "room in the queue")
        except OSError as error:
            sock.close()
            raise Gone(str(error)) from None
        finally:
            os.close(folder)
        return sock

    def ask(self, **request: Json) -> Json:
        """One request, one answer. Raises Gone when there is nobody to answer."""
        with self.connect() as sock, sock.makefile("rb") as lines:
            try:
                sock.sendall(json.dumps(request).encode() + b"\n")
                line = next((one for one in lines if not one.startswith(b'{"on":')), b"")
            except TimeoutError:
                raise AssertionError("the supervisor does not answer") from None
            except OSError as error:
                raise Gone(str(error)) from None
        if not line.endswith(b"\n"):
            raise Gone("it hung up")
        return json.loads(line)

    def status(self) -> Status:
        return dict(self.ask(do="status")["status"])

    def pull(self, name: str | None = "lin") -> Json:
        answer = self.ask(do="pull", name=name)
        assert answer["ok"], answer
        return answer

    def until(self, stance: str, *, gate: int | None = None, seconds: float = SECONDS) -> Status:
        """Wait until the run stands so, and return its status."""

        def there() -> Status | None:
            status = self.status()
            fits = status["stance"] == stance and (gate is None or status["gate"] == gate)
            return status if fits else None

        return dict(wait_for(there, f"{stance} at gate {gate}; supervisor: {self.said()[-500:]}", seconds))

    # --- signing -----------------------------------------------------------------------------------------------------

    def sign(self, event: str, name: str, status: Status, **changes: Json) -> Json:
        """An envelope for this moment."""
        facts: dict[str, Any] = {"run": self.name, "signatory": name, "anchor": status["anchor"]}
        facts |= {"time": timestamp(time.time()), "key": self.keys.get(name)}
        if event in statement.ON_DOSSIER:
            facts["subjects"] = statement.subjects_of(status["dossier"], self.dossier(status["dossier"]))
        return statement.sign(event, **{**facts, **changes})

    def share(self, name: str) -> Json:
        """This person's share of the key of the checkpoint on the table, if it is sealed."""
        checkpoint = (self.dossier()["checkpoint"] or {"path": "checkpoints/00"}) if self.seal else None
        if checkpoint is None or not (file := self.path / (checkpoint["path"] + SHARES)).exists():
            return None
        shares = cipher.read_shares(file.read_bytes(), self.name, checkpoint["digest"])
        return cipher.pass_on(shares, name, self.keys[name], RunDir(self.path).key().public)

    def submit(self, envelope: Json, share: Json = None) -> Json:
        answer = self.ask(do="submit", envelope=envelope, share=share)
        if answer["ok"]:
            self.acknowledged[answer["index"]] = envelope["payload"]
        return answer

    def say(self, event: str, name: str, **changes: Json) -> Json:
        """Sign and submit; must be accepted."""
        share = self.share(name) if event == "consented" else None
        answer = self.submit(self.sign(event, name, self.status(), **changes), share)
        assert answer["ok"], answer
        return answer

    def consent(self, *names: str) -> None:
        """Of these people, or of everyone whose consent is awaited."""
        status = self.until("GATE")
        for name in names or status["waiting_for"]:
            answer = self.submit(self.sign("consented", name, status), self.share(name))
            assert answer["ok"], answer

    def run_to(self, stance: str, *, gate: int | None = None) -> Status:
        """Consent for everyone, reopen what is halted, until the run stands so."""

        def step() -> Status | None:
            status = self.status()
            if status["stance"] == stance and (gate is None or status["gate"] == gate):
                return status
            self.act(status)
            return None

        return dict(wait_for(step, f"{stance} at gate {gate}; supervisor: {self.said()[-500:]}"))

    def act(self, status: Status) -> None:
        """What everyone does who always says yes."""
        if status["stance"] == "HALTED":
            self.submit(self.sign("reopened", self.signatories[0], status))
        if status["stance"] == "GATE":
            for name in status["waiting_for"]:
                self.submit(self.sign("consented", name, status), self.share(name))

    def finish(self) -> None:
        """To the end of the run, always saying yes."""

        def over() -> bool:
            try:
                status = self.status()
                self.act(status)
            except Gone:
                return True
            return bool(status["stance"] == "CLOSED")

        wait_for(over, "the run to close; supervisor: " + self.said()[-500:], 60)
        assert self.ended() == 0, self.said()
        assert self.entries()[-1]["event"] == "closed"

    # --- what is on record -------------------------------------------------------------------------------------------

    def entries(self) -> list[Json]:
        lines = (self.path / "log" / "entries.jsonl").read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.entries()]

    def last(self, event: str) -> Json:
        return next(entry["body"] for entry in reversed(self.entries()) if entry["event"] == event)

    def dossier(self, digest: str | None = None) -> Json:
        seals = [entry["body"] for entry in self.entries() if entry["event"] == "sealed"]
        body = next(one for one in reversed(seals) if digest in (None, one["dossier"]))
        return decode((self.path / body["path"] / "dossier.json").read_bytes())

    def result(self) -> bytes:
        """The bytes of the last checkpoint."""
        folder = self.path / self.last("reached")["checkpoint"]["path"]
        return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())

    def check_acknowledged(self) -> None:
        """Whatever was acknowledged is in the log, in its place (promise 8)."""
        entries = self.entries()
        for index, payload in self.acknowledged.items():
            assert index < len(entries), f"entry {index} was acknowledged and is gone"
            assert entries[index]["body"]["envelope"]["payload"] == payload

    def audit(self) -> Report | BrokenPromise:
        """Both verifiers, which must agree; what the package's says."""
        return audit(self.path)

    def close(self) -> None:
        """End what was started."""
        if self.alive:
            self.stop()
        self._kill(self.marked() + (self.evidence_runs() if self.begun else []))
        if (parent := leash.cgroup_parent()) and self.begun is not None:
            for group in parent.glob(f"tenth-{self.name}-*"):  # of a supervisor that was killed, with no one after it
                with contextlib.suppress(OSError):
                    group.rmdir()


def _connects(sock: socket.socket, address: str) -> bool:
    """False while the queue of those who want to be heard is full."""
    try:
        sock.connect(address)
    except BlockingIOError:
        return False
    return True


def _with_environment(words: str) -> list[int]:
    needle, found = words.encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if needle in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(int(pid))
        except OSError:
            continue
    return found


def audit(path: Path) -> Report | BrokenPromise:
    """Ask the package's verifier and the independent one; they must agree on whether the run holds."""
    said: Report | BrokenPromise
    try:
        said = verify(path)
    except BrokenPromise as error:
        said = error
    other = verify_run.verify(path)
    if isinstance(said, BrokenPromise):
        assert other["broken"], f"only tenth.verify objects: promise {said.promise}, entry {said.entry}: {said}"
    else:
        assert not other["broken"], f"only tools/verify_run.py objects: {other['broken']}"
        found = (said.run, said.entries, said.heads, said.stance, said.gate)
        assert found == tuple(other[name] for name in ("run", "entries", "heads", "stance", "gate"))
    return said
