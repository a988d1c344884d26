"""A trainer that talks: PER_SECOND samples a second, and four processes beside it, one of them busy.

``work/clock`` holds one 64-bit word a process: nanoseconds of the monotonic clock, which all namespaces share.
"""

import json
import mmap
import os
import socket
import time
from pathlib import Path

PROCESSES, BURSTS = 5, 50
per_second, length = int(os.environ["PER_SECOND"]), int(os.environ.get("LENGTH", "240"))

channel = socket.socket(fileno=int(os.environ["TENTH_FD"]))
channel.sendall(b'{"frame":"hello","protocol":1,"client":"chatter"}\n')
lease = json.loads(channel.makefile("rb").readline())
path = Path(lease["work"], "clock")
path.write_bytes(bytes(8 * PROCESSES))
with path.open("r+b") as file:
    clock = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

for number in range(1, PROCESSES):
    if os.fork() == 0:
        channel.close()
        while True:
            clock[number] = time.monotonic_ns()
            if number > 1:
                time.sleep(0.0005)

words = "def value(self): return self.total / max(1, self.count)  # "
text = (words * (length // len(words) + 1))[:length]
step, due = 0, time.monotonic()
while True:
    burst = []
    for _ in range(max(1, per_second // BURSTS)):
        step += 1
        sample = {"frame": "sample", "step": step, "prompt": "def ", "text": f"{text} {step}", "temperature": 1}
        burst.append(json.dumps(sample))
    channel.sendall(("\n".join(burst) + "\n").encode())
    progress = {"step": step, "tokens": step, "flop": step, "loss": 1 / step, "metrics": {}}
    channel.sendall(json.dumps({"frame": "progress", **progress}).encode() + b"\n")
    due += len(burst) / per_second
    while (left := due - time.monotonic()) > 0:
        clock[0] = time.monotonic_ns()
        time.sleep(min(left, 0.0005))
    clock[0] = time.monotonic_ns()
