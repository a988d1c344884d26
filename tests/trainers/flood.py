"""A trainer that reports as fast as it can. Environment: WHAT, progress or sample."""

import itertools
import json
import os

import door

lease = door.hello()
sample = {"frame": "sample", "step": 1, "prompt": "", "text": "x", "temperature": 0}
for step in itertools.count(1):
    if os.environ["WHAT"] == "sample":
        door.channel.sendall((json.dumps(sample) + "\n").encode() * 50)
    else:
        door.progress(step)
