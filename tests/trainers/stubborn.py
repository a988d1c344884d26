"""A trainer that ignores every signal it can, with four children of which two are daemons; all write heartbeats.

Environment: BUSY=1 to spin instead of sleeping; EAGER=1 to begin without having been given a lease.
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


if os.environ.get("EAGER") == "1":
    work = Path(os.environ["HOME"])
else:
    work = Path(door.hello()["work"])
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
if os.environ.get("EAGER") != "1":
    door.progress(1)
beat("leader")
