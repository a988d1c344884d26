"""A trainer that has programs run in the jail beside it: one at each step, and its checkpoint is what they answered.

Environment: STEPS (per epoch), SPIN (processor seconds that each program takes), LINGER (seconds that it
goes on after it has closed the jail).
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

from tenth.jail.wire import Jail, Limits, Program

steps, spin = int(os.environ.get("STEPS", "100")), float(os.environ.get("SPIN", "0"))
channel = socket.socket(fileno=int(os.environ["TENTH_FD"]))
lines = channel.makefile("r")
SOURCE = f"""
import random
def answer(n):
    total = 0
    for _ in range(int({spin} * 4e7)):
        total += 1
    return n * n
"""


def say(**frame: object) -> None:
    channel.sendall(json.dumps(frame).encode() + b"\n")


say(frame="hello", protocol=1, client="jailed")
lease = json.loads(lines.readline())
state = []
first = -(-steps * (lease["tenth"] - 1) // lease["of"])
last = -(-steps * lease["tenth"] // lease["of"])
with Jail.attached() as jail:
    for step in range(first, last):
        outcome = jail.run(Program(SOURCE, "answer", [[step]], Limits(cpu_seconds=20, seconds=60)))
        state.append([outcome.verdict, [answer.text for answer in outcome.answers]])
        say(frame="progress", step=step + 1, tokens=step + 1 - first, flop=0, loss=None, metrics={})
deadline = time.monotonic() + float(os.environ.get("LINGER", "0"))
while time.monotonic() < deadline:
    say(frame="progress", step=last, tokens=last - first, flop=0, loss=None, metrics={})
    time.sleep(0.2)
target = Path(lease["work"]) / "checkpoint"
target.mkdir(exist_ok=True)
(target / "state").write_text(json.dumps(state))
say(frame="saved", path="checkpoint")
say(frame="done", position={"step": last})
sys.exit(0)
