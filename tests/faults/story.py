"""A whole short run and its people: what each of them does next, told from where the run stands alone.

So whoever comes back after a crash goes on with the same story: an objection and its withdrawal at gate 0, a tenth in
which lin pulls the cord, a reopening, an adjustment at gate 1, another tenth, and the end: closed at gate 2.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.live import PYTHON, Gone, Live, Status
from tenth import cipher
from tenth.gate.sealing import SEALED, SHARES, finish
from tenth.log.store import read
from tenth.log.tree import Tree

STEPS = 40
PATIENCE = 60.0
"""Seconds in which a supervisor must come to an end, one way or the other."""
CALLS = Path(__file__).with_name("calls.py")
PATCH = {"recipe": {"optim.lr": 0.25}, "exclude": ["data/prose.txt"]}

Json = Any


class Story:
    """One run directory, made once and begun again for each telling; and all that anybody was told by it."""

    def __init__(self, folder: Path, *, seal: bool = False) -> None:
        """``seal``: checkpoints are encrypted between gates."""
        panel = ("count", [PYTHON, "-I", "-S", "code/panel.py", "write"])
        command = [PYTHON, "-I", "-S", "code/paced.py"]
        escrow = "eve" if seal else None
        options = {"env": {"STEPS": STEPS}, "evidence": [panel], "seal": seal, "escrow": escrow}
        self.run = Live(folder, command=command, **options).begin()
        self._report = folder / "report"
        self._lost, self._opened = folder / "report.lost", folder / "opened"
        self._watching: socket.socket | None = None
        self._heard = b""
        self._now: Status | None = None
        """Where the run stands, as far as anybody was told."""
        self._sampled = -1
        """The step of the newest sample."""
        self.keep()
        self.again()

    def keep(self) -> None:
        """Let every telling begin with what lies there now."""
        self._kept, self._went = Path(tempfile.mkdtemp(dir=self.run.folder)) / "run", (self.run.root / "go").exists()
        shutil.copytree(self.run.path, self._kept, ignore=shutil.ignore_patterns("control.sock"))

    def bring_to_last_gate(self) -> None:
        """Everyone says yes until nothing is left to train; then tellings begin."""
        (self.run.root / "go").touch()
        self.run.start()
        for gate in range(1, 11):
            self.run.run_to("GATE", gate=gate)
        self.run.stop()
        self.keep()

    def bring_to_torn_log(self) -> None:
        """Killed within writing the head of the first checkpoint's entry; then tellings begin."""
        self.start({})
        self.go_on()
        calls = [call for call in self.calls() if call["number"]]
        reached = next(n for n, call in enumerate(calls) if '"event":"reached"' in call["data"])
        head = next(
            call["number"] for call in calls[reached:] if (call["path"], call["name"]) == ("log/heads", "write")
        )
        self.again()
        self.start({"at": head, "how": "torn"})
        self.go_on()
        self.keep()

    def again(self) -> None:
        """As it was when it had just been opened, or where it was brought to; nobody is connected."""
        self._leave()
        for folder in (self.run.path, self._lost, self._opened):
            subprocess.run(["chmod", "-R", "u+rwX", folder], check=False, capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._kept, self.run.path)
        (self.run.root / "go").unlink(missing_ok=True)
        if self._went:
            (self.run.root / "go").touch()
        (self.run.folder / "supervisor.log").unlink(missing_ok=True)
        self.run.acknowledged = {}
        self.pulled = 0
        """How many pulls were acknowledged."""
        self.told: list[Json] = []
        """Entries that a watcher was told."""
        self.heads: list[tuple[int, str]] = []
        """Sizes and roots of the log that somebody was told."""

    # --- telling -----------------------------------------------------------------------------------------------------

    def start(self, spoil: Mapping[str, Any] | None = None) -> None:
        """Start the supervisor, under ``calls.py`` if its calls are wanted: {} or what it is to spoil."""
        self.run.python = [PYTHON]
        if spoil is not None:
            spec = {"below": str(self.run.path), "report": str(self._report), "ready": True, **spoil}
            self.run.python = [
                PYTHON,
                "-I",
                "-S",
                str(CALLS),
                json.dumps(spec),
                PYTHON,
                str(CALLS.with_name("ready.py")),
            ]
        self._report.unlink(missing_ok=True)
        self.run.start(answer=False)

    def calls(self) -> list[Json]:
        """What ``calls.py`` saw of the supervisor that has just ended."""
        return [json.loads(line) for line in self._report.read_text().splitlines()]

    def go_on(self) -> int:
        """Until the supervisor ends, the story told or not; its exit status."""
        assert self.run.process is not None
        self._now, self._sampled, acted = None, -1, None
        until = time.monotonic() + PATIENCE
        while self.run.alive:
            if time.monotonic() > until:
                raise AssertionError(f"it stands still: {self.run.events()[-5:]}; supervisor: {self.run.said()[-800:]}")
            try:
                self._attend()
                if self._now and acted != (moment := (self._now["entries"], self._sampled)):
                    acted = moment
                    self._act(self._now)
            except (Gone, FileNotFoundError):  # when the power is cut, the folder is gone for a moment
                time.sleep(0.01)
        self._listen()
        self._leave()
        return self.run.process.wait()

    def _attend(self) -> None:
        """Watch: wait for what the supervisor tells next."""
        if self._watching is None:
            self._watching = self.run.connect()
            with contextlib.suppress(OSError):
                self._watching.sendall(b'{"do":"watch","name":"lin"}\n')
            self._watching.setblocking(False)
        select.select([self._watching], [], [], 0.05)
        if not self._listen():
            time.sleep(0.01)  # it has hung up, and will be gone in a moment

    def _listen(self) -> bool:
        """What the watcher was told meanwhile; it is there even when the supervisor is not any more."""
        try:
            while self._watching and (data := self._watching.recv(1 << 16)):
                self._heard += data
        except BlockingIOError:
            return self._heed()
        except ConnectionError:
            pass
        self._heed()
        return False

    def _heed(self) -> bool:
        *lines, self._heard = self._heard.split(b"\n")
        for message in map(json.loads, lines):
            self.told += [message["entry"]] if message.get("on") == "entry" else message.get("entries", [])
            if message.get("on") == "sample":
                self._sampled = message["sample"]["step"]
            if "status" in message:
                self._noted(message)
        return True

    def _noted(self, message: Json) -> None:
        status = message["status"]
        self.heads.append((status["entries"], status["root"]))
        if self._now is None or status["entries"] >= self._now["entries"]:
            self._now = status

    def _leave(self) -> None:
        if self._watching:
            self._watching.close()
        self._watching, self._heard = None, b""

    def _act(self, status: Status) -> None:
        """The one next thing that somebody does."""
        stance, gate = status["stance"], status["gate"]
        if stance == "HALTED":
            self._say("reopened", "ada", status)
        elif stance == "GATE" and gate == 2:
            self._say("closed", "bob", status)
        elif stance == "GATE" and gate == 1 and "adjusted" not in self.run.events():
            self._say("adjusted", "bob", status, patch=PATCH)
        elif stance == "GATE" and gate == 0 and "objected" not in self.run.events():
            self._say("objected", "bob", status)
        elif stance == "GATE" and status["waiting_for"]:
            self._say("consented", min(status["waiting_for"]), status)
        elif stance == "RUNNING" and gate == 0 and "pulled" in self.run.events():
            (self.run.root / "go").touch()
        elif stance == "RUNNING" and gate == 0 and self._sampled == 1:
            self._noted(self.run.pull())
            self.pulled += 1

    def _say(self, event: str, name: str, status: Status, **more: Json) -> None:
        share = self.run.share(name) if event == "consented" else None
        answer = self.run.submit(self.run.sign(event, name, status, **more), share)
        assert answer["ok"], answer
        self._noted(answer)

    def result(self) -> bytes:
        """The bytes of the last checkpoint; a sealed one that was not released is opened with the escrow key."""
        checkpoint = self.run.last("reached")["checkpoint"]
        released = self.run.entries()[-1]["body"].get("outcome") == "released"
        if released or (self.run.path / checkpoint["path"]).exists():
            return self.run.result()
        data = (self.run.path / (checkpoint["path"] + SHARES)).read_bytes()
        key = cipher.whole_key(cipher.read_shares(data, self.run.name, checkpoint["digest"]), self.run.keys["eve"])
        finish(cipher.decipher(self.run.path / (checkpoint["path"] + SEALED), self._opened, key))
        return b"".join(path.read_bytes() for path in sorted(self._opened.rglob("*")) if path.is_file())

    # --- what must hold whenever the supervisor has ended ------------------------------------------------------------

    def faults(self) -> list[str]:
        """What is wrong with the run as it lies there, in words; empty if all is well."""
        checks: Sequence[Callable[[], object]] = (
            self._verifiable,
            self._kept_its_word,
            self._no_step_beyond,
            self._nobody_lives,
        )
        found = []
        for check in checks:
            try:
                check()
            except AssertionError as error:
                found.append(f"{check.__name__.strip('_')}: {error}")
        if "Traceback" in (said := self.run.said()):
            found.append(f"traceback: {said[-600:]}")
        return found

    def _verifiable(self) -> None:
        said = self.run.audit()
        assert not isinstance(said, Exception), str(said)

    def _kept_its_word(self) -> None:
        """All that was acknowledged, told to a watcher, or shown as the log's state, is on record."""
        self.run.check_acknowledged()
        entries = self.run.entries()
        assert self.pulled <= sum(one["event"] == "pulled" for one in entries), "a pull was acknowledged and is gone"
        for one in self.told:
            assert one in entries[one["index"] : one["index"] + 1], f"a watcher was told {one}, which is gone"
        log, tree, roots = read(self.run.path / "log"), Tree(), {}
        for entry in log.entries:
            tree.append(entry.leaf)
            roots[tree.size] = tree.root().hex()
        for size, root in self.heads:
            assert roots.get(size) == root, f"somebody was shown a log of {size} entries, which is gone"

    def _no_step_beyond(self) -> None:
        """Each step lies in a tenth for which a lease is on record."""
        leases = [entry["body"]["lease"] for entry in self.run.entries() if entry["event"] == "leased"]
        allowed = {
            lease["gate"]: range(STEPS * (lease["tenth"] - 1) // 10, STEPS * lease["tenth"] // 10) for lease in leases
        }
        journal = self.run.path / "work" / "journal"
        for line in journal.read_text().splitlines() if journal.exists() else ():
            gate, step = map(int, line.split())
            assert step in allowed.get(gate, ()), f"step {step} towards gate {gate} was taken without a lease"

    def _nobody_lives(self) -> None:
        """The trainer and the evidence are gone with their supervisor."""
        until = time.monotonic() + 5
        while left := self.run.marked() + self.run.evidence_runs():
            assert time.monotonic() < until, f"processes {left} live on without a supervisor"
            time.sleep(0.002)
