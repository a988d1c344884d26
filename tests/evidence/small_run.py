"""A small run that has passed some gates, for what is measured on its checkpoints."""

from __future__ import annotations

import time
from pathlib import Path

from client.fake_supervisor import FakeSupervisor, write_listing
from tenth.trainer.pretrain import pretrain
from trainer.tiny import TINY


def passed(gates: int, base: Path) -> FakeSupervisor:
    """Thirty documents of numbered lines, an epoch of as many tenths as gates."""
    root = base / "root"
    root.mkdir()
    for i in range(30):
        (root / f"{i:02d}.txt").write_text("".join(f"line {n} of {i}: {n * i % 97} words\n" for n in range(40)))
    (base / "run").mkdir()
    (base / "run" / "recipe.toml").write_text(TINY)
    listing = write_listing(root, base / "run" / "data.jsonl")
    supervisor = FakeSupervisor(base / "run", base / "run" / "recipe.toml", listing, root, of=gates)
    for _ in range(gates):
        supervisor.in_this_process(lambda lease: pretrain(lease, time.monotonic()))
    return supervisor
