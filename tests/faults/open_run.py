"""Open a run in a folder, as ``tenth run`` does: ``python open_run.py FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

for place in ("tests", "tools"):
    sys.path.insert(0, str(Path(__file__).parents[2] / place))

if __name__ == "__main__":
    from core.live import Live

    Live(Path(sys.argv[1])).begin()
