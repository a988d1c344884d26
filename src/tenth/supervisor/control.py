"""The control socket: where people's shells reach the supervisor. docs/formats.md, section 9.

Mode 0600: whoever reaches it is the person who runs the supervisor, or root. It carries signed statements, which are
verified elsewhere; the one thing it can do by itself is stop the run. A thread of its own listens and touches no file:
a pull stops the trainer at once, whatever disk the supervisor waits for. Everything else is done by the one loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tenth.encoding import parse
from tenth.errors import TenthError, WrongInput

MAX_REQUEST = 1 << 20
MAX_WAITING = 4 << 20
"""Bytes queued for a reader that does not read; then it is cut off."""
MAX_ASKED = 1_000
"""Requests that wait for an answer; who asks more at once is cut off."""

Answer = dict[str, Any]


class Stop(NamedTuple):
    """A pull as the listening thread carried it out; seconds of ``time.perf_counter``."""

    heard: float
    whom: object
    """What stands still now; None if there was nothing to stop."""
    done: float


Handler = Callable[["Connection", dict[str, Any], Stop | None], Answer]


class Connection:
    """One client."""

    def __init__(self, control: Control, sock: socket.socket) -> None:
        self._control, self.socket = control, sock
        self._in, self._out = b"", bytearray()
        self.asked = self.answered = 0
        """Each is counted by one thread alone."""
        self.watching = self.waits = self.over = False
        self.name: str | None = None
        """Who the watcher says they are."""
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.uid: int = struct.unpack("3i", credentials)[1]

    def lines(self) -> list[bytes] | None:
        """What came since the last look; None at the end. For the listening thread."""
        data = b""
        with contextlib.suppress(OSError):
            data = self.socket.recv(8_192)  # little: a flood is cut off after one piece
        if not data or len(self._in) > MAX_REQUEST:
            return None
        *lines, self._in = (self._in + data).split(b"\n")
        self.asked += len(lines)
        return lines

    def send(self, message: Answer) -> None:
        self._out += json.dumps(message, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
        self.flush()

    def flush(self, _mask: int = 0) -> None:
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except OSError as error:
            if not isinstance(error, BlockingIOError) or len(self._out) > MAX_WAITING:
                self.cut()
        self._control.interest(self, writing=bool(self._out))

    def cut(self) -> None:
        """The listening thread hears that it has ended; what else it asked is not answered."""
        self.over = True
        self._out.clear()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Control:
    """The listening socket and everyone connected to it."""

    def __init__(
        self, folder: Path, selector: selectors.BaseSelector, handler: Handler, stop: Callable[[], object]
    ) -> None:
        """``handler`` answers in the loop of ``selector``; ``stop`` is called by the thread."""
        self._selector, self._handler, self._stop = selector, handler, stop
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
        self._heard: deque[tuple[Connection, bytes | None, Stop | None]] = deque()
        """Requests in their order, None where a connection has ended."""
        self._bell, self._rung = socket.socketpair()
        for one in (self._socket, self._bell, self._rung):
            one.setblocking(False)
        selector.register(self._rung, selectors.EVENT_READ, self._answer_all)
        self._closed = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        with self._bell, selectors.DefaultSelector() as ears:  # if this ends, the bell says so
            ears.register(self._socket, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in ears.select():
                    if key.data:
                        self._hear(ears, key.data)
                    else:
                        self._accept(ears)

    def _accept(self, ears: selectors.BaseSelector) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        sock.setblocking(False)
        connection = Connection(self, sock)
        self.connections.add(connection)
        ears.register(sock, selectors.EVENT_READ, connection)

    def _hear(self, ears: selectors.BaseSelector, connection: Connection) -> None:
        """Stop if it asks for that; pass on what it asks."""
        lines = connection.lines()
        for line in lines or []:
            self._heard.append((connection, line, self._stopped(connection, line)))
        connection.over = connection.over or connection.asked - connection.answered > MAX_ASKED
        if lines is None or connection.over:
            ears.unregister(connection.socket)
            self._heard.append((connection, None, None))
        with contextlib.suppress(BlockingIOError):  # so many rings that one more says nothing
            self._bell.send(b"\0")

    def _stopped(self, connection: Connection, line: bytes) -> Stop | None:
        """None unless the line asks for a stop. What is wrong with it is said by the one who answers."""
        with contextlib.suppress(TenthError, ValueError, RecursionError):
            request = parse(line)
            if isinstance(request, dict) and request.get("do") == "pull":
                heard, whom = time.perf_counter(), None
                with contextlib.suppress(TenthError, OSError):  # then the loop tries, and says what is wrong
                    whom = self._stop()
                stop = Stop(heard, whom, time.perf_counter())
                if stop.whom and not connection.watching:
                    with contextlib.suppress(OSError):
                        connection.socket.send(b'{"on":"stopped"}\n')  # the answer may have to wait for a disk
                return stop
        return None

    # --- the loop ----------------------------------------------------------------------------------------------------

    def _answer_all(self, _mask: int) -> None:
        """Raises OSError when nobody listens any more: then the run must end."""
        if not self._rung.recv(4096):
            raise OSError("the thread that hears the cord has ended")
        while self._heard:
            connection, line, stop = self._heard.popleft()
            connection.answered += 1
            if line is None:
                self._forget(connection)
            elif stop or not connection.over:
                connection.send(self._answer(connection, line, stop))

    def _answer(self, connection: Connection, line: bytes, stop: Stop | None) -> Answer:
        """Never raises: a refusal is an answer."""
        try:
            request = parse(line, "the request")
            if not isinstance(request, dict):
                raise WrongInput("the request is refused", "it is not an object")
            return {"ok": True, **self._handler(connection, request, stop)}
        except TenthError as error:
            return {"ok": False, "error": error.parts()}
        except (RecursionError, ValueError) as error:
            return {"ok": False, "error": WrongInput("the request is refused", str(error)[:200]).parts()}

    def interest(self, connection: Connection, *, writing: bool) -> None:
        """Go on writing once there is room."""
        if writing and not connection.waits:
            self._selector.register(connection.socket, selectors.EVENT_WRITE, connection.flush)
        elif connection.waits and not writing:
            self._selector.unregister(connection.socket)
        connection.waits = writing

    def _forget(self, connection: Connection) -> None:
        self.interest(connection, writing=False)
        self.connections.discard(connection)
        connection.socket.close()

    def tell(self, message: Answer) -> None:
        """To everyone who watches."""
        for connection in [one for one in list(self.connections) if one.watching]:
            connection.send(message)

    def close(self) -> None:
        self._closed = True
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for connection in list(self.connections):
            self._forget(connection)
        self._selector.unregister(self._rung)
        for one in (self._socket, self._rung):
            one.close()
        self._path.unlink(missing_ok=True)
