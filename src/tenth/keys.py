"""People's keys: make, load, sign, verify. Ed25519 in OpenSSH's formats, so that existing SSH keys work.

Does not protect against: a signatory whose private key another person or program can read.
"""

from __future__ import annotations

import os
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
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, passphrase: bytes | None = None) -> SigningKey:
        """From an OpenSSH private key file. Raises BadKey; ``NeedsPassphrase`` if it is locked and none was given."""
        try:
            key = ser.load_ssh_private_key(path.read_bytes(), passphrase)
        except OSError as error:
            raise BadKey(f"the key file {path} cannot be read", error.strerror or str(error), _MAKE) from None
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            if passphrase is None and "password" in str(error).lower():
                raise NeedsPassphrase(f"the key {path} is locked", "it has a passphrase", "give it") from None
            raise BadKey(f"the key file {path} cannot be used", str(error)[:200], _MAKE) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise BadKey(f"the key {path} cannot sign here", "it is not an Ed25519 key", _MAKE)
        return cls(key)

    def save(self, path: Path, comment: str = "", passphrase: bytes | None = None) -> None:
        """Write ``path`` (mode 0600) and ``path.pub``. An existing file is never overwritten."""
        lock: ser.KeySerializationEncryption = ser.NoEncryption()
        if passphrase:
            lock = ser.BestAvailableEncryption(passphrase)
        try:
            private = self._key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.OpenSSH, lock)
        except UnsupportedAlgorithm as error:
            raise BadKey("this key cannot be locked", str(error), "pip install bcrypt, then again") from None
        public = f"{self.public.line} {comment}".strip() + "\n"
        _write_new(path, private, 0o600)
        _write_new(path.with_name(path.name + ".pub"), public.encode(), 0o644)

    def sign(self, message: bytes) -> bytes:
        """64 bytes, Ed25519 (RFC 8032)."""
        return self._key.sign(message)


class NeedsPassphrase(BadKey):
    """The key file is locked and no passphrase was given."""


_WANTED = "give a line like 'ssh-ed25519 AAAA... name', from 'tenth key new NAME' or 'ssh-keygen -t ed25519'"
_MAKE = "make one with 'tenth key new NAME' or 'ssh-keygen -t ed25519'"


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise BadKey(f"{path} is not overwritten", "it exists", "choose another name, or move it") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
