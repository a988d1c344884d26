"""Bytes that everyone agrees on: canonical JSON (RFC 8785), SHA-256 digests, envelopes (DSSE v1), durable files.

Formats: docs/formats.md, sections 1, 2 and 4. Reading is strict: bytes that are not the canonical form of what they say
are refused, so two readers can never see two things in one file.
"""

from __future__ import annotations

import binascii
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import rfc8785

from tenth.errors import BadEncoding

EXACT = 2**53 - 1
"""Largest integer that every JSON reader keeps exact (RFC 7493, section 2.2)."""

MAX_DEPTH = 32
HASH_CHUNK = 4 << 20


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of ``value``. Refuses NaN, infinities and integers beyond 2^53 - 1."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, UnicodeEncodeError) as error:
        raise BadEncoding("this value cannot be written", f"{type(error).__name__}: {error}") from None


def _integer(literal: str) -> int | float:
    value = int(literal)  # Python itself refuses thousands of digits
    return value if -EXACT <= value <= EXACT else _double(literal)


def _double(literal: str) -> float:
    """The number that ``literal`` is ECMAScript's spelling of; refuses any other spelling."""
    value = float(literal)
    spelt = repr(value)
    if "e" in spelt and 1e-6 <= abs(value) < 1e21:
        spelt = format(Decimal(spelt), "f")  # Python's exponents begin earlier
    if (spelt != literal or spelt.endswith(".0")) and rfc8785.dumps(value).decode() != literal:
        raise ValueError(f"number {literal[:40]} is not in canonical form")
    return value


def _constant(literal: str) -> float:
    raise ValueError(f"{literal} is not JSON")


_STRICT = json.JSONDecoder(parse_int=_integer, parse_float=_double, parse_constant=_constant)
_LOOSE = json.JSONDecoder(parse_constant=_constant)
_BOUNDED = json.JSONDecoder(parse_int=_integer)
_FAST = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False
)
_ODD = ("e+", "e-", ".0,", ".0}", ".0]")
"""Without these inside an object or array, Python spells every double as RFC 8785 does."""
_LONG = re.compile(r"[:,[-](?:9\d{15}|\d{17})")
"""An integer that may lie beyond EXACT."""


def _plain(value: Any, left: int = MAX_DEPTH) -> Any:
    """Integers beyond 2^53 - 1 as the doubles that they are (RFC 8785, section 3.2.2.3). Refuses deep nesting."""
    if not left:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {name: _plain(inner, left - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, left - 1) for inner in value]
    return float(value) if type(value) is int and not -EXACT <= value <= EXACT else value


def decode(data: bytes, what: str = "this") -> Any:
    """Parse canonical JSON; refuse bytes whose canonical form is different (duplicate keys included)."""
    try:
        text = data.decode()
        same = False
        if text.isascii() and text[:1] in ("{", "[") and not any(odd in text for odd in _ODD):
            value, _ = _LOOSE.raw_decode(text)
            same = _FAST.encode(value) == text  # the standard encoder differs from RFC 8785 in numbers only
        if not same:
            value = _STRICT.decode(text)
            same = rfc8785.dumps(value) == data
        elif _LONG.search(text):
            value = _BOUNDED.decode(text)
        if text.count("{") + text.count("[") >= MAX_DEPTH:
            _plain(value)
    except (ValueError, RecursionError, OverflowError, rfc8785.CanonicalizationError) as error:
        raise BadEncoding(f"{what} is not canonical JSON", str(error)[:200]) from None
    if not same:
        raise BadEncoding(f"{what} is not canonical JSON", "its canonical form has other bytes")
    return value


def parse(data: bytes, what: str = "this") -> Any:
    """Parse any JSON that came over a wire: UTF-8, no NaN, at most MAX_DEPTH levels deep."""
    try:
        return _plain(_LOOSE.decode(data.decode()))
    except (ValueError, RecursionError, OverflowError) as error:
        raise BadEncoding(f"{what} is not JSON", str(error)[:200]) from None


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file: no link is followed, and no FIFO or device can keep the reader waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        return file.readall()


def digest(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> Iterator[tuple[str, int] | None]:
    """Yield None while hashing, chunk by chunk, and at the end ``(digest, size in bytes)``.

    A generator, so that the supervisor's one loop can hear the cord while it hashes.
    """
    total, state = 0, hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(HASH_CHUNK):
            state.update(chunk)
            total += len(chunk)
            yield None
    yield state.hexdigest(), total


def digest_file(path: Path) -> str:
    """SHA-256 of a plain file that fits into memory."""
    return digest(read_plain(path))


def is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and not set(text) - set("0123456789abcdef")


def b64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()


def unb64(text: Any, what: str = "this") -> bytes:
    """Standard base64, padded, and spelled the one way that encoding it again gives back."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, TypeError, ValueError):
        raise BadEncoding(f"{what} is not base64", repr(text)[:80]) from None
    if b64(data) != text:
        raise BadEncoding(f"{what} is not canonical base64", repr(text)[:80])
    return data


PAYLOAD_TYPE = "application/vnd.in-toto+json"


def pae(payload: bytes, kind: str = PAYLOAD_TYPE) -> bytes:
    """DSSE v1 pre-authentication encoding: the bytes that are signed."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def envelope(payload: bytes, keyid: str, signature: bytes) -> dict[str, Any]:
    """A DSSE envelope with one signature."""
    return {
        "payload": b64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": b64(signature)}],
    }


def open_envelope(value: Any) -> tuple[bytes, bytes]:
    """``(payload, signature)`` of an envelope that is just what ``envelope`` makes of them."""
    try:
        (one,) = value["signatures"]
        payload, signature = unb64(value["payload"]), unb64(one["sig"])
        sound = envelope(payload, one["keyid"], signature) == value and isinstance(one["keyid"], str)
    except (KeyError, TypeError, ValueError, BadEncoding):
        sound = False
    if not sound:
        raise BadEncoding("this is not a signed envelope", repr(value)[:120], "DSSE: docs/formats.md, section 4")
    return payload, signature


def write_all(file: int, data: bytes) -> None:
    """All of it, however little the system takes at a time."""
    while data:
        data = data[os.write(file, data) :]


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Temp file, fsync, rename, fsync of the folder: after a crash the file is old or new, never half (promise 8)."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and new names in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
