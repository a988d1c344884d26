"""``python -m tenth.cli.judge.minding RUN [--of NAME ...]``: have alarms watched, and miss whoever watches.

A charter that has alarms pull the cord is kept closed: if the watcher fails or is killed while the run is held, the
cord is pulled.
"""

from __future__ import annotations

import subprocess
import sys

from tenth.cli import pull
from tenth.cli.find import is_live


def main(run: str, *series: str) -> int:
    code = subprocess.call([sys.executable, "-m", "tenth.cli", "alarms", run, "--pull", *series])
    if code == 0 or not is_live(run):  # it ends well when the run is closed, or nobody holds it any more
        return 0
    text, _ = pull.stop(run, "alarms")
    print(f"the watcher of alarms ended with status {code}; {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
