"""Sealed checkpoints: encrypted under a key that exists in shares only, one for each signatory (promise 14).

The key is the exclusive-or of all shares: fewer than all say nothing about it. Each share is sealed to one signatory's
key (HPKE, RFC 9180), bound to run, gate, checkpoint and dossier; with the consent it comes back, sealed to the log's
key.
Does not protect against: root, who can copy the weights while training runs; what a disk keeps of erased files.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenth.encoding import b64, canonical, decode, digest, sync_folder, unb64
from tenth.errors import BadStatement, WrongInput
from tenth.gate.sealing import Work, plain_files
from tenth.keys import PublicKey, SigningKey

CHUNK, TAG = 1 << 20, 16
"""Bytes of plaintext that are encrypted at once, and what that adds to them."""
ESCROW = "escrow"
"""Under this name the whole key is sealed, if the charter names an escrow key."""

Shares = Mapping[str, Any]
"""``{context, commitments: {name: digest of the share}, shares: {name: sealed share}}``, a file beside a checkpoint."""


def encipher(source: Path, target: Path, key: bytes) -> Work[None]:
    """Write the files of ``source``, encrypted (AES-256-GCM), into ``target``, durable and read-only."""
    return (yield from _convert(source, target, CHUNK, AESGCM(key).encrypt, 0o444))


def decipher(source: Path, target: Path, key: bytes) -> Work[None]:
    """The way back. Raises WrongInput where the key does not fit or a byte was changed."""
    try:
        return (yield from _convert(source, target, CHUNK + TAG, AESGCM(key).decrypt, 0o400))
    except InvalidTag:
        raise WrongInput(f"{source.name} does not open", "a byte was changed, or a share is wrong") from None


def _convert(source: Path, target: Path, chunk: int, turn: Any, mode: int) -> Work[None]:
    """Chunk by chunk. The nonce counts files and chunks, under a key used once; the name and the end of a file are
    authenticated, so that neither files nor chunks can be exchanged, or cut off."""
    target.mkdir(mode=0o700)
    for number, path in enumerate(sorted(plain_files(source))):
        name = path.relative_to(source)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        left, index = path.stat().st_size, 0
        with path.open("rb") as file, (target / name).open("xb") as out:
            while index == 0 or left > 0:
                data = file.read(chunk)
                left -= len(data)
                nonce = number.to_bytes(4, "big") + index.to_bytes(8, "big")
                out.write(turn(nonce, data, b"%s\0%d" % (os.fsencode(name), left <= 0)))
                index += 1
                yield
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        yield
    for folder in (*(path for path in target.rglob("*") if path.is_dir()), target):
        sync_folder(folder)


def share_out(
    key: bytes, context: Mapping[str, Any], people: Mapping[str, PublicKey], escrow: PublicKey | None
) -> Shares:
    """Split ``key`` among ``people``, each share sealed to its owner."""
    info = canonical(context)
    shares = dict(zip(people, _split(key, len(people)), strict=True))
    sealed = {name: b64(people[name].seal(share, info)) for name, share in shares.items()}
    if escrow:
        sealed[ESCROW] = b64(escrow.seal(key, info))
    return {"context": context, "commitments": {name: digest(one) for name, one in shares.items()}, "shares": sealed}


def _split(key: bytes, count: int) -> list[bytes]:
    shares = [secrets.token_bytes(len(key)) for _ in range(count - 1)]
    return [*shares, join([key, *shares])]


def join(shares: list[bytes]) -> bytes:
    """Their exclusive-or: of all shares, the key."""
    return reduce(lambda one, other: bytes(a ^ b for a, b in zip(one, other, strict=True)), shares)


def read_shares(data: bytes, run: str, checkpoint: str) -> Shares:
    """The file of shares, which must be of this run and checkpoint."""
    found: Shares = decode(data, "the file of shares")
    try:
        context = (found["context"]["run"], found["context"]["checkpoint"])
        whole = context == (run, checkpoint) and found["shares"].keys() >= found["commitments"].keys()
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BadStatement("these shares are refused", f"they are not of run {run}, checkpoint {checkpoint}")
    return found


def pass_on(shares: Shares, name: str, key: SigningKey, log_key: PublicKey) -> str:
    """A signatory's own share, opened, and sealed again to the supervisor: what goes with a consent."""
    info = canonical(shares["context"])
    return b64(log_key.seal(key.open(unb64(shares["shares"][name]), info), info))


def take_in(shares: Shares, name: str, passed: Any, log_key: SigningKey) -> bytes:
    """The supervisor's end of it: the share, which must be the one that was given out."""
    share = log_key.open(unb64(passed, "the share"), canonical(shares["context"]))
    if digest(share) != shares["commitments"][name]:
        raise BadStatement("this share is refused", f"it is not the one that {name} was given")
    return share


def whole_key(shares: Shares, escrow: SigningKey) -> bytes:
    """What the owner of the escrow key can open alone."""
    return escrow.open(unb64(shares["shares"][ESCROW]), canonical(shares["context"]))
