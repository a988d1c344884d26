"""How long does it take to verify a run of 100,000 entries?

The run is made by the package's own store, law and dossiers, as the supervisor would write it over two days: mostly
``metered`` and ``sampled`` entries with a head each, sample shards on disk, ten gates with signed consents, evidence
and checkpoints, and a few pulls. Verified by the package in this process, by ``tenth verify``, by the second verifier.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from live import SIGNATORIES, Live
from record import ROOT, Record, options, spread, workplace

from tenth.encoding import canonical, digest, write_durably
from tenth.gate import statement
from tenth.gate.sealing import finish, folder_digest
from tenth.log.entry import timestamp
from tenth.log.store import LogWriter
from tenth.supervisor import gathering
from tenth.supervisor.rundir import RunDir
from tenth.verify import verify

MUST = {"p50": ("<=", 5.0), "max": ("<=", 5.0)}
GATES, PER_SHARD = 10, 5
"""A shard every ten seconds, a meter every two."""
CODE = "def read(self, size=-1):\n    return self._file.read(size)\n"

Json = Any


class Story:
    """A supervisor without a trainer and without a clock: it writes what a long run would have made it write."""

    def __init__(self, live: Live) -> None:
        self.run, self.keys = RunDir(live.path), live.keys
        self.history = verify(live.path).history
        self.now = time.time()
        self.log = LogWriter(live.path / "log", self.run.name, self.run.key(), lambda: self.now)
        self.chance = random.Random(0)
        self.seconds, self.flop, self.step, self.shards = 0.0, 0.0, 0, 0

    def append(self, event: str, body: Json, dossier: Json = None) -> None:
        self.now += 2.003
        self.log.append((event, body), judge=lambda entry: self.history.follow(entry, dossier))

    @property
    def spent(self) -> Json:
        return {"device_seconds": round(self.seconds, 3), "flop": self.flop}

    def claims(self) -> Json:
        loss = 8 / (1 + self.step) ** 0.1 + self.chance.gauss(0, 0.05)
        metrics = {"grad_norm": self.chance.uniform(0.1, 2), "lr_scale": 1.0, "bits_per_byte": loss / 2.6}
        metrics |= {"tokens_per_second": self.chance.uniform(18_000, 22_000), "skipped": 0}
        facts = {"step": self.step, "tokens": self.step * 2048, "flop": self.flop, "loss": loss}
        return {**facts, "metrics": metrics}

    def meter(self, seconds: float = 3.9) -> None:
        self.seconds, self.flop, self.step = self.seconds + seconds, self.flop + seconds * 5e10, self.step + 19
        reserved = round(self.seconds + 20, 3)
        self.append("metered", {"spent": self.spent, "reserved_device_seconds": reserved, "claims": self.claims()})

    def sample(self) -> None:
        self.shards += 1
        path = self.run.path / "samples" / f"{self.shards:06d}.jsonl"
        facts = {"step": self.step, "temperature": 0.8, "gate": self.history.state.gate, "time": timestamp(self.now)}
        lines = [
            canonical({**facts, "prompt": prompt, "text": CODE}) + b"\n" for prompt in ("def ", "class ", "import ")
        ]
        path.write_bytes(b"".join(lines))
        body = {"path": f"samples/{path.name}", "sha256": digest(b"".join(lines)), "count": len(lines)}
        self.append("sampled", body)

    def gate(self, *, frozen: bool = False) -> None:
        """Dossier, evidence, the consents of all, and what they allow."""
        history, path = self.history, self.history.gate_path()
        panels = [self._panel(panel.name, path) for panel in history.evidence]
        dossier = {
            **history.dossier_base(history.state.spent, frozen=frozen),
            "log": {"size": self.log.tree.size, "root": self.log.tree.root().hex()},
            **gathering.digests_in_force(self.run, history),
            "evidence": panels,
            "protections": self.run.manifest()["protections"],
        }
        (self.run.path / path).mkdir(parents=True, exist_ok=True)
        (self.run.path / path / "dossier.json").write_bytes(source := canonical(dossier))
        found = digest(source)
        body = {"gate": history.state.gate, "path": path, "dossier": found, "spent": history.state.spent.record()}
        self.append("sealed", body, dossier)
        for name in SIGNATORIES:
            self.say("consented", name, statement.subjects_of(found, dossier), path)
        if history.state.gate < history.state.gates:
            self.append("leased", {"dossier": found, "lease": dossier["proposal"]["lease"]})
            self.meter(0)  # written ahead, before anything is spent
        else:
            self.append("closed", {"outcome": "released", "dossier": found})

    def _panel(self, name: str, path: str) -> Json:
        folder = self.run.path / path / "evidence" / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_bytes(canonical({"bits_per_byte": self.chance.uniform(1, 2)}))
        digest_of = finish(folder_digest(folder))
        row = {"name": name, "path": f"{path}/evidence/{name}", "digest": digest_of}
        return {**row, "surprised": False, "device_seconds": 1.5}

    def say(self, event: str, name: str, subjects: Any = None, path: str = "") -> None:
        envelope = statement.sign(
            event, self.keys[name], run=self.run.name, signatory=name, anchor=self.history.state.anchor,
            time=timestamp(self.now), subjects=subjects,
        )  # fmt: skip
        self.append(event, {"envelope": envelope})
        if path:
            (self.run.path / path / "consents").mkdir(exist_ok=True)
            write_durably(self.run.path / path / "consents" / f"{name}.json", canonical(envelope))

    def reach(self) -> None:
        gate = self.history.state.gate + 1
        folder = self.run.path / "checkpoints" / f"{gate:02d}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(self.chance.randbytes(7_000_000))
        (folder / "optimizer.safetensors").write_bytes(self.chance.randbytes(14_000_000))
        checkpoint = {"path": f"checkpoints/{gate:02d}", "digest": finish(folder_digest(folder))}
        body = {"gate": gate, "checkpoint": checkpoint, "position": {"step": self.step}}
        self.append("reached", {**body, "spent": self.spent, "claims": self.claims()})

    def interrupt(self) -> None:
        """A pull, and everyone to go on."""
        by = {"name": "lin", "uid": 1000}
        self.append("pulled", {"by": by, "frozen": True, "stopped_ms": 1.234, "spent": self.spent})
        self.say("reopened", SIGNATORIES[0])
        self.gate(frozen=True)

    def tell(self, entries: int) -> None:
        """The whole run, as near to this many entries as its shape allows."""
        self.gate()
        for number in range(GATES):
            end = entries * (number + 1) // GATES
            pulled = {end - entries // GATES * part // 3 for part in (1, 2)}
            while self.log.tree.size < end - 8:
                self.meter()
                if self.log.tree.size % (PER_SHARD + 1) == 0:
                    self.sample()
                if pulled and self.log.tree.size >= min(pulled):
                    pulled.discard(min(pulled))
                    self.interrupt()
            self.reach()
            self.gate()
        self.log.close()


def build(folder: Path, entries: int) -> Path:
    """A run directory. Nothing waits for the disk meanwhile: that is measured elsewhere."""
    live = Live(folder, ["true"], samples_per_minute=18, evidence=("bits-per-byte", "completions"))
    waits = os.fsync, os.fdatasync
    os.fsync = os.fdatasync = lambda _file: None  # type: ignore[assignment]
    try:
        Story(live).tell(entries)
    finally:
        os.fsync, os.fdatasync = waits
    return live.path


def seconds(action: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        found.append(round(time.perf_counter() - began, 3))
    return found


def run(*words: str) -> Callable[[], object]:
    return lambda: subprocess.run([*words], check=True, capture_output=True)


def main() -> None:
    chosen = options(__doc__, entries=(100_000, "entries of the run"), n=(5, "times each verifier runs"))
    record = Record("verify", (__doc__ or "").partition("\n")[0], chosen)
    with workplace() as folder:
        began = time.perf_counter()
        path = build(folder, chosen.entries)
        record.detail(build_seconds=round(time.perf_counter() - began, 1))
        kinds: dict[str, int] = {}
        for line in (path / "log" / "entries.jsonl").read_bytes().splitlines():
            event = json.loads(line)["event"]
            kinds[event] = kinds.get(event, 0) + 1
        report = verify(path)
        record.detail(entries=kinds, heads=report.heads, stance=report.stance, log_megabytes=log_megabytes(path))
        what = f"a run of {report.entries:,} entries"
        tenth, second = str(Path(sys.executable).with_name("tenth")), str(ROOT / "tools" / "verify_run.py")
        inside = seconds(lambda: verify(path), chosen.n)
        command = seconds(run(tenth, "verify", str(path)), chosen.n)
        other = seconds(run(sys.executable, second, str(path)), chosen.n)
        record.figure(f"`tenth verify` of {what}", "s", spread(command), MUST)
        record.figure(f"the same in a process that is there already, {what}", "s", spread(inside), MUST)
        record.figure(f"the second verifier, `tools/verify_run.py`, of {what}", "s", spread(other))
        record.detail(inside=inside, command=command, second=other)
    record.finish()


def log_megabytes(path: Path) -> float:
    return round(sum(file.stat().st_size for file in (path / "log").iterdir()) / 1e6, 1)


if __name__ == "__main__":
    main()
