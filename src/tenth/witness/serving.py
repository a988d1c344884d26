"""A witness that answers over HTTP: ``POST /add-checkpoint`` of C2SP tlog-witness, and nothing else.

Everything that is signed here is public, so there is nothing to keep secret on the way; whoever can reach the port can
take up time, within the limits below, and can learn how long a log is.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tenth.errors import BadEncoding, TenthError
from tenth.witness.cosigner import Cosigner, NotCosigned
from tenth.witness.request import MOST_REQUEST_BYTES, Request

PATH = "/add-checkpoint"
MOST_CONNECTIONS = 32
"""At once; whoever comes then is turned away."""
IDLE_SECONDS, CONNECTION_SECONDS = 10.0, 60.0
"""A connection is ended when it is silent for so long, or lasts longer."""
SIZE_TYPE = "text/x.tlog.size"

Say = Callable[[str], None]


class Server(ThreadingHTTPServer):
    """Serves one witness until it is shut down."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, address: tuple[str, int], cosigner: Cosigner, say: Say = lambda _: None) -> None:
        self.cosigner, self.say = cosigner, say
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = threading.Timer(CONNECTION_SECONDS, _hang_up, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (socketserver calls it so)
        """A caller that hung up is no news; anything else is a fault of ours, and was not answered."""
        if not isinstance(error := sys.exception(), OSError):
            self.say(f"a request was not answered: {type(error).__name__}: {error}")


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended by itself


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tenth-witness", ""
    timeout = IDLE_SECONDS
    error_message_format, error_content_type = "%(code)d %(message)s\n", "text/plain; charset=utf-8"

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path.partition("?")[0] != PATH:
            self._answer(404, b"there is only add-checkpoint here\n")
            return
        try:
            request = Request.parse(body)
            cosigned = self.server.cosigner.cosign(request)
        except NotCosigned as error:
            self.server.say(f"refused ({error.status}): {error.found}")
            if error.size is not None:
                self._answer(error.status, b"%d\n" % error.size, SIZE_TYPE)
            else:
                self._answer(error.status, f"{error.found}\n".encode())
        except BadEncoding as error:
            self._answer(400, f"{error}\n".encode())
        except (TenthError, OSError) as error:  # its memory cannot be read or written: it cosigns nothing
            self.server.say(f"nothing can be cosigned: {error}")
            self._answer(500, b"this witness cannot cosign now\n")
        else:
            head = request.checkpoint
            self.server.say(f"cosigned {head.origin} at {head.size} entries")
            self._answer(200, cosigned.line)

    def _body(self) -> bytes | None:
        """What was posted; None where that was refused."""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._refuse(411, b"say how long it is\n")
        elif len(length) > 9 or int(length) > MOST_REQUEST_BYTES:
            self._refuse(413, b"this is too long for a head and a proof\n")
        else:
            data = self.rfile.read(int(length))
            if len(data) == int(length):
                return data
            self.close_connection = True
        return None

    def _refuse(self, status: int, text: bytes) -> None:
        """And hang up: what was sent is not read."""
        self.close_connection = True
        self._answer(status, text)

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server calls it so)
        """What matters is said by ``do_POST``."""
