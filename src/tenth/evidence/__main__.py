"""`tenth-evidence`: one command of evidence, as the supervisor starts it at a gate."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from pathlib import Path

from tenth.jail.wire import JailError
from tenth.trainer.errors import TrainerError

COMMANDS = ("bpb", "changes", "completions", "diff")
"""Those without options."""
MODULES = {
    "capabilities": "questions.capabilities",
    "diff": "difference.diff",
    "drill": "drilling.drill",
    "lm-eval": "questions.harness",
}
"""Where a command's module does not lie beside this one under the command's name."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tenth-evidence", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        commands.add_parser(name)
    questions = commands.add_parser("capabilities", help="fresh questions, asked of two checkpoints")
    questions.add_argument("--items", type=int, default=300, help="questions that are asked, of twelve families")
    tasks = commands.add_parser("lm-eval", help="tasks of lm-evaluation-harness")
    tasks.add_argument("--tasks", type=Path, required=True, help="the folder of their YAML files")
    drill = commands.add_parser("drill", help="at some gates, the same evidence of a planted shadow")
    drill.add_argument("--rate", type=float, required=True, help="of the gates that are drilled, 0 to 1")
    stream = commands.add_parser("stream", help="samples drawn at random for people to judge, and what they bound")
    stream.add_argument("--at-most", type=float, default=0.01, help="the share of bad samples that is allowed")
    stream.add_argument("--level", type=float, default=0.01, help="the chance of ever raising a false alarm")
    stream.add_argument("--draws", type=int, default=20, help="samples drawn at each gate")
    stream.add_argument("--canaries", type=Path, metavar="FILE", help="lines to be planted among the draws")
    stream.add_argument("--canary-rate", type=float, default=0.1, help="how many are planted for each draw")
    foretell = commands.add_parser("forecast", help="how this gate was foretold, and what is foretold of the next")
    foretell.add_argument("--of", action="append", default=[], metavar="PANEL.METRIC", help="repeatable")
    foretell.add_argument("--level", type=float, default=0.01, help="further out than this is a surprise")
    play = commands.add_parser("selfplay", help="puzzles never trained on, in a phase of self-play")
    play.add_argument("--puzzles", type=int, default=200, help="of each depth")
    # Before torch comes: threads that wait without spinning leave the processors to whoever else works.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from .sealed import EvidenceError, read_sealed

    given = vars(parser.parse_args(arguments))
    command = given.pop("command")
    gc.disable()  # looking for garbage among what is imported, all of which stays, is a tenth of a command's start
    module = importlib.import_module(f"tenth.evidence.{MODULES.get(command, command)}")
    gc.freeze()
    gc.enable()
    try:
        module.main(read_sealed(), **given)
    except (EvidenceError, TrainerError, JailError) as error:
        print(f"tenth-evidence: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
