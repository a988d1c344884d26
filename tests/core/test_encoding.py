"""Do canonical JSON, base64 and envelopes have one spelling each, and is every other spelling refused?"""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth.encoding import (
    b64,
    canonical,
    decode,
    digest,
    digest_file,
    envelope,
    open_envelope,
    pae,
    parse,
    unb64,
    write_durably,
)
from tenth.errors import BadEncoding

EXACT = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-EXACT, EXACT) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)

# RFC 8785, appendix B.
NUMBER_VECTORS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), NUMBER_VECTORS)
def test_numbers_are_printed_as_in_rfc_8785(bits: str, text: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical(value) == text.encode()
    assert decode(text.encode()) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), {1: 2}, object(), "\ud800"])
def test_what_cannot_be_written_is_refused(value: Any) -> None:
    with pytest.raises(BadEncoding):
        canonical(value)


def test_the_example_of_rfc_8785() -> None:
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": text,
        "literals": [None, True, False],
    }
    wanted = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(value) == wanted.encode()


def test_keys_are_sorted_by_utf_16_as_in_rfc_8785() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(canonical(dict.fromkeys(keys, 0)))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


@given(VALUES)
def test_what_was_written_reads_the_same(value: Any) -> None:
    data = canonical(value)
    assert decode(data) == value
    assert canonical(decode(data)) == data


@given(VALUES)
def test_any_other_spelling_is_refused(value: Any) -> None:
    data = canonical(value)
    for other in (json.dumps(value, indent=1), json.dumps(value), json.dumps(value, ensure_ascii=False)):
        if other.encode() != data:
            with pytest.raises(BadEncoding):
                decode(other.encode())


@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE+-\\ \nauntrlfsb\x00é', max_size=40).map(str.encode)
)
def test_bytes_are_canonical_or_refused(data: bytes) -> None:
    for reader in (decode, parse):
        try:
            value = reader(data)
        except BadEncoding:
            continue
        if reader is decode:
            assert canonical(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b" 1",
        b"1.0",
        b"1e0",
        b"-0",
        b"01",
        b"9007199254740993",
        b"1" + b"0" * 400,
        b"1" * 5000,
        b"1e400",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\ud800"',
        b'"\\ud83d\\ude00"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\x01"',
        b'"\\u001F"',
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900 + b" ",
        b"",
        b"null null",
    ],
)
def test_bytes_that_say_it_otherwise_are_refused(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        decode(data)


@pytest.mark.parametrize("data", [b"NaN", b'{"a":Infinity}', b"[" * 100_000, b"\xff", b"", b"{", b"1" * 5000])
def test_a_wire_is_read_loosely_but_not_carelessly(data: bytes) -> None:
    with pytest.raises(BadEncoding):
        parse(data)


# DSSE v1, protocol.md.
@pytest.mark.parametrize(
    ("payload", "kind", "wanted"),
    [
        (b"hello world", "http://example.com/HelloWorld", b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"),
        (b"", "a", b"DSSEv1 1 a 0 "),
        (b"\xe2\x80\x94", "t", b"DSSEv1 1 t 3 \xe2\x80\x94"),
    ],
)
def test_the_bytes_that_are_signed(payload: bytes, kind: str, wanted: bytes) -> None:
    assert pae(payload, kind) == wanted


GOOD = envelope(b"{}", "SHA256:x", b"s" * 64)


def test_an_envelope_opens() -> None:
    assert open_envelope(GOOD) == (b"{}", b"s" * 64)
    assert open_envelope(json.loads(json.dumps(GOOD))) == (b"{}", b"s" * 64)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        {**GOOD, "more": 1},
        {name: part for name, part in GOOD.items() if name != "payload"},
        {**GOOD, "payload": "e30"},
        {**GOOD, "payload": "e30=\n"},
        {**GOOD, "payload": "e31="},
        {**GOOD, "payload": 7},
        {**GOOD, "payload": ["e30="]},
        {**GOOD, "payload": "é"},
        {**GOOD, "payloadType": "text/plain"},
        {**GOOD, "payloadType": {}},
        {**GOOD, "signatures": []},
        {**GOOD, "signatures": GOOD["signatures"] * 2},
        {**GOOD, "signatures": {}},
        {**GOOD, "signatures": [None]},
        {**GOOD, "signatures": [{"sig": "eA=="}]},
        {**GOOD, "signatures": [{"sig": "eA==", "keyid": 1}]},
        {**GOOD, "signatures": [{"sig": None, "keyid": ""}]},
        {**GOOD, "signatures": [{"sig": "eA==", "keyid": "", "cert": ""}]},
    ],
)
def test_what_is_not_quite_an_envelope_is_refused(value: Any) -> None:
    with pytest.raises(BadEncoding):
        open_envelope(value)


@given(st.binary(max_size=100))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = b64(data)
    assert unb64(text) == data
    for other in (text.rstrip("="), text + "\n", text + "=", " " + text, text.replace("+", "-").replace("/", "_")):
        if other != text:
            with pytest.raises(BadEncoding):
                unb64(other)


def test_a_file_is_old_or_new_never_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dossier.json"
    write_durably(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space"):
                write_durably(path, b"new")
        assert path.read_bytes() == b"old"
        assert {one.name for one in tmp_path.iterdir()} <= {"dossier.json", ".dossier.json.tmp"}
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert digest_file(path) == digest(b"new")


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        write_durably(tmp_path / "a", b"x")
    assert not (tmp_path / "elsewhere").exists()
