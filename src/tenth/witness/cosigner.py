"""Does a witness cosign this head? One decision, made and remembered under one lock before the answer leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tenth.errors import BadStatement, TenthError
from tenth.keys import SigningKey
from tenth.witness.consistency import is_consistent, root_of
from tenth.witness.memory import Known, Memory
from tenth.witness.note import LOG, WITNESS, NamedKey, cosign, signature_line
from tenth.witness.request import Request


class NotCosigned(TenthError):
    """Why not, as C2SP tlog-witness numbers it: 400, 403, 404, 409 or 422."""

    def __init__(self, status: int, found: str, do: str = "", size: int | None = None) -> None:
        super().__init__("this head is not cosigned", found, do)
        self.status, self.size = status, size
        """``size``: with 409, that of the newest head that was cosigned."""


@dataclass(frozen=True)
class Cosigned:
    """A head and our signature under it."""

    line: bytes
    """The signature alone."""
    note: bytes
    """The head with the log's signature and ours."""


class Cosigner:
    """One witness: its name, its key and its memory."""

    def __init__(self, name: str, key: SigningKey, memory: Memory, clock: Callable[[], float] = time.time) -> None:
        self.name, self.key, self.memory, self._clock = name, key, memory, clock
        self.public = NamedKey(name, WITNESS, key.public)

    def cosign(self, request: Request) -> Cosigned:
        """Never cosigns two heads of which one does not go on from the other.

        Raises NotCosigned, and WrongInput where its own memory cannot be used.
        """
        head = request.checkpoint
        with self.memory.held():
            known = self.memory.recall(head.origin)
            if known is None:
                raise NotCosigned(404, f"the log {head.origin} is not known here", "tell this witness of it first")
            size, root = self._newest(known)
            if reason := refusal(request, known.log, size, root):
                raise reason
            line = cosign(head.text, self.name, self.key, int(self._clock()))
            signed = signature_line(known.log.name, known.log.id + head.by(known.log)[0])
            note = head.text + b"\n" + signed + line
            self.memory.keep(Known(known.log, note))  # durable before anybody sees the cosignature
        return Cosigned(line, note)

    def _newest(self, known: Known) -> tuple[int, bytes]:
        """Size and root of the newest head that was cosigned; of nothing before the first."""
        if (head := known.checkpoint) is None:
            return 0, root_of([])
        try:
            mine = head.cosigned_at(self.public) is not None
        except BadStatement:
            mine = False
        if not mine:
            raise NotCosigned(500, "what is remembered of this log was not cosigned by this key", "look at the memory")
        return head.size, head.root


def refusal(request: Request, log: NamedKey, size: int, root: bytes) -> NotCosigned | None:
    """Why a witness that knows ``size`` entries with ``root`` refuses; None where it must not (C2SP tlog-witness)."""
    head = request.checkpoint
    try:
        signed = log.kind == LOG and head.signed_by(log)
    except BadStatement:
        signed = False
    if not signed:
        return NotCosigned(403, f"it is not signed by the key of {log.name} that is known here")
    if request.old > head.size:
        return NotCosigned(400, f"it goes from {request.old} entries back to {head.size}")
    if request.old != size:
        return NotCosigned(409, f"the newest head cosigned here has {size} entries", "prove it from there", size)
    if request.old == head.size and root != head.root:
        return NotCosigned(409, f"another head with {size} entries was cosigned here", "this is another history", size)
    if not is_consistent(request.old, root, head.size, head.root, request.proof):
        return NotCosigned(422, f"it does not go on from the {size} entries that were cosigned here")
    return None
