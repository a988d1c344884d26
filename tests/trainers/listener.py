"""A trainer that reports for a while and counts the bytes that come down to it. Environment: SECONDS."""

import os
import time

import door

lease = door.hello()
until, step, heard = time.monotonic() + float(os.environ["SECONDS"]), 0, 0
door.channel.setblocking(False)
while time.monotonic() < until:
    step += 1
    door.progress(step)
    time.sleep(0.05)
    try:
        heard += len(door.channel.recv(4096))
    except BlockingIOError:
        continue
door.channel.setblocking(True)
door.done(lease, heard=str(heard))
