#!/usr/bin/env python3
"""How large is the trusted core? Counts its lines, every one that is not blank, and fails above the limit.

Whoever says "stop" should be able to read the core in an afternoon; `src/tenth/__init__.py` counts, since it runs
whenever the core does. A part that is listed here and missing, or present and not listed, is an error too: otherwise
a renamed file would leave the count unseen.
"""

from __future__ import annotations

import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "tenth"
LIMIT = 3000
CORE = ("__init__", "errors", "encoding", "keys", "charter", "log", "state", "gate", "verify", "supervisor")
OUTSIDE = ("client", "trainer", "evidence", "cli", "py.typed")


def files_of(part: str) -> list[Path]:
    """The Python files of one part: ``part.py``, or everything below ``part/``."""
    file, folder = SOURCE / f"{part}.py", SOURCE / part
    return [file] if file.is_file() else sorted(folder.rglob("*.py"))


def lines_of(path: Path) -> tuple[int, int]:
    """``(not blank, all)``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(1 for line in lines if line.strip()), len(lines)


def misplaced() -> list[str]:
    """Parts that are listed and missing, or present and not listed."""
    present = {entry.stem if entry.suffix == ".py" else entry.name for entry in SOURCE.iterdir()}
    present.discard("__pycache__")
    missing = [f"{part}: listed as core, but missing" for part in CORE if not files_of(part)]
    unlisted = [
        f"{part}: neither core nor outside it: list it in tools/size.py" for part in present - {*CORE, *OUTSIDE}
    ]
    return sorted(missing + unlisted)


def main() -> int:
    total = raw = 0
    for part in CORE:
        counts = [lines_of(path) for path in files_of(part)]
        lines, every = sum(count[0] for count in counts), sum(count[1] for count in counts)
        total, raw = total + lines, raw + every
        print(f"  {part:<12}{lines:>6}   in {len(counts)} file{'s' if len(counts) != 1 else ''}")
    print(f"  {'core':<12}{total:>6}   of at most {LIMIT} lines that are not blank ({raw} with blank ones)")
    problems = misplaced()
    if total > LIMIT:
        problems.append(f"the trusted core is {total - LIMIT} lines too long")
    for problem in problems:
        print(f"  refused: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
