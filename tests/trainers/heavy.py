"""A trainer whose checkpoint takes a while to seal, and that counts in ``work/count`` how often it ran.

Environment: MEGABYTES.
"""

import os
from pathlib import Path

import door

lease = door.hello()
count = Path(lease["work"], "count")
count.write_text(str(int(count.read_text()) + 1) if count.exists() else "1")
folder = door.checkpoint(lease, state=f"tenth {lease['gate']}")
if lease["gate"] == 1:
    with (folder / "weights").open("wb") as file:
        file.truncate(int(os.environ["MEGABYTES"]) << 20)
door.done(lease)
