"""`tenth-evidence`: one command of evidence, as the supervisor starts it at a gate."""

from __future__ import annotations

import argparse
import sys

from tenth.trainer.errors import TrainerError

from .sealed import EvidenceError, read_sealed

COMMANDS = ("bpb", "completions", "diff")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tenth-evidence", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    options = parser.parse_args(arguments)
    try:
        sealed = read_sealed()
        if options.command == "bpb":
            from .bpb import main as command
        elif options.command == "diff":
            from .diff import main as command
        else:
            from .completions import main as command
        command(sealed)
    except (EvidenceError, TrainerError) as error:
        print(f"tenth-evidence: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
