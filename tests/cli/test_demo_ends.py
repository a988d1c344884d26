"""A demo whose window is closed leaves no supervisor behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["term", "hangup"])
def test_a_closed_window_ends_the_supervisor_too(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tenth.cli", "demo", "--folder", str(tmp_path / "demo")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        deadline = time.monotonic() + 60
        while not any(b"leased" in log.read_bytes() for log in tmp_path.glob("demo/runs/*/log/entries.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (lock,) = (tmp_path / "demo").glob("runs/*/supervisor.lock")
        supervisor = int(lock.read_text())
        demo.send_signal(number)
        assert demo.wait(60) == 128 + number
    assert not Path(f"/proc/{supervisor}").exists()
