"""How many attempts to escape does the quarantine contain: in each back-end, as root and as an ordinary user?

``tenth probe`` in up to four settings; run as root for all of them. report.py writes the matrix in docs/threat-model.md
from its record.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import ROOT, Record, options

sys.path.append(str(ROOT / "tools"))
from nobody import become, copy_python
from tenth.probes.outside import LEFT_OPEN

WORDS = ["-c", "from tenth.cli import main; main()", "probe", "--json"]
"""As ``tenth probe --json``."""
BACK_ENDS = {"A (bubblewrap)": "full", "B (Landlock)": "partial"}
NOWHERE = "/nonexistent"
"""A PATH without bubblewrap."""


def ask(prefix: list[str], python: str, level: str, environment: dict[str, str]) -> dict[str, Any] | None:
    """What ``tenth probe`` says; None where this level is not to be had."""
    line = [*prefix, python, *WORDS]
    done = subprocess.run(line, cwd="/", capture_output=True, text=True, env=environment, check=False)
    try:
        said = dict(json.loads(done.stdout))
    except ValueError:
        raise SystemExit(f"tenth probe ended with {done.returncode}: {done.stderr[-500:]}") from None
    return said if said["level"] in (level, "none") else None


def main() -> None:
    record = Record("escapes", (__doc__ or "").partition("\n")[0], options(__doc__))
    with tempfile.TemporaryDirectory(prefix="tenth-python-") as folder:
        Path(folder).chmod(0o755)
        copy = str(copy_python(Path(folder))) if os.geteuid() == 0 and shutil.which("setpriv") else None
        for name, level in BACK_ENDS.items():
            path = os.environ["PATH"] if level == "full" else NOWHERE
            ways: dict[str, tuple[list[str], str]] = {
                "root" if os.geteuid() == 0 else "an ordinary user": ([], sys.executable)
            }
            if copy:
                ways["an ordinary user"] = (become(Path(copy), path), copy)
            for who, (prefix, python) in ways.items():
                said = ask(prefix, python, level, {**os.environ, "PATH": path} if not prefix else dict(os.environ))
                if said is None:
                    continue
                out = [one["name"] for one in said["probes"] if not one["contained"]]
                known = len([one for one in out if one in LEFT_OPEN[level]])
                count = {"contained": len(said["probes"]) - len(out), "attempts": len(said["probes"]), "known": known}
                must = {"contained": (">=", float(len(said["probes"]) - known))}
                record.figure(f"attempts to escape that are contained, back-end {name}, as {who}", "", count, must)
                record.detail(**{f"{name}, {who}": said["probes"]})
    record.finish()


if __name__ == "__main__":
    main()
