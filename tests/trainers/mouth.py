"""A trainer that says what it is told to say. Environment: TEXTS, a JSON list."""

import json
import os
import sys

import door

lease = door.hello()
for text in json.loads(os.environ["TEXTS"]):
    bits = [[1, place % 13] for place in range(len(text) if len(text) < 3_000 else 0)]
    door.say(frame="sample", step=1, prompt=text[:100], text=text, temperature=1, bits=bits)
door.progress(1, metrics={"\x1b[31mloss": 1.0, "\u202e": 2.0})
print("\x1b]0;title\x07 in trainer.log", file=sys.stderr)
door.done(lease)
