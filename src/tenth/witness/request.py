"""What a log asks of a witness: the body of C2SP tlog-witness' add-checkpoint, over HTTP or in a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tenth.encoding import b64, unb64
from tenth.errors import BadEncoding
from tenth.witness.consistency import consistency_proof
from tenth.witness.note import MOST_BYTES, Checkpoint

MOST_PROOF = 63
"""Hashes in a proof: trees have fewer than 2^63 leaves."""
MOST_REQUEST_BYTES = MOST_BYTES + 64 * 64
_OLD = re.compile(r"old (0|[1-9][0-9]{0,14})")


@dataclass(frozen=True)
class Request:
    """A new head, and the proof that it goes on from the one of size ``old``."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint
    note: bytes
    """The head as it came, signatures included."""

    @classmethod
    def parse(cls, body: bytes) -> Request:
        """Raises BadEncoding."""
        if len(body) > MOST_REQUEST_BYTES:
            raise BadEncoding("this request is refused", f"it has {len(body):,} bytes")
        before, empty, note = body.partition(b"\n\n")
        try:
            first, *proof = before.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise BadEncoding("this request is refused", "it does not begin with 'old' and a number") from None
        found = _OLD.fullmatch(first)
        if not found or not empty:
            raise BadEncoding("this request is refused", "it does not begin with 'old' and a number")
        if len(proof) > MOST_PROOF:
            raise BadEncoding("this request is refused", f"its proof has {len(proof)} hashes, of at most {MOST_PROOF}")
        hashes = tuple(unb64(line, "a hash of the proof") for line in proof)
        if any(len(one) != 32 for one in hashes):
            raise BadEncoding("this request is refused", "a hash of its proof has not 32 bytes")
        return cls(int(found[1]), hashes, Checkpoint.parse(note), note)


def write_request(leaves: Sequence[bytes], note: bytes, old: int) -> bytes:
    """For the head ``note`` over all of ``leaves`` (leaf hashes), to a witness that knows the first ``old``."""
    proof = "".join(b64(one) + "\n" for one in consistency_proof(leaves, old))
    return f"old {old}\n{proof}\n".encode() + note
