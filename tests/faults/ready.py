"""Load a program, stop, and run it: ``python ready.py -m PACKAGE ARGUMENTS...``.

Whoever traces it (``calls.py``) looks from this stop on, and not at a thousand calls by which modules are found.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

if __name__ == "__main__":
    program = importlib.import_module(f"{sys.argv[2]}.__main__")
    os.kill(os.getpid(), signal.SIGSTOP)
    sys.exit(program.main(sys.argv[3:]))
