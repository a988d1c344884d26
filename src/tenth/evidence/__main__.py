"""`tenth-evidence`: one command of evidence, as the supervisor starts it at a gate."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tenth.jail.wire import JailError
from tenth.trainer.errors import TrainerError

from .sealed import EvidenceError, read_sealed

COMMANDS = ("bpb", "capabilities", "changes", "completions", "diff")
"""Each is a module beside this one."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tenth-evidence", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        commands.add_parser(name)
    tasks = commands.add_parser("lm-eval", help="tasks of lm-evaluation-harness")
    tasks.add_argument("--tasks", type=Path, required=True, help="the folder of their YAML files")
    drill = commands.add_parser("drill", help="at some gates, the same evidence of a planted shadow")
    drill.add_argument("--rate", type=float, required=True, help="of the gates that are drilled, 0 to 1")
    options = parser.parse_args(arguments)
    try:
        sealed = read_sealed()
        if options.command == "lm-eval":
            from .harness import main as command

            command(sealed, options.tasks)
        elif options.command == "drill":
            from .drill import main as drilled

            drilled(sealed, options.rate)
        else:
            importlib.import_module(f"tenth.evidence.{options.command}").main(sealed)
    except (EvidenceError, TrainerError, JailError) as error:
        print(f"tenth-evidence: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
