"""The built-in trainer, unchanged, but that the time of every step's end is written to ``work/steps``."""

import os
import struct
import sys
import time
from typing import Any

from tenth.client.run import Run

file, report = -1, Run.report


def timed(run: Run, *words: Any, **metrics: Any) -> None:
    global file  # noqa: PLW0603 (the one thing that lives)
    if file < 0:
        file = os.open(run.work / "steps", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    report(run, *words, **metrics)
    os.write(file, struct.pack("<q", time.monotonic_ns()))


Run.report = timed  # type: ignore[method-assign,assignment]
if __name__ == "__main__":
    from tenth.trainer.__main__ import main

    sys.exit(main(["pretrain", sys.argv[1]]))
