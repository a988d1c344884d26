"""Does the control socket answer everyone, refuse nonsense in words, and stay quick whoever else is connected?"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import Live, wait_for
from tenth.encoding import b64, canonical
from tenth.errors import TenthError, WrongInput
from tenth.supervisor.control import Control


@pytest.fixture
def run(live: Callable[..., Live]) -> Live:
    made = live().start()
    made.until("GATE", gate=0)
    return made


def exchange(run: Live, data: bytes) -> list[Any]:
    """Send bytes, hang up the sending side, and read all answers."""
    with run.connect() as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        heard = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(65_536):
                heard += piece
    return [json.loads(line) for line in heard.splitlines()]


def test_only_its_owner_reaches_it(run: Live) -> None:
    status = os.lstat(run.path / "control.sock")
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600


GARBAGE = [
    b"\n",
    b"{}\n",
    b"[]\n",
    b"null\n",
    b'"pull"\n',
    b"\xff\xfe\n",
    b"\0" * 100 + b"\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b'{"do":null}\n',
    b'{"do":["pull"]}\n',
    b'{"do":{}}\n',
    b'{"do":"Pull"}\n',
    b'{"do":"\\ud800"}\n',
    b'{"do":NaN}\n',
    b'{"do":"submit"}\n',
    b'{"do":"submit","envelope":[]}\n',
    b'{"do":"submit","envelope":{"payload":{},"payloadType":1,"signatures":null}}\n',
    b"[" * 100_000 + b"\n",
    b'{"do":' * 20_000 + b"\n",
    b"9" * 100_000 + b"\n",
    b'{"do":"submit","envelope":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}\n",
]


def test_nonsense_is_refused_in_words(run: Live) -> None:
    for data in GARBAGE:
        answers = exchange(run, data)
        assert answers, data[:40]
        for answer in answers:
            assert answer["ok"] is False, data[:40]
            assert set(answer["error"]) == {"refused", "found", "do"}
            assert answer["error"]["refused"]
        assert run.status()["stance"] == "GATE"


def envelope_around(payload: bytes) -> dict[str, Any]:
    kind = "application/vnd.in-toto+json"
    return {"payload": b64(payload), "payloadType": kind, "signatures": [{"keyid": "", "sig": b64(bytes(64))}]}


def test_a_nested_statement_of_nobody_is_refused(run: Live) -> None:
    """It is taken apart before its signature can be checked."""
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "anchor", "digest": {"sha256": "ab" * 32}}],
        "predicateType": "urn:tenth:adjustment:v1",
        "predicate": {"run": "", "signatory": "ada", "anchor": "ab" * 32, "time": "", "note": "", "patch": "HERE"},
    }
    for depth in (*range(50, 1000, 50), 5000):
        nested = b'{"recipe":{"a":' + b"[" * depth + b"]" * depth + b"}}"
        answer = run.ask(do="submit", envelope=envelope_around(canonical(body).replace(b'"HERE"', nested)))
        assert answer["ok"] is False
        assert run.status()["stance"] == "GATE"


@pytest.mark.parametrize("depth", [3, 250, 400])
def test_a_nested_adjustment_of_a_signatory_is_refused_or_carried_out(run: Live, depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    with contextlib.suppress(TenthError, RecursionError):  # it may be refused before it is signed, too
        run.submit(run.sign("adjusted", "ada", run.status(), patch={"recipe": {"a": value}}))
    status = run.until("GATE")
    assert (status["dossier"] != run.entries()[1]["body"]["dossier"]) is (run.events().count("adjusted") == 1)


def test_an_adjustment_that_cannot_be_carried_out_is_refused(run: Live) -> None:
    for patch in ({"recipe": {"depth.inner": 1}}, {"exclude": ["*"]}, {"exclude": ["data/po*", "data/pr*"]}):
        answer = run.submit(run.sign("adjusted", "ada", run.status(), patch=patch))
        assert not answer["ok"]
    assert "adjusted" not in run.events()
    run.say("adjusted", "ada", patch={"exclude": ["data/po*"]})
    run.until("GATE")
    assert not run.submit(run.sign("adjusted", "ada", run.status(), patch={"exclude": ["data/pr*"]}))["ok"], (
        "both are all"
    )


def test_a_signatory_cannot_write_what_the_second_verifier_refuses(run: Live) -> None:
    """Whatever is signed and taken must verify for ever: the fixture asks both verifiers afterwards."""
    for change in ({"time": "now"}, {"time": ""}, {"note": "\x1b[2J \u202e"}, {"note": "x" * 2000}, {"run": "x"}):
        with contextlib.suppress(TenthError):  # it may be refused before it is signed, too
            run.submit(run.sign("objected", "ada", run.status(), **change))
    for patch in (
        {"exclude": ["data/po*", "[", "**", "\x1b"]},
        {"recipe": {"a.b.c": [1, 2.5, True, "x\x00y"], "ü": 1e300, "x y": -0.0, "optim.lr": 1e-7}},
        {"recipe": {}, "exclude": [], "evidence": {}},
        {
            "evidence": {
                "drop": ["nothing"],
                "add": [{"name": "a", "command": ["true"]}, {"name": "a", "command": ["false"]}],
            }
        },
    ):
        with contextlib.suppress(TenthError):
            run.submit(run.sign("adjusted", "ada", run.status(), patch=patch))
        run.until("GATE")


def test_many_requests_in_one_piece_are_answered_in_order(run: Live) -> None:
    answers = exchange(run, b'{"do":"status"}\nnonsense\n{"do":"status"}\n')
    assert [answer["ok"] for answer in answers] == [True, False, True]


def test_a_huge_request_is_cut_off_and_others_are_served(run: Live) -> None:
    with run.connect() as sock, contextlib.suppress(ConnectionError):
        for _ in range(200):
            sock.sendall(b"x" * 65_536)
        while sock.recv(65_536):
            pass
    assert run.status()["stance"] == "GATE"


def resident(run: Live) -> int:
    assert run.process is not None
    with open(f"/proc/{run.process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_reader_that_does_not_read_is_cut_off(run: Live) -> None:
    before = resident(run)
    with run.connect() as sock:
        sock.settimeout(5)
        with contextlib.suppress(OSError):
            for _ in range(40):
                sock.sendall(b'{"do":"watch","name":"lin"}\n' * 200)
        assert run.status()["stance"] == "GATE"
        # What had been queued may still be read, and then comes the end.
        with contextlib.suppress(ConnectionError):
            while sock.recv(1 << 20):
                pass
    assert resident(run) - before < 100 << 20


@pytest.mark.parametrize("kind", [b"\n", b'{"do":"status"}\n'], ids=["nonsense", "questions"])
def test_a_chatterbox_does_not_hold_up_the_cord(run: Live, kind: bytes) -> None:
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(run.connect()) for _ in range(5)]
        for sock in socks:
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(kind * 2000)
        began = time.monotonic()
        run.pull()
        assert time.monotonic() - began < 2


def test_a_pull_at_the_end_of_a_flood_is_heard(run: Live) -> None:
    run.run_to("GATE")
    with run.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"\n" * 5_000 + b'{"do":"pull","name":"lin"}\n')
        while sock.recv(65_536):
            pass
    run.until("HALTED")


def test_the_cord_is_reached_past_hundreds_of_connections(run: Live) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(run.connect())
        began = time.monotonic()
        run.pull()
        assert time.monotonic() - began < 2
    assert run.status()["stance"] == "HALTED"


def test_who_asks_too_much_at_once_is_cut_off_and_a_pull_among_it_is_heard(run: Live) -> None:
    before = resident(run)
    with run.connect() as sock, contextlib.suppress(OSError):
        sock.sendall(b'{"do":"pull"}\n')
        while True:
            sock.sendall(b'{"do":"status"}\n' * 4000)
    assert run.status()["stance"] == "HALTED"
    assert resident(run) - before < 100 << 20


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Callable[[Callable[[], object]], tuple[Control, Any, socket.socket]]]:
    """A control socket alone, with what is to be done first at a pull."""
    with contextlib.ExitStack() as stack:

        def make(stop: Callable[[], object]) -> tuple[Control, Any, socket.socket]:
            loop = stack.enter_context(selectors.DefaultSelector())
            made = Control(tmp_path, loop, lambda _, request, stop: {"asked": request, "stop": stop is not None}, stop)
            stack.callback(made.close)
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(tmp_path / "control.sock"))
            return made, loop, sock

        yield make


def turn(loop: Any) -> None:
    for key, mask in loop.select(5):
        key.data(mask)


@pytest.mark.parametrize("error", [OSError("gone"), WrongInput("no")])
def test_a_stop_that_fails_at_first_is_passed_on_and_the_next_is_heard(control: Any, error: Exception) -> None:
    def stop() -> object:
        raise error

    _, loop, sock = control(stop)
    for _ in range(2):
        sock.sendall(b'{"do":"pull"}\n')
        turn(loop)
        assert json.loads(sock.recv(1000)) == {"ok": True, "asked": {"do": "pull"}, "stop": True}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_goes_on_that_cannot_be_stopped(control: Any) -> None:
    """Whatever ends the thread that listens ends the loop, too."""

    def stop() -> object:
        raise MemoryError

    _, loop, sock = control(stop)
    sock.sendall(b'{"do":"pull"}\n')
    with pytest.raises(OSError, match="has ended"):
        turn(loop)


def test_the_supervisor_goes_before_what_it_holds_where_it_may(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 10_000, "PAUSE": 0.01}).start()
    run.run_to("RUNNING")
    status, ours = run.status(), os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, status["trainer"]) == ours
    may = not subprocess.run(["nice", "-n", "-5", "true"], check=True, capture_output=True).stderr  # else it complains
    assert os.getpriority(os.PRIO_PROCESS, status["supervisor"]) == (ours - 5 if may else ours)


def test_a_watcher_sees_what_happens(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 50, "PAUSE": 0.01}).start()
    run.until("GATE", gate=0)
    with run.connect() as sock, sock.makefile("rb") as lines:
        sock.sendall(b'{"do":"watch","name":"lin"}\n')
        first = json.loads(lines.readline())
        assert first["ok"]
        run.run_to("GATE", gate=1)
        seen: dict[str, list[Any]] = {}
        while not any(entry["entry"]["event"] == "reached" for entry in seen.get("entry", [])):
            message = json.loads(lines.readline())
            seen.setdefault(message["on"], []).append(message)
    assert set(seen) == {"entry", "status", "progress", "sample"}
    events = [message["entry"]["event"] for message in seen["entry"]]
    assert events[:4] == ["consented", "consented", "leased", "metered"]
    assert "\x1b" in seen["sample"][0]["sample"]["text"], "raw: whoever shows it must sanitise it"


def test_the_socket_goes_with_the_supervisor_and_an_old_one_is_no_obstacle(run: Live) -> None:
    run.stop()
    assert not (run.path / "control.sock").exists()
    run.start()
    run.kill9()
    assert (run.path / "control.sock").exists()
    run.start()
    assert run.status()["stance"] == "GATE"


def test_a_deep_path_is_no_obstacle(live: Callable[..., Live]) -> None:
    run = live()
    run.folder /= "x" * 100
    run.start()
    wait_for(lambda: run.status()["stance"] == "GATE", "the gate")
