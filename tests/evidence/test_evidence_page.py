"""The programs in docs/evidence.md do what the page says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evidence.md"
SOURCE = PAGE.parents[1] / "src"


def programs() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def said(program: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", program]
    known = os.environ | {"PYTHONPATH": str(SOURCE)} | environment
    return subprocess.run(command, env=known, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_alarms_speak_of_a_value_that_is_no_number() -> None:
    assert said(programs()[0], {}).startswith("3 spike nominal")


def test_a_command_of_twenty_lines_writes_a_summary(tmp_path: Path) -> None:
    program = programs()[1]
    assert len(program.splitlines()) <= 20
    checkpoint, out = tmp_path / "03", tmp_path / "out"
    for folder in (checkpoint, out):
        folder.mkdir()
    (checkpoint / "model").write_bytes(b"12345")
    for path, files in ((None, None), (str(checkpoint), 5)):
        (tmp_path / "sealed.json").write_text(json.dumps({"checkpoint": path, "gate": 3}))
        said(program, {"TENTH_SEALED": str(tmp_path / "sealed.json"), "TENTH_OUT": str(out)})
        assert json.loads((out / "summary.json").read_text())["metrics"].get("bytes") == files
