"""How fast is a checkpoint sealed, and opened again?

Sealing reads, encrypts, writes and waits for the disk, with a new key; opening reads, checks, writes and waits.
Beside it what no way of sealing can beat, a copy; in turn, in every round, on the checkout's own disk.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from record import Record, options, spread, workplace

from tenth import cipher
from tenth.gate.sealing import finish

MUST = 500.0


def copied(source: Path, target: Path) -> None:
    """A copy that is on the disk when this returns."""
    shutil.copytree(source, target)
    for path in target.rglob("*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def rates(folder: Path, megabytes: int, rounds: int) -> dict[str, list[float]]:
    """MB/s of each way, round by round."""
    (folder / "plain").mkdir()
    with (folder / "plain" / "model.safetensors").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    found: dict[str, list[float]] = {"copy": [], "seal": [], "open": []}
    for _ in range(rounds):
        key = os.urandom(32)
        ways: dict[str, Callable[[], object]] = {
            "copy": lambda: copied(folder / "plain", folder / "copy"),
            "seal": lambda key=key: finish(cipher.encipher(folder / "plain", folder / "seal", key)),  # type: ignore[misc]
            "open": lambda key=key: finish(cipher.decipher(folder / "seal", folder / "open", key)),  # type: ignore[misc]
        }
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            found[name].append(megabytes / (time.perf_counter() - began))
        for name in ways:
            shutil.rmtree(folder / name)
    return found


def main() -> None:
    chosen = options(__doc__, megabytes=(500, "size of the checkpoint, 10^6 bytes"), rounds=(5, "rounds"))
    record = Record("sealing", (__doc__ or "").partition("\n")[0], chosen)
    with workplace() as folder:
        found = rates(folder, chosen.megabytes, chosen.rounds)
    record.figure("a checkpoint sealed", "MB/s", spread(found["seal"], 0), {"p50": (">=", MUST)})
    record.figure("a checkpoint opened", "MB/s", spread(found["open"], 0), {"p50": (">=", MUST)})
    record.figure("the same folder copied, for comparison", "MB/s", spread(found["copy"], 0))
    record.finish()


if __name__ == "__main__":
    main()
