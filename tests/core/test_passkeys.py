"""Passkeys as signatories: what an authenticator signs is what counts, for both verifiers, and nothing near it does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import verify_run
from core.live import Live
from tenth import charter
from tenth.encoding import b64, envelope, pae
from tenth.errors import BadCharter, BadKey, BadStatement
from tenth.gate import statement
from tenth.keys import PublicKey, SigningKey

KIND = "sk-ecdsa-sha2-nistp256@openssh.com"
UP, UV = 1, 4
Change = dict[str, Any]


@dataclass
class Authenticator:
    """A passkey in a person's device, and the browser in front of it."""

    site: str = "localhost"
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def line(self) -> str:
        point = self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        parts = (KIND.encode(), b"nistp256", point, self.site.encode())
        return f"{KIND} {b64(b''.join(len(part).to_bytes(4) + part for part in parts))}"

    @property
    def public(self) -> PublicKey:
        return PublicKey.of_person(self.line)

    def sign(
        self, message: bytes, *, flags: int = UP | UV, site: str | None = None, origin: str = "http://localhost:8710",
        kind: str = "webauthn.get", more: str = ',"crossOrigin":false', challenge: bytes | None = None,
        extra: bytes = b"",
    ) -> bytes:  # fmt: skip
        digest = hashlib.sha256(message).digest() if challenge is None else challenge
        asked = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        client = f'{{"type":"{kind}","challenge":"{asked}","origin":"{origin}"{more}}}'.encode()
        site = self.site if site is None else site
        ours = hashlib.sha256(site.encode()).digest() + bytes([flags]) + bytes(4) + extra
        der = self.private.sign(ours + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(der)
        return ours + r.to_bytes(32) + s.to_bytes(32) + client


def both(line: str, signature: bytes, message: bytes) -> bool:
    """What both verifiers say, which must be the same."""
    try:
        PublicKey.of_person(line).verify(signature, message)
        first = True
    except BadStatement:
        first = False
    assert verify_run.signature_holds(verify_run.parse_persons_key(line), signature, message) is first
    return first


def test_what_an_authenticator_signs_counts() -> None:
    one = Authenticator()
    assert both(one.line, one.sign(b"message"), b"message")
    assert both(one.line, one.sign(b"message", origin="http://localhost"), b"message")
    assert both(one.line, one.sign(b"message", more=""), b"message")
    assert both(one.line, one.sign(b"message", more=',"crossOrigin":false,"other":"x"'), b"message")
    assert both(one.line, one.sign(b"message", flags=UP | UV | 0x18), b"message")  # backed up: the device's own affair
    far = Authenticator("tenth.example.org")
    for origin in ("https://tenth.example.org", "https://tenth.example.org:8710", "https://a.tenth.example.org"):
        assert both(far.line, far.sign(b"message", origin=origin), b"message")


@pytest.mark.parametrize(
    "change",
    [
        {"flags": UP}, {"flags": UV}, {"flags": 0}, {"flags": UP | UV | 0x40}, {"flags": UP | UV | 0x80},
        {"site": "evil.example"}, {"site": ""}, {"kind": "webauthn.create"}, {"challenge": bytes(32)},
        {"challenge": b""},
        {"origin": "https://evil.example"}, {"origin": "http://evil.localhost.example"}, {"origin": "null"},
        {"origin": "https://notlocalhost"}, {"origin": "http://a.localhost"},
        {"origin": "https://evil.example/.localhost"},
        {"origin": "HTTPS://localhost"}, {"origin": "https://localhost:999999"}, {"origin": "file://localhost"},
        {"origin": "https://localhost@evil.example"}, {"more": ',"crossOrigin":true'}, {"more": ' '},
        {"extra": b"\xa0"},
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_near_it_does(change: Change) -> None:
    one = Authenticator()
    assert not both(one.line, one.sign(b"message", **change), b"message")


def test_a_changed_byte_anywhere_voids_it() -> None:
    one = Authenticator()
    signature = one.sign(b"message")
    assert not both(one.line, signature, b"massage")
    assert not both(Authenticator().line, signature, b"message")
    for place in range(len(signature)):
        changed = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        assert not both(one.line, changed, b"message"), f"byte {place}"
    for length in (0, 31, 32, 37, 100, 101, 150):
        assert not both(one.line, signature[:length], b"message")


def test_a_key_files_signature_is_none_of_a_passkey_and_the_other_way() -> None:
    one, file = Authenticator(), SigningKey.generate()
    assert not both(one.line, file.sign(b"message"), b"message")
    assert not both(file.public.line, one.sign(b"message"), b"message")


def test_its_line_is_openssh_s_and_nobody_elses() -> None:
    one = Authenticator("tenth.example.org")
    assert one.public.line == one.line
    assert one.public.site == "tenth.example.org"
    assert PublicKey.of_person(one.line + " ada") == one.public
    assert one.public != Authenticator("tenth.example.org").public
    assert PublicKey.of_person(SigningKey.generate().public.line).site == ""
    with pytest.raises(BadKey):
        PublicKey.parse(one.line)  # no log, no witness and no escrow has a passkey


def spoilt() -> list[str]:
    """Lines that are near a passkey's."""
    blob = base64.b64decode(Authenticator().line.split(" ")[1])
    blobs = [
        blob[:-1],
        blob + b"\0",
        blob[:54] + b"\x05" + blob[55:],
        blob[:54] + bytes(65) + blob[119:],
        b"",
        blob[:60],
    ]
    blobs += [
        blob[:119] + len(site).to_bytes(4) + site for site in (b"", b"a/b", b"A", b"a..b", b"\xff", b".a", b"a" * 64)
    ]
    return [f"{KIND} {b64(one)}" for one in blobs] + [KIND, f"{KIND} ", f"{KIND} !", f" {Authenticator().line}"]


@pytest.mark.parametrize("line", spoilt())
def test_a_line_that_is_near_one_is_refused_by_both(line: str) -> None:
    with pytest.raises(BadKey):
        PublicKey.of_person(line)
    with pytest.raises((ValueError, IndexError, verify_run.Broken)):
        verify_run.parse_persons_key(line)


def test_where_checkpoints_are_sealed_nobody_has_a_passkey(live: Callable[..., Live]) -> None:
    text = live().charter()
    line = next(line for line in text.splitlines() if line.endswith(' ada"'))
    sealed = text.replace(line, f'key = "{Authenticator().line} ada"') + "[seal]\ncheckpoints = true\n"
    with pytest.raises(BadCharter, match="opens nothing"):
        charter.parse(sealed.encode())
    with pytest.raises(ValueError, match="opens no share"):
        verify_run.parse_charter(sealed.encode())
    assert charter.parse(sealed.replace("= true", "= false").encode()).signatories["ada"].site == "localhost"


def test_a_run_whose_signatory_has_a_passkey(live: Callable[..., Live]) -> None:
    """It consents like anybody else, both verifiers agree, and a forged consent is refused."""
    run, ada = live(), Authenticator()
    of_a_file = run.charter()
    line = next(line for line in of_a_file.splitlines() if line.endswith(' ada"'))
    run.charter = lambda: of_a_file.replace(line, f'key = "{ada.line} ada"')  # type: ignore[method-assign]
    run.start()
    status = run.until("GATE")
    facts = {"run": run.name, "signatory": "ada", "anchor": status["anchor"], "time": "2026-11-21T00:00:00.000Z"}
    payload = statement.draft("consented", **facts, subjects=statement.subjects_of(status["dossier"], run.dossier()))

    for change in ({"flags": UP}, {"origin": "https://evil.example"}, {"challenge": bytes(32)}):
        answer = run.submit(envelope(payload, "", ada.sign(pae(payload), **change)))
        assert not answer["ok"]
        assert "does not verify" in answer["error"]["refused"]
    assert run.submit(envelope(payload, ada.public.fingerprint, ada.sign(pae(payload))))["ok"]
    run.consent("bob")
    run.until("GATE", gate=1)
    assert json.loads((run.path / "gates" / "00" / "consents" / "ada.json").read_bytes())["signatures"][0]["sig"]
