"""People's keys: load, sign, verify. Ed25519 in OpenSSH's formats, so that existing SSH keys work.

Does not protect against: a signatory whose private key another person or program can read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenth.encoding import b64, digest
from tenth.errors import BadKey, BadStatement


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key. Equal when the key material is equal, whatever the comment said."""

    raw: bytes = field(repr=False)
    """32 bytes."""

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """From an OpenSSH line, ``ssh-ed25519 AAAA... comment``."""
        try:
            key = ser.load_ssh_public_key(line.strip().encode())
        except (ValueError, UnsupportedAlgorithm) as error:
            raise BadKey("this public key cannot be read", f"{line[:60]!r}: {error}", _WANTED) from None
        if not isinstance(key, Ed25519PublicKey):
            raise BadKey("only Ed25519 keys can sign here", line[:40], _WANTED)
        return cls(key.public_bytes_raw())

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)

    @cached_property
    def line(self) -> str:
        """The OpenSSH line, without a comment."""
        return self._key.public_bytes(ser.Encoding.OpenSSH, ser.PublicFormat.OpenSSH).decode()

    @cached_property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: ``SHA256:`` and unpadded base64."""
        blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + self.raw
        return "SHA256:" + b64(bytes.fromhex(digest(blob))).rstrip("=")

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise BadStatement unless ``signature`` over ``message`` was made by this key."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            found = f"it was not made by {self.fingerprint} over these bytes"
            raise BadStatement("the signature does not verify", found, "sign with the key the charter lists") from None


class SigningKey:
    """An Ed25519 private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.private = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """From an OpenSSH private key file without a passphrase (others: tenth.keyfile). Raises BadKey."""
        try:
            return cls.of(ser.load_ssh_private_key(path.read_bytes(), None), path)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadKey(f"the key file {path} cannot be used", str(error)[:200], MAKE) from None

    @classmethod
    def of(cls, key: object, path: Path) -> SigningKey:
        if not isinstance(key, Ed25519PrivateKey):
            raise BadKey(f"the key {path} cannot sign here", "it is not an Ed25519 key", MAKE)
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """64 bytes, Ed25519 (RFC 8032)."""
        return self.private.sign(message)


_WANTED = "give a line like 'ssh-ed25519 AAAA... name', from 'tenth key new NAME' or 'ssh-keygen -t ed25519'"
MAKE = "make one with 'tenth key new NAME' or 'ssh-keygen -t ed25519'"
