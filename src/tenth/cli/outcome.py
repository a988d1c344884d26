"""How a command ends: exit codes, errors in three parts, and what ``--json`` prints. Imports next to nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

DONE, ERROR, USAGE, WAITING, HALTED, BROKEN = range(6)
"""Done, error, wrong usage, waiting at a gate, halted, does not verify."""

STANCE_EXIT = {"GATE": WAITING, "HALTED": HALTED}
"""What ``status`` and ``run --exit-at-gate`` return for a stance; every other is DONE."""


def emit(value: object) -> None:
    """One line of JSON on standard output. ASCII, so that no terminal is steered by it."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def say_error(parts: Mapping[str, object], *, as_json: bool) -> None:
    """What was refused, what was found, what to do next."""
    from tenth.sanitise import plain

    if as_json:
        emit({"error": dict(parts)})
        return
    for name, label in (("refused", "refused"), ("found", "found"), ("do", "do next")):
        if parts.get(name):
            print(f"{label + ':':<9}{plain(parts[name])}", file=sys.stderr)
