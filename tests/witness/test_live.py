"""A real run, witnessed while it trains: its log grows, its witness follows, and what is taken back is found out."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

import verify_run
from core.live import Live
from tenth.cli.record import witnesses
from tenth.cli.replay import audit
from tenth.errors import BrokenPromise
from tenth.keys import SigningKey
from tenth.witness.asking import Newest, over_http
from tenth.witness.cosigner import Cosigner
from tenth.witness.memory import Memory
from tenth.witness.serving import Server

WIM = SigningKey.generate()


@dataclass
class WitnessedRun(Live):
    """With one witness in its charter."""

    def charter(self) -> str:
        return super().charter() + f'\n[[witness]]\nname = "wim"\nkey = "{WIM.public.line}"\n'


def ask(run: Path, url: str) -> int:
    """The size of the head that was cosigned."""
    newest = Newest.of(run)
    return over_http(newest, newest.parties.witnesses["wim"], url).checkpoint.size


def check(run: Path, *heads: str) -> list[int]:
    """By both verifiers; how many entries each head covers."""
    kept = witnesses.read(run)
    seen = witnesses.check(run, audit(run), kept, heads)
    return [one.size for one in seen]


def test_a_run_is_witnessed_while_it_trains(tmp_path: Path) -> None:
    run, memory = WitnessedRun(tmp_path, env={"STEPS": 60, "PAUSE": 0.004}), Memory(tmp_path / "wim")
    server = Server(("127.0.0.1", 0), Cosigner("wim", WIM, memory))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        run.start()
        memory.add(Newest.of(run.path).parties.log)
        sizes = [ask(run.path, url)]
        for gate in (1, 2, 3):
            run.run_to("RUNNING", gate=gate)
            sizes.append(ask(run.path, url))
            assert check(run.path, "") == [sizes[-1]], "while the log goes on growing"
        run.pull()  # nothing changes while it is copied
        shutil.copytree(run.path, tmp_path / "earlier", ignore=shutil.ignore_patterns("control.sock", "work"))
        run.finish()
        sizes.append(ask(run.path, url))
    finally:
        run.close()
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert sizes == sorted(set(sizes)), "each head was newer than the last"
    assert sizes[-1] == len(run.entries())
    state = memory.path(Newest.of(run.path).parties.log.name)
    assert check(run.path, "", str(state)) == [sizes[-1], sizes[-1]]
    assert verify_run.verify(run.path, [state])["ok"]
    # The run as it stood at gate 3, given out as all there is: whole by itself, its own old cosignature included.
    earlier = tmp_path / "earlier"
    assert check(earlier, "") == [sizes[-2]]
    assert verify_run.verify(earlier)["ok"]
    with pytest.raises(BrokenPromise, match="the log was cut back") as error:
        check(earlier, str(state))
    assert error.value.promise == 7
    assert verify_run.verify(earlier, [state])["broken"]["promise"] == 7
