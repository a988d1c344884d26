#!/usr/bin/env python3
"""How large is the trusted core? Counts its lines of code and fails above the limit; prints all lines, too.

A line of code is one that holds code: not a blank line, not a comment, not a docstring (docs/decisions/0009). Whoever
says "stop" should be able to read the core in an afternoon; `src/tenth/__init__.py` counts, since it runs whenever the
core does. The walls, around processes and around sealed weights, know nothing of the law: they are counted by
themselves (docs/decisions/0010).
A part that is listed here and missing, or present and not listed, is an error too: otherwise a renamed file would leave
the count unseen.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "tenth"
LIMIT, LIMIT_OF_WALLS = 3000, 700
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
"""Tokens that are no code."""
CORE = ("__init__", "errors", "encoding", "keys", "charter", "log", "state", "gate", "verify", "supervisor")
WALLS = ("quarantine", "cipher")
OUTSIDE = (
    *("keyfile", "peak", "probes", "opening", "sanitise", "sinks", "client", "trainer", "evidence", "cli", "web"),
    *("drills", "witness", "jail", "environments", "alarms", "feedback", "forecasts"),
    "py.typed",
)


def files_of(part: str) -> list[Path]:
    """The Python files of one part: ``part.py``, or everything below ``part/``."""
    file, folder = SOURCE / f"{part}.py", SOURCE / part
    return [file] if file.is_file() else sorted(folder.rglob("*.py"))


def lines_of(path: Path) -> tuple[int, int, int]:
    """``(of code, not blank, all)``."""
    source = path.read_text(encoding="utf-8")
    every = source.splitlines()
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SILENT:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings(ast.parse(source))), sum(1 for line in every if line.strip()), len(every)


def docstrings(tree: ast.Module) -> set[int]:
    """The lines of texts that stand alone: docstrings of modules, classes and functions, and those under attributes."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    texts = [
        one for body in bodies for one in body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
    ]
    return {line for one in texts for line in range(one.lineno, (one.end_lineno or one.lineno) + 1)}


def misplaced() -> list[str]:
    """Parts that are listed and missing, or present and not listed."""
    present = {entry.stem if entry.suffix == ".py" else entry.name for entry in SOURCE.iterdir()}
    present.discard("__pycache__")
    missing = [f"{part}: listed as core, but missing" for part in (*CORE, *WALLS) if not files_of(part)]
    unlisted = [
        f"{part}: neither core nor outside it: list it in tools/size.py" for part in present - {*CORE, *WALLS, *OUTSIDE}
    ]
    return sorted(missing + unlisted)


def count(name: str, parts: tuple[str, ...], limit: int) -> list[str]:
    """Print a table of ``parts``; what there is to refuse."""
    total = [0, 0, 0]
    for part in parts:
        counts = [lines_of(path) for path in files_of(part)]
        sums = [sum(column) for column in zip(*counts, strict=True)]
        total = [before + more for before, more in zip(total, sums, strict=True)]
        print(f"  {part:<12}{sums[0]:>6}   in {len(counts)} file{'s' if len(counts) != 1 else ''}")
    code, filled, every = total
    rest = f"{filled} with comments and docstrings, {every} in all"
    print(f"  {name:<12}{code:>6}   lines of code, of at most {limit} ({rest})")
    return [f"{name} is {code - limit} lines too long"] if code > limit else []


def main() -> int:
    problems = [*misplaced(), *count("core", CORE, LIMIT), *count("walls", WALLS, LIMIT_OF_WALLS)]
    for problem in problems:
        print(f"  refused: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
