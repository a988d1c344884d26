"""People's keys: load, sign, verify. Ed25519 in OpenSSH's formats, so that existing SSH keys work; and passkeys.

Does not protect against: a signatory whose private key another person or program can read; with a passkey, a page
that shows one statement and has another signed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from tenth.encoding import b64, digest, unb64
from tenth.errors import BadEncoding, BadKey, BadStatement

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_PRIME = 2**255 - 19


_PASSKEY = "sk-ecdsa-sha2-nistp256@openssh.com"
_SITE = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,8}")
_ASKED = re.compile(
    rb'\{"type":"webauthn\.get","challenge":"([A-Za-z0-9_-]{43})","origin":"(https?)://([a-z0-9.-]+)(?::[0-9]{1,5})?"'
    rb'(?!,"crossOrigin":true)[,}].*',
    re.DOTALL,
)
"""How a browser's account of a signature begins (WebAuthn level 3, section 5.8.1.2)."""


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key, or a passkey's. Equal when the key material is equal, whatever the comment said."""

    raw: bytes = field(repr=False)
    """32 bytes; of a passkey the 65 of a P-256 point."""
    site: str = ""
    """Of a passkey: the only site for which it signs (its RP ID)."""

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

    @classmethod
    def of_person(cls, line: str) -> PublicKey:
        """As ``parse``; or a passkey, written as OpenSSH writes a security key."""
        kind, _, rest = line.partition(" ")
        if kind != _PASSKEY:
            return cls.parse(line)
        try:
            blob = unb64(rest.partition(" ")[0])
            key = cls(blob[54:119], blob[123:].decode("ascii"))
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.raw)
            if not _SITE.fullmatch(key.site) or key._blob != blob:
                raise ValueError("it is not a P-256 point and the name of a site")
        except (ValueError, BadEncoding) as error:
            raise BadKey(
                "this passkey cannot be read", f"{line[:60]!r}: {error}", "make it in the control room"
            ) from None
        return key

    @property
    def _blob(self) -> bytes:
        if not self.site:
            return _string(b"ssh-ed25519") + _string(self.raw)
        return b"".join(map(_string, (_PASSKEY.encode(), b"nistp256", self.raw, self.site.encode())))

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)

    @cached_property
    def line(self) -> str:
        """The OpenSSH line, without a comment."""
        return f"{_PASSKEY if self.site else 'ssh-ed25519'} {b64(self._blob)}"

    @cached_property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it: ``SHA256:`` and unpadded base64."""
        return "SHA256:" + b64(bytes.fromhex(digest(self._blob))).rstrip("=")

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise BadStatement unless ``signature`` over ``message`` was made by this key."""
        try:
            if self.site:
                self._asserted(signature, message)
            else:
                self._key.verify(signature, message)
        except InvalidSignature:
            found = f"it was not made by {self.fingerprint} over these bytes"
            raise BadStatement("the signature does not verify", found, "sign with the key the charter lists") from None

    def _asserted(self, signature: bytes, message: bytes) -> None:
        """WebAuthn level 3, section 7.2: 37 bytes of the authenticator's, r and s (64), then the browser's account."""
        ours, pair, account = signature[:37], signature[37:101], signature[101:]
        asked = _ASKED.fullmatch(account)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(message).digest()).rstrip(b"=")
        if asked is None or asked[1] != challenge or ours[:32] != hashlib.sha256(self.site.encode()).digest():
            raise InvalidSignature
        host = asked[3].decode()
        if not f".{host}".endswith(f".{self.site}") or (asked[2] == b"http" and host != "localhost"):
            raise InvalidSignature
        if ours[32] & 0b1100_0101 != 0b0000_0101:  # a person was there, and was verified; nothing is appended
            raise InvalidSignature
        r, s = int.from_bytes(pair[:32]), int.from_bytes(pair[32:])
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self.raw)
        signed = ours + hashlib.sha256(account).digest()
        point.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))

    def seal(self, data: bytes, info: bytes) -> bytes:
        """``data`` for the owner of this key alone (HPKE, RFC 9180), bound to ``info``.

        The signing key serves, by the map from Ed25519 to X25519 (RFC 7748, section 4.1), as it does in age.
        """
        y = int.from_bytes(self.raw, "little") & (1 << 255) - 1
        u = (1 + y) * pow(1 - y, -1, _PRIME) % _PRIME
        return _HPKE.encrypt(data, X25519PublicKey.from_public_bytes(u.to_bytes(32, "little")), info)


def _string(data: bytes) -> bytes:
    """As SSH writes it (RFC 4251, section 5)."""
    return len(data).to_bytes(4) + data


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

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """What ``seal`` made for this key. Raises BadStatement."""
        scalar = hashlib.sha512(self.private.private_bytes_raw()).digest()[:32]  # RFC 8032, section 5.1.5
        try:
            return _HPKE.decrypt(sealed, X25519PrivateKey.from_private_bytes(scalar), info)
        except (InvalidTag, ValueError):
            raise BadStatement("this does not open", f"it was not sealed to {self.public.fingerprint}") from None


_WANTED = "give a line like 'ssh-ed25519 AAAA... name', from 'tenth key new NAME' or 'ssh-keygen -t ed25519'"
MAKE = "make one with 'tenth key new NAME' or 'ssh-keygen -t ed25519'"
