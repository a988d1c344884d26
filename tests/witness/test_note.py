"""Are notes, keys and cosignatures what their specifications say, and is everything else refused?"""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth.errors import BadEncoding, BadKey, BadStatement, WrongInput
from tenth.keys import PublicKey, SigningKey
from tenth.witness.note import (
    LAST_TIME,
    LOG,
    MOST_BYTES,
    WITNESS,
    Checkpoint,
    NamedKey,
    cosign,
    signature_line,
)
from tenth.witness.request import MOST_PROOF, MOST_REQUEST_BYTES, Request
from witness.logs import KEY, NOW, WIM, History

LOGS = History(20)
NAMED = NamedKey("wim", WITNESS, WIM.public)

# The example of C2SP tlog-cosignature, and of tlog-witness: their keys are not published, their layout is.
EXAMPLE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 \
jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
REQUEST = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

"""
# A key of a public witness, as it was published: its id is the hash of its name, kind and key.
PUBLISHED = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def test_the_published_checkpoint_is_read() -> None:
    head = Checkpoint.parse(EXAMPLE.encode())
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert head.text.decode() == "".join(line + "\n" for line in EXAMPLE.splitlines()[:3])
    (log, first), (witness, second) = head.signatures
    assert (log, len(first), witness, len(second)) == ("example.com/behind-the-sofa", 68, "witness.example.com/w1", 76)
    assert int.from_bytes(second[4:12]) == 1679315147, "the time that the specification gives"


def test_the_published_request_is_read() -> None:
    request = Request.parse((REQUEST + EXAMPLE).encode())
    assert (request.old, len(request.proof), request.checkpoint.size) == (20852014, 4, 20852163)
    assert request.note.decode() == EXAMPLE


def test_a_published_key_is_read() -> None:
    found = NamedKey.parse(PUBLISHED)
    assert (found.name, found.kind, found.id.hex(), found.line) == ("remora.n621.de", WITNESS, "da77ade7", PUBLISHED)


def test_a_cosignature_is_made_as_specified() -> None:
    """Byte by byte, with nothing of the code that is tested."""
    text = LOGS.head(8).text
    dash, name, encoded = cosign(text, "wim", WIM, NOW).decode().removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", "wim")
    data = base64.b64decode(encoded, validate=True)
    assert data[:4] == sha256(b"wim\n\x04" + WIM.public.raw).digest()[:4]
    assert data[4:12] == NOW.to_bytes(8, "big")
    WIM.public.verify(data[12:], b"cosignature/v1\ntime %d\n" % NOW + text)


def test_a_cosignature_says_when() -> None:
    note = LOGS.head(8).note + cosign(LOGS.head(8).text, "wim", WIM, NOW)
    head = Checkpoint.parse(note)
    assert head.cosigned_at(NAMED) == NOW
    assert head.signed_by(LOGS.named)
    assert head.cosigned_at(NamedKey("wilma", WITNESS, WIM.public)) is None
    assert head.cosigned_at(NamedKey("wim", WITNESS, KEY.public)) is None, "another key has another id"
    assert head.cosigned_at(NamedKey("wim", LOG, WIM.public)) is None, "a log's signature is no cosignature"


@pytest.mark.parametrize("part", range(76))
def test_a_changed_byte_of_a_cosignature_is_refused(part: int) -> None:
    """Of its id: it is another key's, and ignored. Of its time and signature: it is forged."""
    text = LOGS.head(8).text
    data = bytearray(base64.b64decode(cosign(text, "wim", WIM, NOW).split()[-1]))
    data[part] ^= 1
    head = Checkpoint.parse(text + b"\n" + signature_line("wim", bytes(data)))
    if part < 4:
        assert head.cosigned_at(NAMED) is None
        return
    with pytest.raises(BadStatement):
        head.cosigned_at(NAMED)


def test_a_cosignature_of_another_head_or_length_is_forged() -> None:
    other = cosign(LOGS.head(9).text, "wim", WIM, NOW)
    with pytest.raises(BadStatement):
        Checkpoint.parse(LOGS.head(8).note + other).cosigned_at(NAMED)
    signed = NAMED.id + LOG.to_bytes(8) + WIM.sign(b"cosignature/v1\ntime 1\n" + LOGS.head(8).text)
    for wrong in (signed[:-1], signed + b"\0", signed[:12]):
        with pytest.raises(BadStatement):
            Checkpoint.parse(LOGS.head(8).note + signature_line("wim", wrong)).cosigned_at(NAMED)


def test_a_time_that_no_calendar_has_is_refused() -> None:
    text = LOGS.head(8).text
    assert Checkpoint.parse(text + b"\n" + cosign(text, "wim", WIM, LAST_TIME)).cosigned_at(NAMED) == LAST_TIME
    for when in (LAST_TIME + 1, 1 << 63, (1 << 64) - 1):
        with pytest.raises(BadStatement):
            Checkpoint.parse(text + b"\n" + cosign(text, "wim", WIM, when)).cosigned_at(NAMED)


def test_a_consent_is_no_cosignature() -> None:
    """One key may do both: what it signs begins differently."""
    from tenth.encoding import pae

    text = LOGS.head(8).text
    signed = NAMED.id + NOW.to_bytes(8) + WIM.sign(pae(text))
    with pytest.raises(BadStatement):
        Checkpoint.parse(text + b"\n" + signature_line("wim", signed)).cosigned_at(NAMED)


GOOD = LOGS.head(8).note.decode()
WRONG_NOTES = {
    "empty": "",
    "no signature": GOOD.rpartition("\u2014")[0],
    "no empty line": GOOD.replace("\n\n", "\n"),
    "no line feed at the end": GOOD[:-1],
    "text after it": GOOD + "x\n",
    "an empty line after it": GOOD + "\n",
    "a carriage return": GOOD.replace("\n8\n", "\n8\r\n"),
    "a leading zero": GOOD.replace("\n8\n", "\n08\n"),
    "a sign": GOOD.replace("\n8\n", "\n+8\n"),
    "a negative size": GOOD.replace("\n8\n", "\n-8\n"),
    "a size beyond every tree": GOOD.replace("\n8\n", "\n" + "9" * 16 + "\n"),
    "another alphabet's digit": GOOD.replace("\n8\n", "\n\u0668\n"),
    "no origin": "\n" + GOOD.partition("\n")[2],
    "a short root": GOOD.replace(GOOD.split("\n")[2], base64.b64encode(bytes(31)).decode()),
    "a root spelt otherwise": GOOD.replace(GOOD.split("\n")[2], GOOD.split("\n")[2].rstrip("=")),
    "a hyphen for the dash": GOOD.replace("\u2014", "-"),
    "a name with a plus": GOOD.replace("\u2014 tenth/", "\u2014 tenth+"),
    "a signature without a name": GOOD.rpartition("\u2014")[0] + "\u2014  " + GOOD.split(" ")[-1],
    "a signature that is too short": GOOD.rpartition(" ")[0] + " AAAA\n",
    "an escape": GOOD.replace("tenth/", "tenth/\x1b[31m"),
    "too long": GOOD.removesuffix("\n")
    + ("\n" + GOOD.rpartition("\n\u2014")[2].join(["\u2014", ""]).strip()) * 300
    + "\n",
}


@pytest.mark.parametrize("what", WRONG_NOTES)
def test_what_is_not_quite_a_note_is_refused(what: str) -> None:
    with pytest.raises(BadEncoding):
        Checkpoint.parse(WRONG_NOTES[what].encode())
    assert Checkpoint.parse(GOOD.encode()).size == 8


def test_lines_that_others_add_are_signed_with_the_rest() -> None:
    """Other logs may have extension lines: a cosignature covers them."""
    text = LOGS.head(8).text + b"extension\n"
    head = Checkpoint.parse(text + b"\n" + cosign(text, "wim", WIM, NOW))
    assert head.cosigned_at(NAMED) == NOW
    shorter = Checkpoint(LOGS.head(8).text, head.origin, head.size, head.root, head.signatures)
    with pytest.raises(BadStatement):
        shorter.cosigned_at(NAMED)


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    for read in (Checkpoint.parse, Request.parse):
        with pytest.raises(BadEncoding):
            read(data)


@given(st.integers(0, len(GOOD.encode()) - 1), st.integers(0, 255))
def test_a_changed_byte_of_a_note_is_refused_or_not_signed(at: int, new: int) -> None:
    data = bytearray(GOOD.encode())
    same, data[at] = data[at] == new, new
    try:
        head = Checkpoint.parse(bytes(data))
        assert head.signed_by(LOGS.named) is same
    except WrongInput:
        assert not same


@pytest.mark.parametrize(
    "line",
    [
        "",
        "wim",
        "wim+00000000",
        PUBLISHED.replace("da77ade7", "00000000"),
        PUBLISHED.replace("remora", "remorb"),
        PUBLISHED[:-4],
        PUBLISHED + "AAAA",
        "a b+" + PUBLISHED.partition("+")[2],
        "+" + PUBLISHED.partition("+")[2],
        NamedKey("x", 6, WIM.public).line,
        PUBLISHED.replace("+BOvN", "+!OvN"),
    ],
)
def test_what_is_not_quite_a_key_is_refused(line: str) -> None:
    with pytest.raises(BadKey):
        NamedKey.parse(line)


def test_a_request_reads_as_it_was_written() -> None:
    for size in range(1, 20):
        for old in range(size + 1):
            request = LOGS.request(old, size)
            assert (request.old, request.checkpoint.size, request.checkpoint.root) == (old, size, LOGS.head(size).root)
            assert request.note == LOGS.head(size).note


def test_a_request_has_limits() -> None:
    line = base64.b64encode(bytes(32)).decode() + "\n"
    most = "old 5\n" + line * MOST_PROOF + "\n" + GOOD
    assert len(Request.parse(most.encode()).proof) == MOST_PROOF
    for wrong in (
        "old 5\n" + line * (MOST_PROOF + 1) + "\n" + GOOD,
        "old 05\n\n" + GOOD,
        "old -1\n\n" + GOOD,
        "old  5\n\n" + GOOD,
        "new 5\n\n" + GOOD,
        "old 5\n" + GOOD,
        "old 5\nAAAA\n\n" + GOOD,
        "old 5\n" + line.rstrip("=\n") + "\n\n" + GOOD,
        "old 5\n\n\n" + GOOD,
        "old 5\n\n" + "x" * MOST_REQUEST_BYTES,
    ):
        with pytest.raises(BadEncoding):
            Request.parse(wrong.encode())
    assert MOST_BYTES + MOST_PROOF * len(line) < MOST_REQUEST_BYTES


def test_an_ed25519_key_of_thirty_two_bytes_is_needed() -> None:
    assert len(SigningKey.generate().public.raw) == 32
    short = NamedKey("x", WITNESS, PublicKey(bytes(31)))
    with pytest.raises(BadKey):
        NamedKey.parse(short.line)
