"""The real supervisor on a machine that lacks something: ``held_otherwise.py '{"bwrap": false}' RUN_DIR``."""

from __future__ import annotations

import json
import sys

from tenth.quarantine import leash, sandbox
from tenth.supervisor import __main__ as program


def main() -> int:
    there = json.loads(sys.argv[1])
    if not there.get("cgroup", True):
        leash.cgroup_parent = lambda: None  # type: ignore[assignment]
    if not there.get("bwrap", True):
        sandbox.bubblewrap = lambda: None  # type: ignore[assignment]
    return program.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
