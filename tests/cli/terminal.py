"""A pseudo-terminal for tests: start a command in it, type, and read what stands on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path


class Terminal:
    """One command in a terminal of ``width`` x ``height``."""

    def __init__(
        self, command: Sequence[str], folder: Path, env: dict[str, str], width: int = 120, height: int = 40
    ) -> None:
        self._side, other = pty.openpty()
        self.resize(width, height)
        self._process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=other, stdout=other, stderr=other, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (one thread)
        )  # fmt: skip
        os.close(other)
        self.seen = ""
        self._new = 0

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: str) -> None:
        self._new = len(self.seen)
        os.write(self._side, keys.encode())

    def read(self, seconds: float = 0.05) -> None:
        if select.select([self._side], [], [], seconds)[0]:
            try:
                self.seen += os.read(self._side, 65_536).decode(errors="replace")
            except OSError:  # its other side is closed
                time.sleep(seconds)

    def until(self, wanted: str, seconds: float = 20) -> str:
        """Read until ``wanted`` (a regular expression) stands in what came since the last key; returns it."""
        deadline = time.monotonic() + seconds
        while not re.search(wanted, text := plain_text(self.seen[self._new :])):
            assert time.monotonic() < deadline, f"no {wanted!r} in:\n{text[-4000:]}"
            self.read()
        return text

    def wait(self, seconds: float = 30) -> int:
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            assert time.monotonic() < deadline, plain_text(self.seen[-4000:])
            self.read()
        for _ in range(10):
            self.read(0.01)
        return self._process.returncode

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._side)


def plain_text(raw: str) -> str:
    """Without the terminal's own sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-B0-9]|\r", "", raw)
