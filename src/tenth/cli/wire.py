"""The control socket, seen from a person's shell (docs/formats.md, section 9). Imports next to nothing."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tenth.errors import RunRefused, WrongInput

Message = dict[str, Any]
ANSWER_SECONDS = 30.0


class Gone(RunRefused):
    """Nobody holds the run, or not any more."""


class Wire:
    """One connection to a run's supervisor."""

    def __init__(self, run: str | os.PathLike[str], timeout: float = ANSWER_SECONDS) -> None:
        """Raises RunRefused when no supervisor listens."""
        self.run = os.fspath(run)
        self._rest = b""
        self.ended = False
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            folder = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # Through the descriptor, because a socket's own path may have 107 bytes only.
                self.socket.connect(f"/proc/self/fd/{folder}/control.sock")
            finally:
                os.close(folder)
        except OSError as error:
            self.socket.close()
            found = error.strerror or str(error)
            name = os.path.basename(self.run)
            raise Gone(f"no supervisor holds {name}", found, f"start one: tenth run {self.run}") from None

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, request: Message) -> None:
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def ask(self, request: Message) -> Message:
        """The answer; a refusal is raised as WrongInput, a lost supervisor as RunRefused."""
        try:
            self.send(request)
            answer = self._answer()
        except TimeoutError:
            raise RunRefused("the supervisor does not answer", "it is busy or stuck", "'tenth pull' stops it") from None
        except OSError as error:
            raise Gone("the supervisor is gone", error.strerror or str(error), "'tenth status'") from None
        if not answer.get("ok"):
            error_parts = answer.get("error") or {}
            raise WrongInput(*(str(error_parts.get(part, "")) for part in ("refused", "found", "do")))
        return answer

    def _answer(self) -> Message:
        while not self.ended:
            for message in self.receive():
                if "ok" in message:
                    return message
        raise Gone("the supervisor is gone", "it closed the connection without an answer", "'tenth status'")

    def receive(self) -> Iterator[Message]:
        """The messages that one read brings: waits as long as the socket's timeout; ``ended`` is set at end of file."""
        data = self.socket.recv(262_144)
        if not data:
            self.ended = True
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)

    def close(self) -> None:
        self.socket.close()


@contextmanager
def wire(run: str | os.PathLike[str]) -> Iterator[Wire]:
    one = Wire(run)
    try:
        yield one
    finally:
        one.close()


def ask(run: str | os.PathLike[str], **request: Any) -> Message:
    """Connect, ask, hang up."""
    with wire(run) as one:
        return one.ask(request)
