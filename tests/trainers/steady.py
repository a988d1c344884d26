"""A trainer in a few lines of the standard library: it counts, and its checkpoint is the hash of all its steps.

Environment: STEPS (per epoch), PAUSE (seconds per step), CHILDREN (processes that spin or sleep beside it).
"""

import hashlib
import json
import os
import socket
import sys
import time
from pathlib import Path

steps, pause = int(os.environ.get("STEPS", "100")), float(os.environ.get("PAUSE", "0.002"))
channel = socket.socket(fileno=int(os.environ["TENTH_FD"]))
lines = channel.makefile("r")


def say(**frame: object) -> None:
    channel.sendall(json.dumps(frame).encode() + b"\n")


def child(daemon: bool) -> None:
    if os.fork():
        return
    if daemon:
        os.setsid()
        if os.fork():
            os._exit(0)
    channel.close()
    while True:
        time.sleep(0.001)


say(frame="hello", protocol=1, client="steady")
lease = json.loads(lines.readline())
work = Path(lease["work"])
state = Path(lease["resume"], "state").read_text() if lease["resume"] else "start"
for number in range(int(os.environ.get("CHILDREN", "0"))):
    child(daemon=number % 2 == 1)
first = -(-steps * (lease["tenth"] - 1) // lease["of"])
last = -(-steps * lease["tenth"] // lease["of"])
for step in range(first, last):
    state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
    time.sleep(pause)
    say(
        frame="progress",
        step=step + 1,
        tokens=step + 1 - first,
        flop=(step + 1 - first) * 1e6,
        loss=1 / (step + 1),
        metrics={},
    )
    if step % 5 == 0:
        say(frame="sample", step=step, prompt="def ", text=f"f{step}(): \x1b[31mpass", temperature=0.8)
target = work / "checkpoint"
target.mkdir(exist_ok=True)
(target / "state").write_text(state)
say(frame="saved", path="checkpoint")
say(frame="done", position={"step": last})
sys.exit(0)
