"""Who may ask, and from where: sign-in, roles, hosts, origins, frames, and the policy in every answer."""

from __future__ import annotations

import datetime
import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.live import Live, wait_for
from web.served import FORM, Client, Served, free_ports


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server over one run that nobody holds, for all that only asks."""
    folder = tmp_path_factory.mktemp("trust")
    run = Live(folder / "run").begin()
    one = Served(run.path.parent, folder / "home").start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def run(served: Served) -> str:
    return next(path.name for path in served.runs.iterdir())


def fresh(served: Served, name: str) -> Client:
    client = Client(served)
    assert client.sign_in(served.link(name)) == 303
    return client


def test_nobody_sees_anything_before_signing_in(served: Served, run: str) -> None:
    stranger = Client(served)
    for path in ("/", f"/r/{run}", f"/r/{run}/gate", f"/api/r/{run}/samples", "/events"):
        assert stranger.ask("GET", path)[0] == 401
    assert stranger.ask("GET", f"/cord/{run}/alive", base=served.cord)[0] == 401
    assert stranger.ask("POST", f"/cord/{run}/pull", base=served.cord)[0] == 401
    assert b"You are not signed in" in stranger.ask("GET", "/", Accept="text/html")[2]


def test_a_link_serves_once_and_cannot_be_made_up(served: Served) -> None:
    link = served.link("ada")
    assert Client(served).sign_in(link) == 303
    assert Client(served).sign_in(link) == 403
    text, _, mac = served.link("rea=reader").partition("key=")[2].partition(".")
    for forged in (f"{text}.{'0' * 64}", f"{text[:-4]}AAAA.{mac}", f"{text}", f".{mac}", "A.B", "é.é"):
        assert Client(served).ask("POST", "/sign-in", f"key={forged}".encode(), **{"Content-Type": FORM})[0] == 403
    # looking at a link, as a mail scanner does, does not use it up
    link = served.link("ada")
    assert Client(served).ask("GET", link.removeprefix(served.origin))[0] == 200
    assert Client(served).sign_in(link) == 303


def test_a_session_is_no_link_and_a_link_no_session(served: Served) -> None:
    ada = fresh(served, "ada")
    value = ada.cookie.partition("=")[2]
    assert Client(served).ask("POST", "/sign-in", f"key={value}".encode(), **{"Content-Type": FORM})[0] == 403
    sneaky = Client(served)
    sneaky.cookie = f"tenth_session={served.link('ada').partition('key=')[2]}"
    assert sneaky.ask("GET", "/")[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:{port}", "localhost", "localhost:1", "localhost.evil.example:{port}"]
)
def test_another_name_for_this_address_is_refused(served: Served, host: str) -> None:
    """Rebinding: a site points its own name at this machine, and its pages are then of the same origin."""
    ada = fresh(served, "ada")
    assert ada.ask("GET", "/", Host=host.format(port=served.port))[0] == 421
    assert ada.ask("GET", "/cord/x/alive", base=served.cord, Host=host.format(port=served.port + 1))[0] == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null", ""])
def test_a_page_of_another_site_changes_nothing(served: Served, run: str, origin: str) -> None:
    ada = fresh(served, "ada")
    asked = {"Origin": origin}
    assert ada.ask("POST", f"/cord/{run}/pull", base=served.cord, **asked)[0] == 403
    assert ada.ask("POST", f"/api/r/{run}/pull", **asked)[0] == 403
    assert ada.json("POST", f"/api/r/{run}/submit", {"envelope": {}}, **asked)[0] == 403
    if origin:
        assert ada.ask("GET", f"/api/r/{run}/samples", **asked)[0] == 403


def test_a_form_cannot_hand_in_a_statement(served: Served, run: str) -> None:
    ada = fresh(served, "ada")
    assert ada.ask("POST", f"/api/r/{run}/submit", b'{"envelope":{}}', **{"Content-Type": "text/plain"})[0] == 409


def test_roles(served: Served, run: str) -> None:
    rea, lin, ada = (fresh(served, name) for name in ("rea=reader", "lin=watcher", "ada=signatory"))
    assert rea.ask("GET", f"/r/{run}")[0] == lin.ask("GET", f"/r/{run}/log")[0] == 200
    assert rea.ask("POST", f"/cord/{run}/pull", base=served.cord)[0] == 403
    assert rea.json("POST", f"/api/r/{run}/pull", {})[0] == 403
    assert rea.json("POST", f"/api/r/{run}/reviews", {})[0] == 403
    assert lin.json("POST", f"/api/r/{run}/submit", {})[0] == 403
    assert lin.ask("POST", f"/cord/{run}/pull", base=served.cord)[0] == 200  # nobody holds the run: nothing to stop
    status, said = ada.json("POST", f"/api/r/{run}/submit", {"envelope": {}})
    assert status == 409
    assert "signed envelope" in said["error"]["refused"]  # a signatory may submit; this is nothing to submit


def test_the_policy_is_in_every_answer(served: Served, run: str) -> None:
    ada = fresh(served, "ada")
    answers = [ada.ask("GET", path) for path in ("/", f"/r/{run}", "/nothing", f"/api/r/{run}/samples", "/r/none")]
    answers += [Client(served).ask("GET", "/"), ada.ask("GET", f"/cord/{run}/alive", base=served.cord)]
    for _, headers, _ in answers:
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"


def test_only_the_pages_may_read_what_the_cord_says(served: Served, run: str) -> None:
    ada = fresh(served, "ada")
    _, headers, _ = ada.ask("GET", f"/cord/{run}/alive", base=served.cord)
    assert headers["access-control-allow-origin"] == served.origin
    assert headers["access-control-allow-credentials"] == "true"
    _, headers, _ = ada.ask("GET", f"/api/r/{run}/samples")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["..", "%2e%2e", ".", "..%2f..", "%00", "x/../../home"])
def test_no_name_leads_out_of_the_folder(served: Served, path: str) -> None:
    ada = fresh(served, "ada")
    for base, url in ((None, f"/r/{path}"), (None, f"/api/r/{path}/samples"), (served.cord, f"/cord/{path}/alive")):
        assert ada.ask("GET", url, base=base)[0] in (400, 404)
    assert ada.ask("GET", f"/static/{path}/style.css")[0] == 404


def test_a_cookie_cannot_be_read_by_scripts_or_sent_by_others(served: Served) -> None:
    key = served.link("ada").partition("key=")[2]
    _, headers, _ = Client(served).ask("POST", "/sign-in", f"key={key}".encode(), **{"Content-Type": FORM})
    assert {"HttpOnly", "SameSite=strict"} <= {part.strip() for part in headers["set-cookie"].split(";")}


def test_elsewhere_only_with_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-m", "tenth.cli", "serve", str(tmp_path / "runs"), "--bind", "0.0.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "without a certificate" in done.stderr


def test_elsewhere_pages_and_cord_speak_tls_alone(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    (tmp_path / "runs").mkdir()
    port = free_ports()
    words = ["serve", str(tmp_path / "runs"), "--bind", "0.0.0.0", "--port", str(port), "--json"]
    words += ["--tls-cert", str(certificate), "--tls-key", str(tmp_path / "key.pem")]
    env = {**os.environ, "TENTH_HOME": str(tmp_path / "home")}
    server = subprocess.Popen([sys.executable, "-m", "tenth.cli", *words], stdout=subprocess.PIPE, env=env)
    assert server.stdout is not None
    with server, server.stdout:
        try:
            assert json.loads(server.stdout.readline())["link"].startswith(f"https://localhost:{port}/")
            trusting = ssl.create_default_context(cafile=certificate)
            for one in (port, port + 1):
                asked = http.client.HTTPSConnection("localhost", one, timeout=10, context=trusting)
                wait_for(lambda asked=asked: answers(asked), "an answer over TLS")
                with pytest.raises((http.client.HTTPException, OSError)):
                    answers(http.client.HTTPConnection("localhost", one, timeout=10), patient=False)
        finally:
            server.terminate()


def answers(asked: http.client.HTTPConnection, *, patient: bool = True) -> bool:
    """A stranger is told to sign in."""
    try:
        asked.request("GET", "/")
        return asked.getresponse().status == 401
    except ConnectionRefusedError:
        if not patient:
            raise
        return False
    finally:
        asked.close()


def self_signed(folder: Path) -> Path:
    """A certificate for localhost, beside its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem, plain = ser.Encoding.PEM, ser.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, plain, ser.NoEncryption()))
    (folder / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    return folder / "certificate.pem"


def test_who_is_invited_has_a_name_and_a_role(tmp_path: Path) -> None:
    for words in ("Ada", "ada=root", "ada bo"):
        command = [sys.executable, "-m", "tenth.cli", "serve", str(tmp_path), "--invite", words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert "NAME" in done.stderr


def test_the_secret_is_for_its_owner_only(served: Served) -> None:
    assert (served.home / "web" / "secret").stat().st_mode & 0o077 == 0


def test_the_cord_ends_with_its_server(serve: Callable[..., Served], live: Callable[..., Live]) -> None:
    one = serve(live().begin())
    one.stop()
    client = Client(one)
    with pytest.raises(OSError):  # noqa: PT012 (it may end a moment later)
        for _ in range(100):
            client.ask("GET", "/cord/x/alive", base=one.cord)
