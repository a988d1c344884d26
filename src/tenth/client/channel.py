"""The socket to the supervisor: frames up, one lease down, and death at its end of file."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from .errors import ProtocolError
from .frames import MAX_FRAME, Frame, decode, encode

SUPERVISOR_GONE = 113  # exit status of a trainer whose supervisor vanished
BROKEN_CHANNEL = 114  # exit status after a frame that the protocol does not know


class Channel:
    """Owns the socket. `send` may be called from any thread; `receive` only before `watch`."""

    def __init__(self, sock: socket.socket, die: Callable[[int], object] = os._exit) -> None:
        self._socket = sock
        self._die = die
        self._lock = threading.Lock()
        self._buffer = b""
        self._finished = False

    def send(self, frame: Frame) -> None:
        """Send one frame whole. If the supervisor is gone, so are we."""
        line = encode(frame)
        with self._lock:
            try:
                self._socket.sendall(line)
            except OSError:
                if not self._finished:
                    self._die(SUPERVISOR_GONE)

    def receive(self) -> Frame:
        """The next frame, however long it takes: only the supervisor decides when we go on."""
        while b"\n" not in self._buffer:
            piece = self._socket.recv(MAX_FRAME)
            if not piece:
                raise ProtocolError(
                    "The trainer has no lease.", "the supervisor closed the channel", "look into the supervisor's log"
                )
            self._buffer += piece
            if len(self._buffer) > MAX_FRAME:
                raise ProtocolError(
                    "A frame was refused.", "it does not end", "check that both ends run the same tenth"
                )
        line, self._buffer = self._buffer.split(b"\n", 1)
        return decode(line)

    def watch(self) -> None:
        """From now on die with the supervisor (promise 6).

        Nothing may follow the lease, so any byte that still comes is a broken channel.
        """
        threading.Thread(target=self._watch, name="tenth-leash", daemon=True).start()

    def finish(self) -> None:
        """All is said: end of file no longer kills, the process is about to end by itself."""
        self._finished = True

    def close(self) -> None:
        self._finished = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the watching thread; close() alone would not
        except OSError:
            pass
        self._socket.close()

    def _watch(self) -> None:
        try:
            piece = self._buffer or self._socket.recv(1)
        except OSError:
            piece = b""
        if not self._finished:
            # os._exit and not an exception: a training loop that catches everything must not outlive its supervisor.
            self._die(BROKEN_CHANNEL if piece else SUPERVISOR_GONE)
