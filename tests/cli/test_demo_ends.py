"""A demo whose window is closed leaves no supervisor behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest


@pytest.mark.parametrize(("number", "serve"), [(signal.SIGTERM, False), (signal.SIGHUP, True)], ids=["term", "hangup"])
def test_a_closed_window_ends_the_supervisor_too(number: signal.Signals, serve: bool, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tenth.cli", "demo", "--folder", str(tmp_path / "demo"), *["--serve"] * serve]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        link = next(line.strip() for line in demo.stdout if line.startswith("  http")) if serve else ""
        if serve:
            with urllib.request.urlopen(link) as page:
                assert b"Sign in" in page.read()
        deadline = time.monotonic() + 60
        while not any(b"leased" in log.read_bytes() for log in tmp_path.glob("demo/runs/*/log/entries.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (lock,) = (tmp_path / "demo").glob("runs/*/supervisor.lock")
        supervisor = int(lock.read_text())
        demo.send_signal(number)
        assert demo.wait(60) == 128 + number
    assert not Path(f"/proc/{supervisor}").exists()
    if serve:
        with pytest.raises(URLError):
            urllib.request.urlopen(link)
