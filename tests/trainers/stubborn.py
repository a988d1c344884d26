"""A trainer that ignores every signal it can, with four children of which two are daemons; all write heartbeats.

Environment: BUSY=1 to spin instead of sleeping; FROM, the tenth from which on it has children (before, it just obeys).
"""

import os
import signal
import time
from pathlib import Path

import door


def deaf() -> None:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)


def beat(name: str) -> None:
    path, count = work / f"beat.{name}", 0
    while True:
        count += 1
        path.write_text(str(count))
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            if os.environ.get("BUSY") != "1":
                time.sleep(0.002)


lease = door.hello()
work = Path(lease["work"])
if lease["tenth"] < int(os.environ.get("FROM", "1")):
    door.done(lease)
deaf()
for number in range(4):
    if os.fork() == 0:
        door.channel.close()
        if number % 2:
            os.setsid()
            if os.fork():
                os._exit(0)
        deaf()
        beat(str(number))
door.progress(1)
beat("leader")
