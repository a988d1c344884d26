"""A trainer that was granted accelerators. Environment: OPEN, the node that it opens, or nothing; STEPS; PAUSE."""

import os
import time
from pathlib import Path

import door

lease = door.hello()
folder = Path(os.environ["NODES"])
seen = sorted(path.name for path in folder.glob("*")) if folder.exists() else []
door.say(frame="sample", step=0, prompt="nodes", text=" ".join(seen), temperature=1)
held = os.open(folder / os.environ["OPEN"], os.O_RDONLY) if os.environ.get("OPEN") else None
for step in range(int(os.environ.get("STEPS", "10"))):
    time.sleep(float(os.environ.get("PAUSE", "0.01")))
    door.progress(step + 1)
door.done(lease)
