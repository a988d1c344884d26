"""What can go wrong between a training loop and its supervisor.

ClientError
├── NotSupervised    nobody holds the leash
├── ProtocolError    the channel brought, or was asked to carry, something that §8 of docs/formats.md does not allow
└── LoopError        the training loop used the run in a way that would break a promise
"""

from __future__ import annotations


class ClientError(Exception):
    """An error in three parts: what was refused, what was found, what to do next."""

    def __init__(self, refused: str, found: str, do: str) -> None:
        super().__init__(f"{refused}\n  found: {found}\n  do: {do}")
        self.refused = refused
        self.found = found
        self.do = do


class NotSupervised(ClientError):
    """There is no supervisor: training was not started by `tenth run`."""


class ProtocolError(ClientError):
    """A frame is malformed, oversized or out of order."""


class LoopError(ClientError):
    """The training loop did something that a supervised loop cannot do."""
