"""Key files as OpenSSH has them: write one, or read one that may be locked. The core reads unlocked ones only."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser

from tenth.errors import BadKey
from tenth.keys import MAKE, SigningKey


class NeedsPassphrase(BadKey):
    """The key file is locked and no passphrase was given."""


def load(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """From an OpenSSH private key file. Raises BadKey; ``NeedsPassphrase`` if it is locked and none was given."""
    try:
        key = ser.load_ssh_private_key(path.read_bytes(), passphrase)
    except OSError as error:
        raise BadKey(f"the key file {path} cannot be read", error.strerror or str(error), MAKE) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase is None and "password" in str(error).lower():
            raise NeedsPassphrase(f"the key {path} is locked", "it has a passphrase", "give it") from None
        raise BadKey(f"the key file {path} cannot be used", str(error)[:200], MAKE) from None
    return SigningKey.of(key, path)


def save(key: SigningKey, path: Path, comment: str = "", passphrase: bytes | None = None) -> None:
    """Write ``path`` (mode 0600) and ``path.pub``. An existing file is never overwritten."""
    lock: ser.KeySerializationEncryption = ser.NoEncryption()
    if passphrase:
        lock = ser.BestAvailableEncryption(passphrase)
    try:
        private = key.private.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.OpenSSH, lock)
    except UnsupportedAlgorithm as error:
        raise BadKey("this key cannot be locked", str(error), "pip install bcrypt, then again") from None
    public = f"{key.public.line} {comment}".strip() + "\n"
    _write_new(path, private, 0o600)
    _write_new(path.with_name(path.name + ".pub"), public.encode(), 0o644)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise BadKey(f"{path} is not overwritten", "it exists", "choose another name, or move it") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
