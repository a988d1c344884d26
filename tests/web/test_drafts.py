"""What is drafted for a passkey, asked for without a browser."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from core.live import Live, wait_for
from core.test_passkeys import Authenticator
from tenth.encoding import unb64
from web.served import Client, Served
from web.test_browser_passkey import give_passkey

CONSENT = {"event": "consented", "signatory": "ada", "note": ""}


@pytest.fixture
def run(live: Callable[..., Live]) -> Live:
    """Not begun yet; ada signs with a passkey."""
    one = live()
    give_passkey(one, Authenticator().line)
    return one


def test_a_draft_names_what_lies_on_the_table_although_the_supervisor_has_not_spoken_yet(
    run: Live, serve: Callable[..., Served], client: Callable[..., Client]
) -> None:
    """A server that has just found the run knows of it what the log tells; the supervisor is asked."""
    run.start()
    anchor = run.until("GATE")["anchor"]
    assert run.process is not None
    os.kill(run.process.pid, signal.SIGSTOP)
    try:
        served = serve(run)
        ada = client(served, "ada")
        wait_for(lambda: b"Gate 0 of" in ada.ask("GET", f"/r/{run.name}/gate")[2], "the server to find the run")
        with ThreadPoolExecutor() as pool:
            asked = pool.submit(ada.json, "POST", f"/api/r/{run.name}/draft", CONSENT)
            assert not wait([asked], 1).done
            os.kill(run.process.pid, signal.SIGCONT)
            status, drafted = asked.result(20)
    finally:
        os.kill(run.process.pid, signal.SIGCONT)
    assert status == 200, drafted
    assert json.loads(unb64(drafted["payload"]))["predicate"]["anchor"] == anchor


def test_without_a_supervisor_nothing_is_drafted_and_the_way_to_one_is_said(
    run: Live, serve: Callable[..., Served], client: Callable[..., Client]
) -> None:
    run.begin()
    status, said = client(serve(run), "ada").json("POST", f"/api/r/{run.name}/draft", CONSENT)
    assert status == 409
    assert "no supervisor holds" in said["error"]["refused"]
    assert "tenth run" in said["error"]["do"]
