"""Do existing SSH keys work, and is everything else refused in words?"""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tenth import keyfile
from tenth.errors import BadKey, BadStatement
from tenth.keyfile import NeedsPassphrase
from tenth.keys import PublicKey, SigningKey

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def ssh_keygen(path: Path, kind: str, *options: str, passphrase: str = "") -> Path:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "ada@example", "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))
    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    key.public.verify(bytes.fromhex(signature), bytes.fromhex(message))


@needs_ssh_keygen
@pytest.mark.parametrize("passphrase", ["", "correct horse"])
def test_a_key_made_by_ssh_keygen_works(tmp_path: Path, passphrase: str) -> None:
    path = ssh_keygen(tmp_path / "id", "ed25519", passphrase=passphrase)
    key = keyfile.load(path, passphrase.encode() or None)
    public = PublicKey.parse((tmp_path / "id.pub").read_text())
    assert key.public == public
    listed = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True).stdout
    assert listed.split()[1] == public.fingerprint
    public.verify(key.sign(b"message"), b"message")


@needs_ssh_keygen
@pytest.mark.parametrize(("kind", "options"), [("rsa", ["-b", "2048"]), ("ecdsa", [])])
def test_other_kinds_of_keys_are_refused(tmp_path: Path, kind: str, options: list[str]) -> None:
    path = ssh_keygen(tmp_path / "id", kind, *options)
    with pytest.raises(BadKey, match="Ed25519"):
        keyfile.load(path)
    with pytest.raises(BadKey, match="Ed25519"):
        PublicKey.parse((tmp_path / "id.pub").read_text())


@needs_ssh_keygen
def test_a_key_made_here_is_one_for_ssh(tmp_path: Path) -> None:
    key = SigningKey.generate()
    keyfile.save(key, tmp_path / "ada", "ada")
    assert stat.S_IMODE((tmp_path / "ada").stat().st_mode) == 0o600
    command = ["ssh-keygen", "-y", "-f", str(tmp_path / "ada")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert PublicKey.parse(printed) == key.public
    assert (tmp_path / "ada.pub").read_text() == f"{key.public.line} ada\n"
    listed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "ada.pub")], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split()[1] == key.public.fingerprint


def test_a_locked_key_asks_for_its_passphrase(tmp_path: Path) -> None:
    key = SigningKey.generate()
    keyfile.save(key, tmp_path / "ada", passphrase=b"open sesame")
    with pytest.raises(NeedsPassphrase):
        keyfile.load(tmp_path / "ada")
    with pytest.raises(BadKey) as wrong:
        keyfile.load(tmp_path / "ada", b"open barley")
    assert not isinstance(wrong.value, NeedsPassphrase)
    assert keyfile.load(tmp_path / "ada", b"open sesame").public == key.public


def test_a_passphrase_for_a_key_without_one_is_an_error_in_words(tmp_path: Path) -> None:
    keyfile.save(SigningKey.generate(), tmp_path / "ada")
    with pytest.raises(BadKey):
        keyfile.load(tmp_path / "ada", b"x")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    first = SigningKey.generate()
    keyfile.save(first, tmp_path / "ada")
    with pytest.raises(BadKey, match="not overwritten"):
        keyfile.save(SigningKey.generate(), tmp_path / "ada")
    assert keyfile.load(tmp_path / "ada").public == first.public


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(BadKey):
        keyfile.load(tmp_path / "key")
    with pytest.raises(BadKey):
        keyfile.load(tmp_path / "absent")
    with pytest.raises(BadKey):
        keyfile.load(tmp_path)


@given(st.text(max_size=80) | st.text(max_size=60).map("ssh-ed25519 AAAA{}".format))
def test_a_line_is_a_key_or_refused(line: str) -> None:
    with pytest.raises(BadKey):
        PublicKey.parse(line)


def test_a_comment_does_not_make_another_key() -> None:
    key = SigningKey.generate().public
    assert PublicKey.parse(key.line + " ada@home") == PublicKey.parse("  " + key.line + "\n") == key


@given(st.integers(0, 511))
def test_one_flipped_bit_voids_a_signature(bit: int) -> None:
    key = SigningKey.generate()
    signature = bytearray(key.sign(b"message"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadStatement):
        key.public.verify(bytes(signature), b"message")


@pytest.mark.parametrize("signature", [b"", b"x", b"\0" * 64, b"\0" * 65])
def test_what_is_no_signature_does_not_verify(signature: bytes) -> None:
    with pytest.raises(BadStatement):
        SigningKey.generate().public.verify(signature, b"message")
