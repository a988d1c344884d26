"""A trainer that forks faster than anybody counts: chains of processes, deaf to every signal, each in a new session.

Every process of a chain writes the time, forks the next, and ends. ``work/clock`` is as in spinning.py: one word for
the leader, who spins, and four that the chains share. Bounded by its own clock.
"""

import json
import mmap
import os
import signal
import socket
import time
from pathlib import Path

PROCESSES, CHAINS, SECONDS = 5, 12, 600.0

channel = socket.socket(fileno=int(os.environ["TENTH_FD"]))
channel.sendall(b'{"frame":"hello","protocol":1,"client":"forking"}\n')
lease = json.loads(channel.makefile("rb").readline())
path = Path(lease["work"], "clock")
path.write_bytes(bytes(8 * PROCESSES))
with path.open("r+b") as file:
    clock = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
for one in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(one, signal.SIG_IGN)
end = time.monotonic() + SECONDS
now = time.monotonic_ns


def chain(slot: int) -> None:
    channel.close()
    while time.monotonic() < end:
        clock[slot] = now()
        if os.fork():
            break
        os.setsid()
    os._exit(0)


for number in range(CHAINS):
    if os.fork() == 0:
        chain(1 + number % (PROCESSES - 1))
channel.sendall(b'{"frame":"progress","step":1,"tokens":1,"flop":1,"loss":1,"metrics":{}}\n')
while time.monotonic() < end:
    clock[0] = now()
