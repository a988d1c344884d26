"""How many durable entries a second does the log take, one acknowledged before the next is written?

Through the package's one writer, on the checkout's own disk. For comparison, what the disk alone does: two small
appends, each followed by fdatasync, which is what one entry costs by design (entry line, then head).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from record import Record, options, spread, workplace

from tenth.keys import SigningKey
from tenth.log.store import LogWriter

MUST = 150.0
CLAIMS = {"step": 1234, "tokens": 2527232, "flop": 26112345678901.0, "loss": 3.0712345, "metrics": {}}
METRICS = ("grad_norm", "lr_scale", "tokens_per_second", "skipped", "bits_per_byte")


def appends(folder: Path, times: int) -> list[float]:
    """Milliseconds of each append."""
    log, found = LogWriter(folder, "bench-0", SigningKey.generate()), []
    claims = {**CLAIMS, "metrics": dict.fromkeys(METRICS, 0.123456)}
    for number in range(times):
        spent = {"device_seconds": round(number * 2.003, 3), "flop": 26112345678901.0}
        body = {"spent": spent, "reserved_device_seconds": spent["device_seconds"] + 20, "claims": claims}
        began = time.perf_counter()
        log.append(("metered", body))
        found.append(1000 * (time.perf_counter() - began))
    log.close()
    return found


def bare(folder: Path, times: int) -> list[float]:
    """Milliseconds of two small durable appends without any of our code."""
    files = [os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in ("bare.1", "bare.2")]
    found = []
    for _ in range(times):
        began = time.perf_counter()
        for file, size in zip(files, (450, 190), strict=True):
            os.write(file, b"x" * size)
            os.fdatasync(file)
        found.append(1000 * (time.perf_counter() - began))
    for file in files:
        os.close(file)
    return found


def main() -> None:
    chosen = options(__doc__, n=(2000, "entries"))
    record = Record("log_appends", (__doc__ or "").partition("\n")[0], chosen)
    if record.disk == "tmpfs":
        raise SystemExit("the checkout lies in memory: what is written there is not durable")
    with workplace() as folder:
        took, alone = appends(folder, chosen.n), bare(folder, chosen.n)
    rate = {"n": len(took), "per_second": round(1000 * len(took) / sum(took), 1)}
    record.figure("log appends, durable", "1/s", rate, {"per_second": (">=", MUST)})
    record.figure("one durable append", "ms", spread(took))
    record.figure("the disk alone: two small appends, two fdatasync", "ms", spread(alone))
    record.finish()


if __name__ == "__main__":
    main()
