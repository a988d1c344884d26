"""Run inside the sandbox: every attempt in turn, each in a process of its own.

python -I -S __main__.py FACTS     # prints {"name", "about", "escaped", "what"}, a line each
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenth.probes.attempts import Attempt

SECONDS = 3
"""An attempt that hangs longer than this got nowhere."""


def run(attempt: Attempt, facts: dict[str, Any]) -> dict[str, Any]:
    """One attempt in a process of its own."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.close(reading)
        signal.alarm(SECONDS)
        try:
            what = attempt({**facts, "given": [*facts["given"], writing]})
            answer = {"escaped": True, "what": repr(what)[:200]}
        except OSError as error:
            answer = {"escaped": False, "what": error.strerror or str(error)}
        except Exception as error:  # noqa: BLE001 - an attempt that breaks got nowhere
            answer = {"escaped": False, "what": repr(error)[:200]}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if said:
        return dict(json.loads(said))
    how = "killed by the filter (SIGSYS)" if status == -signal.SIGSYS else f"ended with status {status}"
    return {"escaped": False, "what": how}


def main() -> None:
    sys.path.append(str(Path(__file__).parents[3]))  # isolated, Python does not know where this package lies
    from tenth.probes.attempts import ATTEMPTS

    facts = json.loads(sys.argv[1])
    for name, (about, attempt) in ATTEMPTS.items():
        print(json.dumps({"name": name, "about": about, **run(attempt, facts)}), flush=True)


if __name__ == "__main__":
    main()
