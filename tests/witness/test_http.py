"""Does a witness over HTTP keep to C2SP tlog-witness, whatever is sent to it, and to whom it answers?"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenth.keys import SigningKey
from tenth.witness import asking, serving
from tenth.witness.note import WITNESS, Checkpoint, NamedKey
from tenth.witness.request import MOST_REQUEST_BYTES
from tenth.witness.serving import Server
from witness.logs import NOW, WIM, History, witness

TRUE, FORK = History(40), History(40, at=10)
NAMED = NamedKey("wim", WITNESS, WIM.public)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), witness(tmp_path, TRUE)) as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.02,))
        thread.start()
        yield one
        one.shutdown()
        thread.join(10)


def port(server: Server) -> int:
    return int(server.server_address[1])


def post(server: Server, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=20)
    try:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def raw(server: Server, data: bytes, *, finish: bool = True) -> bytes:
    """Bytes as they are, and all that comes back; nothing if the line is cut."""
    with socket.create_connection(("127.0.0.1", port(server)), timeout=20) as sock:
        try:
            sock.sendall(data)
            if finish:
                sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))
        except OSError:
            return b""


def test_a_cosignature_comes_back(server: Server) -> None:
    status, _, line = post(server, TRUE.body(0, 12))
    assert status == 200
    assert Checkpoint.parse(TRUE.head(12).note + line).cosigned_at(NAMED) == NOW
    assert post(server, TRUE.body(12, 20))[0] == 200


def test_refusals_are_numbered_and_say_the_size(server: Server) -> None:
    assert post(server, TRUE.body(3, 12)) == (409, "text/x.tlog.size", b"0\n")
    assert post(server, TRUE.body(0, 12))[0] == 200
    assert post(server, TRUE.body(0, 20)) == (409, "text/x.tlog.size", b"12\n")
    assert post(server, FORK.body(12, 12)) == (409, "text/x.tlog.size", b"12\n")
    assert post(server, FORK.body(12, 20))[0] == 422
    assert post(server, History(5, run="other-00000000").body(0, 5))[0] == 404
    assert post(server, History(5, run="é" * 90).body(0, 5))[0] == 404
    assert post(server, History(5, key=SigningKey.generate()).body(0, 5))[0] == 403
    assert post(server, TRUE.body(12, 20), "/")[0] == 404
    assert post(server, TRUE.body(12, 20), "/add-checkpoint/more")[0] == 404
    assert post(server, TRUE.body(12, 20))[0] == 200


BAD = [
    b"",
    b"\n",
    b"old 0\n",
    b"old 0\n\n",
    b"old 00\n\n" + TRUE.head(3).note,
    b"old 0\r\n\r\n" + TRUE.head(3).note,
    TRUE.head(3).note,
    b"old 0\n" + b"A" * 40 + b"\n\n" + TRUE.head(3).note,
    b"\xff" * 500,
    b"old 0\n\n" + TRUE.head(3).note[:-1],
    b"old " + b"9" * 5000 + b"\n\n" + TRUE.head(3).note,
    b'{"old": 0}',
    b"old 9\n\n" + TRUE.head(3).note,
]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_a_malformed_body_is_a_bad_request(server: Server, body: bytes) -> None:
    assert post(server, body)[0] == 400
    assert post(server, TRUE.body(0, 12))[0] == 200


HEAD = b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD + b"\r\n", b"411"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b"411"),
        (HEAD + b"Content-Length: 1e3\r\n\r\n", b"411"),
        (HEAD + "Content-Length: ٣\r\n\r\n".encode(), b"411"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (MOST_REQUEST_BYTES + 1), b"413"),
        (HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", b"413"),
        (HEAD + b"X: y\r\n" * 300 + b"\r\n", b"431"),
        (b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /add-checkpoint HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_what_is_not_http_as_it_should_be_is_refused_unread(server: Server, sent: bytes, status: bytes) -> None:
    answer = raw(server, sent)
    assert status in answer.split(b"\r\n")[0] or (status == b"400" and b"400" in answer), answer[:100]
    assert b"<html" not in answer.lower()
    assert post(server, TRUE.body(0, 12))[0] == 200


def test_a_body_that_breaks_off_changes_nothing(server: Server) -> None:
    body = TRUE.body(0, 12)
    assert raw(server, HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-10]) == b""
    assert post(server, TRUE.body(0, 12))[0] == 200


def test_many_at_once_get_one_history(server: Server) -> None:
    said: list[tuple[int, bytes, int]] = []

    def ask(log: History, size: int) -> None:
        status, _, answer = post(server, log.body(0, size))
        said.append((status, answer, size))

    threads = [threading.Thread(target=ask, args=(log, size)) for size in range(5, 13) for log in (TRUE, FORK)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    won = [(answer, size) for status, answer, size in said if status == 200]
    sizes = {size for _, size in won}
    assert len(said) == 16
    assert len(sizes) == 1, "the first was cosigned; for the others their old size was wrong"
    assert {answer for status, answer, _ in said if status == 409} == {b"%d\n" % sizes.pop()}


def test_who_says_nothing_is_hung_up_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.Handler, "timeout", 0.2)
    began = time.monotonic()
    assert raw(server, HEAD + b"Content-Length: 500\r\n\r\nold", finish=False) == b""
    assert time.monotonic() - began < 10


def test_who_speaks_too_slowly_is_hung_up_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is not silence: a connection has an end all the same."""
    monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port(server)), timeout=20) as sock:
        sock.sendall(HEAD + b"Content-Length: 5000\r\n\r\n")
        began = time.monotonic()
        try:
            while time.monotonic() - began < 10:
                sock.sendall(b"x")
                time.sleep(0.02)
        except OSError:
            pass
        assert time.monotonic() - began < 10


def test_a_crowd_is_turned_away_and_then_served(server: Server) -> None:
    crowd = []
    try:
        for _ in range(serving.MOST_CONNECTIONS):
            crowd.append(socket.create_connection(("127.0.0.1", port(server)), timeout=20))
        deadline = time.monotonic() + 10
        while threading.active_count() < 2 * serving.MOST_CONNECTIONS and time.monotonic() < deadline:
            time.sleep(0.01)
        assert raw(server, HEAD + b"\r\n") == b"", "no room"
    finally:
        for sock in crowd:
            sock.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert post(server, TRUE.body(0, 12))[0] in (200, 409)
            return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    raise AssertionError("it serves nobody any more")


def test_a_fault_of_its_own_is_said_and_not_signed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(server, "say", said.append)
    with monkeypatch.context() as patch:
        patch.setattr(server.cosigner, "cosign", lambda _: 1 / 0)
        with pytest.raises(http.client.RemoteDisconnected):
            post(server, TRUE.body(0, 12))
    assert raw(server, HEAD + b"Content-Length: 500\r\n\r\nold") == b""
    assert said == ["a request was not answered: ZeroDivisionError: division by zero"]
    assert post(server, TRUE.body(0, 12))[0] == 200


def test_a_witness_that_cannot_remember_says_so_and_cosigns_nothing(server: Server) -> None:
    server.cosigner.memory.path(TRUE.named.name).write_bytes(b"{}")
    status, _, answer = post(server, TRUE.body(0, 12))
    assert status == 500
    assert "—".encode() not in answer


def test_it_listens_on_the_other_loopback_too(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        server = Server(("::1", 0), witness(tmp_path, TRUE))
    except OSError:
        pytest.skip("this machine has no ::1")
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        status, _ = asking.post(f"http://[::1]:{port(server)}", TRUE.body(0, 12))
        server.shutdown()
        thread.join(10)
    assert status == 200
