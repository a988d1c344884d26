"""The log's signed summary: a C2SP tlog-checkpoint in a C2SP signed note, so that any witness can cosign it."""

from __future__ import annotations

import re
from binascii import a2b_base64
from dataclasses import dataclass
from hashlib import sha256

from tenth.encoding import b64
from tenth.errors import BadEncoding, BadStatement
from tenth.keys import PublicKey, SigningKey

LINES = 5
_ED25519 = b"\x01"
"""Signature type byte of C2SP signed-note."""
_LAST = "[AEIMQUYcgkosw048]="
"""How canonical base64 of 3n + 2 bytes ends."""
_NOTE = re.compile(
    rf"([^\n]+)\n(0|[1-9][0-9]{{0,14}})\n([A-Za-z0-9+/]{{42}}{_LAST})\n\n— \1 ([A-Za-z0-9+/]{{90}}{_LAST})\n"
)
"""A root of 32 bytes, a signature of 68."""


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
        try:
            found = _NOTE.fullmatch(note.decode())
        except UnicodeDecodeError:
            found = None
        if not found:
            raise BadEncoding("this is not a signed head", repr(note[:80]))
        name, size, root, signature = found.groups()
        return cls(name, int(size), a2b_base64(root), a2b_base64(signature))

    def verify(self, key: PublicKey) -> None:
        if self.signature[:4] != key_id(self.origin, key):
            raise BadStatement("the head is not signed by the log's key", f"key id {self.signature[:4].hex()}")
        key.verify(self.signature[4:], self.text)


def key_id(name: str, key: PublicKey) -> bytes:
    """C2SP signed-note: the first 4 bytes of SHA-256(name, newline, type, public key)."""
    return sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def origin(run: str) -> str:
    return f"tenth/{run}"
