"""The trainer's channel: bounded lines of JSON, read as claims. docs/formats.md, section 8.

Whatever is malformed, oversized, unknown or out of order raises BadFrame, and the run trips.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from tenth.encoding import canonical, parse
from tenth.errors import TenthError, WrongInput

MAX_LINE = 65_536
MAX_TEXT = 16_384
MAX_POSITION = 4_096
READ_AT_ONCE = 65_536
"""A flood is read in pieces, so that the cord and the meter get their turn."""


class BadFrame(WrongInput):
    """The trainer sent something that no honest trainer sends."""


Check = Callable[[Any], bool]


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e40


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e40 < value < 1e40


def _loss(value: Any) -> bool:
    return value is None or _finite(value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and not any("\ud800" <= c <= "\udfff" for c in value)


def _metrics(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) > 32:
        return False
    return all(len(name) <= 64 and _text(name) and _finite(number) for name, number in value.items())


def _bits(value: Any) -> bool:
    """Pairs of characters and bits, token by token."""
    pairs = value if isinstance(value, list) else [value]
    return all(isinstance(one, list) and len(one) == 2 and _count(one[0]) and _amount(one[1]) for one in pairs)


def _below(value: Any) -> bool:
    """A relative path that stays where it starts."""
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        return False
    path = PurePosixPath(value)
    return not path.is_absolute() and path.parts != () and ".." not in path.parts


def _position(value: Any) -> bool:
    try:
        return isinstance(value, dict) and len(canonical(value)) <= MAX_POSITION
    except TenthError:
        return False


FRAMES: Mapping[str, Mapping[str, Check]] = {
    "hello": {"protocol": lambda value: value == 1, "client": _text},
    "progress": {"step": _count, "tokens": _amount, "flop": _amount, "loss": _loss, "metrics": _metrics},
    "sample": {"step": _count, "prompt": _text, "text": _text, "temperature": _amount, "bits": _bits},
    "saved": {"path": _below},
    "done": {"position": _position},
}
OPTIONAL = {"bits"}
NEXT: Mapping[str, frozenset[str]] = {
    "": frozenset({"hello"}),
    "hello": frozenset({"progress", "sample", "saved"}),
    "progress": frozenset({"progress", "sample", "saved"}),
    "sample": frozenset({"progress", "sample", "saved"}),
    "saved": frozenset({"done"}),
    "done": frozenset(),
}
"""Which frame may follow which."""


class Channel:
    """The supervisor's end of the socket pair."""

    def __init__(self) -> None:
        self.socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self._buffer = b""
        self._last = ""
        self._progress = {"step": 0, "tokens": 0, "flop": 0}
        self.ended = False
        """The trainer has closed its end."""

    def send(self, frame: Mapping[str, Any]) -> None:
        """One line down. The lease is the only one, so it always fits into an empty socket buffer.

        A trainer that has just died hears nothing; its end is seen elsewhere.
        """
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(canonical(dict(frame)) + b"\n")

    def frames(self) -> Iterator[dict[str, Any]]:
        """The frames that are there now, at most one buffer full. Raises BadFrame."""
        try:
            data = self.socket.recv(READ_AT_ONCE)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        self.ended = self.ended or not data
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE:
            raise BadFrame("a frame is refused", f"it is longer than {MAX_LINE} bytes")
        for line in lines:
            yield self._frame(line)

    def _frame(self, line: bytes) -> dict[str, Any]:
        if len(line) > MAX_LINE:
            raise BadFrame("a frame is refused", f"it is longer than {MAX_LINE} bytes")
        try:
            frame = parse(line, "a frame")
        except TenthError as error:
            raise BadFrame("a frame is refused", str(error)) from None
        kind = frame.get("frame") if isinstance(frame, dict) else None
        checks = FRAMES.get(kind) if isinstance(kind, str) else None
        if checks is None or set(frame) - {"frame", *checks} or {*checks} - set(frame) - OPTIONAL:
            raise BadFrame("a frame is refused", f"unknown, or with other fields than it has: {line[:120]!r}")
        for name, check in checks.items():
            if name in frame and not check(frame[name]):
                raise BadFrame("a frame is refused", f"{kind}.{name} is impossible: {repr(frame[name])[:120]}")
        if kind not in NEXT[self._last]:
            raise BadFrame("a frame is refused", f"'{kind}' after '{self._last or 'nothing'}'")
        if kind == "progress":
            self._monotone(frame)
        self._last = str(kind)
        return dict(frame)

    def _monotone(self, frame: Mapping[str, Any]) -> None:
        for name, before in self._progress.items():
            if frame[name] < before:
                raise BadFrame("a frame is refused", f"progress.{name} falls from {before} to {frame[name]}")
        self._progress = {name: frame[name] for name in self._progress}

    def close(self) -> None:
        self.socket.close()
        self.theirs.close()
