"""``python -m tenth.supervisor RUN_DIR [--exit-at-gate]``: hold one run until it is closed. 'tenth run' starts this."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from tenth.errors import TenthError
from tenth.state import Stance
from tenth.supervisor.loop import Supervisor
from tenth.supervisor.rundir import RunDir

EXIT = {Stance.CLOSED: 0, Stance.GATE: 3, Stance.HALTED: 4}


KEEN = 5
"""By so much (as of nice) the supervisor goes before what it holds, where its user may: a stop waits for nothing."""


def main(arguments: list[str]) -> int:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - KEEN)
    try:
        run = RunDir.find(Path(arguments[0]))
        supervisor = Supervisor(run, exit_at_gate="--exit-at-gate" in arguments[1:])
        for note in supervisor.log.mended:
            print(f"the log was mended: {note}", file=sys.stderr)
        return EXIT.get(supervisor.serve(), 0)
    except TenthError as error:
        print("\n".join(part for part in error.parts().values() if part), file=sys.stderr)
        return 5 if error.__class__.__name__ == "BrokenPromise" else 1
    except OSError as error:
        print(
            f"the run directory cannot be written: {error}\nfree some space, then start the run again", file=sys.stderr
        )
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
