"""The log's signed summary: a C2SP tlog-checkpoint in a C2SP signed note, so that any witness can cosign it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from tenth.encoding import b64, unb64
from tenth.errors import BadEncoding, BadStatement
from tenth.keys import PublicKey, SigningKey

LINES = 5
_ED25519 = b"\x01"
"""Signature type byte of C2SP signed-note."""


@dataclass(frozen=True)
class Head:
    """``root`` is the Merkle root (32 bytes) over the first ``size`` entries."""

    origin: str
    size: int
    root: bytes
    signature: bytes
    """4 bytes of key id, then the 64-byte Ed25519 signature."""

    @property
    def text(self) -> bytes:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{b64(self.root)}\n".encode()

    @property
    def note(self) -> bytes:
        return self.text + f"\n— {self.origin} {b64(self.signature)}\n".encode()

    @classmethod
    def sign(cls, origin: str, size: int, root: bytes, key: SigningKey) -> Head:
        unsigned = cls(origin, size, root, b"")
        return cls(origin, size, root, key_id(origin, key.public) + key.sign(unsigned.text))

    @classmethod
    def parse(cls, note: bytes) -> Head:
        lines = note.decode("utf-8", "replace").split("\n")
        if len(lines) != LINES + 1 or lines[3] or lines[5] or not lines[4].startswith(f"— {lines[0]} "):
            raise BadEncoding("this is not a signed head", repr(note[:80]))
        if not lines[1].isascii() or not lines[1].isdigit() or len(lines[1]) > 15:
            raise BadEncoding("this is not a signed head", f"size {lines[1][:20]!r}")
        signature = unb64(lines[4].rpartition(" ")[2], "the head's signature")
        head = cls(lines[0], int(lines[1]), unb64(lines[2], "the head's root"), signature)
        if head.note != note or len(head.root) != 32 or len(signature) != 68:
            raise BadEncoding("this is not a signed head", repr(note[:80]))
        return head

    def verify(self, key: PublicKey) -> None:
        if self.signature[:4] != key_id(self.origin, key):
            raise BadStatement("the head is not signed by the log's key", f"key id {self.signature[:4].hex()}")
        key.verify(self.signature[4:], self.text)


def key_id(name: str, key: PublicKey) -> bytes:
    """C2SP signed-note: the first 4 bytes of SHA-256(name, newline, type, public key)."""
    return sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def origin(run: str) -> str:
    return f"tenth/{run}"
