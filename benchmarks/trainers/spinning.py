"""A trainer of five busy processes, two of them daemons, deaf to every signal: each writes the time, all the time.

``work/clock`` holds one 64-bit word a process: nanoseconds of the monotonic clock, which all namespaces share.
"""

import json
import mmap
import os
import signal
import socket
import time
from pathlib import Path

PROCESSES = 5

channel = socket.socket(fileno=int(os.environ["TENTH_FD"]))
channel.sendall(b'{"frame":"hello","protocol":1,"client":"spinning"}\n')
lease = json.loads(channel.makefile("rb").readline())
path = Path(lease["work"], "clock")
path.write_bytes(bytes(8 * PROCESSES))
with path.open("r+b") as file:
    clock = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


def spin(number: int) -> None:
    for one in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(one, signal.SIG_IGN)
    now = time.monotonic_ns
    while True:
        clock[number] = now()


for number in range(1, PROCESSES):
    if os.fork() == 0:
        channel.close()
        if number % 2:
            os.setsid()
            if os.fork():
                os._exit(0)
        spin(number)
channel.sendall(b'{"frame":"progress","step":1,"tokens":1,"flop":1,"loss":1,"metrics":{}}\n')
spin(0)
