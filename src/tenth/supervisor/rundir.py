"""The run directory: where things lie, and the lock that lets one supervisor in at a time."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.charter import Charter
from tenth.encoding import decode
from tenth.errors import RunRefused
from tenth.keys import SigningKey
from tenth.quarantine import sandbox

OPEN = ".open"
"""Where sealed checkpoints lie open while they are needed."""


@dataclass(frozen=True)
class RunDir:
    """Paths of one run. All are absolute."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def root(self) -> Path:
        """The folder of the charter: what relative paths of data and commands are relative to."""
        return Path(self.manifest()["machine"]["root"])

    @property
    def peak(self) -> float:
        """FLOP/s of one device at its best, as measured when the run was opened."""
        return float(self.manifest()["machine"]["flop_per_device_second"])

    def shown(self) -> list[Path]:
        """What every child may see of it: checkpoints as far as they lie open, and feedback as sealed for training."""
        folders = [path for path in (self.path / "checkpoints", self.path / OPEN) if path.is_dir()]
        return [*folders, *sorted(self.path.glob(f"feedback/{'[0-9a-f]' * 64}.jsonl"))]

    def hidden(self) -> list[Path]:
        """What no child may see: this run, the others beside it, and the keys of whoever runs it."""
        return [*(key.parent for key in self.path.parent.glob("*/supervisor.key")), *sandbox.hidden_from_everyone()]

    def manifest(self) -> dict[str, Any]:
        return dict(decode((self.path / "manifest.json").read_bytes(), "manifest.json"))

    def charter(self) -> Charter:
        return charters.parse((self.path / "charter.toml").read_bytes())

    def key(self) -> SigningKey:
        return SigningKey.load(self.path / "supervisor.key")

    @classmethod
    def find(cls, path: Path) -> RunDir:
        path = path.resolve()
        if not (path / "log" / "entries.jsonl").is_file():
            raise RunRefused("there is no run here", str(path), "begin one with 'tenth run charter.toml'")
        return cls(path)

    def lock(self) -> int:
        """Hold the run: the descriptor's life is the lock's. Refuses while another supervisor lives."""
        file = os.open(self.path / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(file, 20).decode("ascii", "replace").strip()
            os.close(file)
            refused, do = f"the run {self.name} has a supervisor already", "use 'tenth watch', or stop that process"
            raise RunRefused(refused, f"process {owner} holds it", do) from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        return file
