"""The command line. ``tenth pull`` is looked for first, and takes a path that imports next to nothing."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The console entry: returns the exit code."""
    if sys.argv[1:2] == ["pull"] and "_TENTH_COMPLETE" not in os.environ:
        from tenth.cli import pull

        return pull.main(sys.argv[2:])
    from tenth.cli import verbs

    return verbs.main(sys.argv[1:])
