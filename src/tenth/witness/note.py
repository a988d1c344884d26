"""What witnesses read and sign: checkpoints in signed notes, keys with names, cosignatures.

C2SP signed-note, tlog-checkpoint and tlog-cosignature (Ed25519). A checkpoint is what this project calls a head; the
log's own heads, which have one signature and no more lines, are read by ``tenth.log.head``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from tenth.encoding import b64, unb64
from tenth.errors import BadEncoding, BadKey, BadStatement
from tenth.keys import PublicKey, SigningKey

LOG, WITNESS = 1, 4
"""Kinds of key, as C2SP numbers them: one that signs notes, one that cosigns checkpoints."""
LAST_TIME = 253_402_000_000
"""Seconds since 1970: the end of the year 9999, after which a time has no usual spelling."""
MOST_BYTES = 16_384
"""Of a note: a head and dozens of signatures."""
_NAME = re.compile(r"[^\s+]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,14}")
_SIGNATURE = re.compile(r"— ([^\s+]{1,200}) ([A-Za-z0-9+/]{8,}={0,2})")


@dataclass(frozen=True)
class NamedKey:
    """A public key and the name it signs under: a verifier key (vkey) of C2SP signed-note."""

    name: str
    kind: int
    """LOG or WITNESS."""
    key: PublicKey

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key.raw).digest()[:4]

    @property
    def line(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.kind]) + self.key.raw)}"

    @classmethod
    def parse(cls, line: str) -> NamedKey:
        """From ``name+id+base64``. Raises BadKey."""
        name, _, rest = line.strip().partition("+")
        short, _, encoded = rest.partition("+")
        try:
            raw = unb64(encoded)
            found = cls(name, raw[0] if raw else 0, PublicKey(raw[1:]))
        except BadEncoding as error:
            raise BadKey("this key cannot be read", error.found, _WANTED) from None
        if len(raw) != 33 or found.kind not in (LOG, WITNESS) or not _NAME.fullmatch(name) or short != found.id.hex():
            raise BadKey("this key cannot be read", repr(line)[:120], _WANTED)
        return found


@dataclass(frozen=True)
class Checkpoint:
    """The first ``size`` entries of the log ``origin`` have the Merkle root ``root``, says whoever signed ``text``."""

    text: bytes
    """What is signed."""
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Name of the key; its id (4 bytes) and what it signed with."""

    @classmethod
    def parse(cls, note: bytes) -> Checkpoint:
        """Raises BadEncoding."""
        at = note.rfind(b"\n\n") + 1
        text, block = note[:at], note[at + 1 :]
        try:
            lines, signed = text.decode().split("\n")[:-1], block.decode().split("\n")
        except UnicodeDecodeError:
            raise BadEncoding(*_NO_HEAD, "its text is not UTF-8") from None
        plain = not any(char < 0x20 and char != 0x0A for char in note)
        if not at or len(note) > MOST_BYTES or not plain or signed.pop() or not signed:
            raise BadEncoding(*_NO_HEAD, repr(note[:80]))
        if len(lines) < 3 or not all(lines) or not _SIZE.fullmatch(lines[1]):
            raise BadEncoding(*_NO_HEAD, repr(note[:80]))
        root = unb64(lines[2], "the root")
        if len(root) != 32:
            raise BadEncoding(*_NO_HEAD, "its root has not 32 bytes")
        return cls(text, lines[0], int(lines[1]), root, tuple(_signature(line) for line in signed))

    def by(self, key: NamedKey) -> list[bytes]:
        """What stands under this key's name and id."""
        return [signed[4:] for name, signed in self.signatures if name == key.name and signed[:4] == key.id]

    def signed_by(self, log: NamedKey) -> bool:
        """Raises BadStatement if something stands under the key's name that it did not sign."""
        found = self.by(log)
        for signature in found:
            log.key.verify(signature, self.text)
        return bool(found)

    def cosigned_at(self, witness: NamedKey) -> int | None:
        """When, in seconds since 1970 by the witness's clock; None if it did not.

        Raises BadStatement if something stands under its name that it did not sign.
        """
        times = [cosignature_time(self.text, signed, witness.key) for signed in self.by(witness)]
        return max(times, default=None)


def _signature(line: str) -> tuple[str, bytes]:
    found = _SIGNATURE.fullmatch(line)
    if not found:
        raise BadEncoding(*_NO_HEAD, f"this is no signature: {line!r}"[:120])
    signed = unb64(found[2], "the signature")
    if len(signed) < 5:
        raise BadEncoding(*_NO_HEAD, f"this is no signature: {line!r}"[:120])
    return found[1], signed


def signature_line(name: str, signed: bytes) -> bytes:
    return f"— {name} {b64(signed)}\n".encode()


def cosign(text: bytes, name: str, key: SigningKey, when: int) -> bytes:
    """The signature line of a witness under the checkpoint ``text``, at ``when`` seconds since 1970."""
    mine = NamedKey(name, WITNESS, key.public)
    return signature_line(name, mine.id + when.to_bytes(8) + key.sign(_message(text, when)))


def cosignature_time(text: bytes, signed: bytes, key: PublicKey) -> int:
    """When it was made; ``signed`` is 8 bytes of time, big end first, and the signature. Raises BadStatement."""
    when = int.from_bytes(signed[:8])
    if len(signed) != 72 or when > LAST_TIME:
        raise BadStatement("this is no cosignature", f"{len(signed)} bytes, at {when}")
    key.verify(signed[8:], _message(text, when))
    return when


def _message(text: bytes, when: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % when + text


_NO_HEAD = ("this is not a signed head",)
_WANTED = "a line like 'tenth/poet-7f3a9c21+5d1f2e3a+AQ...', which 'tenth witness ask' prints"
