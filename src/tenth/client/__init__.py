"""The trainer's only door: attach a training loop to the supervisor that holds its leash.

Standard library only. Enforcement does not depend on it: a loop that lies or leaves is stopped from outside.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from .channel import Channel
from .errors import ClientError, LoopError, NotSupervised, ProtocolError
from .frames import PROTOCOL
from .lease import Lease, from_frame
from .run import Run

__all__ = ["ClientError", "Lease", "LoopError", "NotSupervised", "ProtocolError", "Run", "attach", "connect"]

CLIENT = "tenth 0.1"


@contextmanager
def attach() -> Iterator[Run]:
    """Join the law: `with tenth.attach() as run:`. Raises NotSupervised if nobody holds the leash."""
    run = connect()
    try:
        yield run
    except BaseException:
        run.close(failed=True)
        raise
    run.close()


def connect() -> Run:
    """`attach` without the `with`, for callbacks; the caller closes the run."""
    channel = Channel(_inherited())
    try:
        channel.send({"frame": "hello", "protocol": PROTOCOL, "client": CLIENT})
        lease = from_frame(channel.receive())
    except BaseException:
        channel.close()
        raise
    channel.watch()
    return Run(lease, channel)


def _inherited() -> socket.socket:
    # Taken out of the environment: a child of the trainer must not speak in its name.
    number = os.environ.pop("TENTH_FD", None)
    if number is None:
        raise _not_supervised("the environment has no TENTH_FD (or this process has attached already)")
    try:
        sock = socket.socket(fileno=int(number))
        sock.set_inheritable(False)
        sock.getpeername()
    except (ValueError, OSError, OverflowError) as error:
        raise _not_supervised(f"TENTH_FD={number} is no open channel ({error})") from error
    return sock


def _not_supervised(found: str) -> NotSupervised:
    return NotSupervised(
        "Training was refused: nobody holds the leash.", found,
        "put this command into a charter's phase and start it with `tenth run charter.toml`",
    )  # fmt: skip
