"""Computing that keeps its own account: every process adds what it used to a file that somebody else can read later.

One 8-byte number of nanoseconds for each processor second that was burnt, whoever burnt it and however it died.
"""

import mmap
import os
import struct
import time
from pathlib import Path

import door

SLOTS = 4096
MOST_SECONDS = 10.0
"""However little holds it, no program computes for longer."""
BORN = time.monotonic()


class Tally:
    """The file ``tally`` in the work folder; made before the first fork."""

    def __init__(self, work: str) -> None:
        path = Path(work, "tally")
        path.write_bytes(bytes(8 * SLOTS))
        with path.open("r+b") as file:
            self._words = mmap.mmap(file.fileno(), 0)
        self._owner, self._said = os.getpid(), 0.0
        self._owner, self._said = os.getpid(), 0.0

    def burn(self, seconds: float, slot: int, speak: bool = True) -> None:
        """Compute for so many processor seconds of this process, and say so while doing it.

        The owner of the tally reports progress meanwhile.
        """
        place, begun = 8 * (slot % SLOTS), time.process_time_ns()
        before = struct.unpack_from("Q", self._words, place)[0]
        while (used := time.process_time_ns() - begun) < seconds * 1e9 and alive():
            struct.pack_into("Q", self._words, place, before + used)
            if speak and os.getpid() == self._owner and time.monotonic() > self._said + 0.1:
                self._said = time.monotonic()
                door.progress(1)


def alive() -> bool:
    """Is there time left?"""
    return time.monotonic() < BORN + MOST_SECONDS
