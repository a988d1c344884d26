"""The control socket: where people's shells reach the supervisor. docs/formats.md, section 9.

Mode 0600: whoever reaches it is the person who runs the supervisor, or root. It carries signed statements, which are
verified elsewhere; the one thing it can do by itself is stop the run.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenth.encoding import parse
from tenth.errors import TenthError, WrongInput

MAX_REQUEST = 1 << 20
MAX_WAITING = 4 << 20
"""Bytes queued for a reader that does not read; then it is cut off."""

Answer = dict[str, Any]
Handler = Callable[["Connection", dict[str, Any]], Answer]


class Connection:
    """One client."""

    def __init__(self, control: Control, sock: socket.socket) -> None:
        self._control, self._socket = control, sock
        self._in, self._out = b"", bytearray()
        self.watching = False
        self.name: str | None = None
        """Who the watcher says they are."""
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.uid: int = struct.unpack("3i", credentials)[1]

    def send(self, message: Answer) -> None:
        self._out += json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        self.flush()

    def flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            if len(self._out) > MAX_WAITING:
                self.close()
        except OSError:
            self.close()
        self._control.interest(self._socket, self, writing=bool(self._out))

    def ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if mask & selectors.EVENT_READ:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._in) > MAX_REQUEST:
            self.close()
            return
        *lines, self._in = (self._in + data).split(b"\n")
        for line in lines:
            self.send(self._control.answer(self, line))

    def close(self) -> None:
        self._control.forget(self, self._socket)


class Control:
    """The listening socket and everyone connected to it."""

    def __init__(self, folder: Path, selector: selectors.BaseSelector, handler: Handler) -> None:
        self._selector, self._handler = selector, handler
        self.connections: set[Connection] = set()
        self._path = folder / "control.sock"
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        before = os.umask(0o177)
        try:
            # Through the descriptor, because a socket's own path may have 107 bytes only.
            self._socket.bind(f"/proc/self/fd/{folder_fd}/control.sock")
        finally:
            os.umask(before)
            os.close(folder_fd)
        self._socket.listen(1024)
        self._socket.setblocking(False)
        selector.register(self._socket, selectors.EVENT_READ, self._accept)

    def _accept(self, _mask: int) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        sock.setblocking(False)
        connection = Connection(self, sock)
        self.connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection.ready)

    def answer(self, connection: Connection, line: bytes) -> Answer:
        """Never raises: a refusal is an answer."""
        try:
            request = parse(line, "the request")
            if not isinstance(request, dict):
                raise WrongInput("the request is refused", "it is not an object")
            return {"ok": True, **self._handler(connection, request)}
        except TenthError as error:
            return {"ok": False, "error": error.parts()}
        except (RecursionError, ValueError) as error:
            return {"ok": False, "error": WrongInput("the request is refused", str(error)[:200]).parts()}

    def interest(self, sock: socket.socket, connection: Connection, *, writing: bool) -> None:
        if connection in self.connections:
            mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self._selector.modify(sock, mask, connection.ready)

    def forget(self, connection: Connection, sock: socket.socket) -> None:
        if connection in self.connections:
            self.connections.discard(connection)
            self._selector.unregister(sock)
            sock.close()

    def tell(self, message: Answer) -> None:
        """To everyone who watches."""
        for connection in [one for one in self.connections if one.watching]:
            connection.send(message)

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close()
        self._selector.unregister(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
