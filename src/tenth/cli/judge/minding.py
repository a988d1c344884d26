"""``python -m tenth.cli.judge.minding RUN [--of NAME ...]``: have alarms watched, and miss whoever watches.

A charter that has alarms pull the cord is kept closed: if the watcher ends while the run is held, whatever ended it,
the cord is pulled.
"""

from __future__ import annotations

import subprocess
import sys

from tenth.cli import pull
from tenth.cli.find import is_live
from tenth.errors import RunRefused


def main(run: str, *series: str) -> int:
    code = subprocess.call([sys.executable, "-m", "tenth.cli", "alarms", run, "--pull", *series])
    if not is_live(run):
        return 0
    try:
        text, _ = pull.stop(run, "alarms")
    except RunRefused:  # it ended in this moment
        return 0
    print(f"the watcher of alarms ended with status {code}; {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
