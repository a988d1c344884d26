"""Does ``status`` say where a run stands when its supervisor leaves in that very moment?"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from independent.build_run import build
from tenth.cli import wire
from tenth.cli.find import is_live
from tenth.cli.live.standing import status_of


def test_a_supervisor_that_leaves_while_it_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts, and hangs up without an answer."""
    run = build(tmp_path / "run", story="plain")
    monkeypatch.chdir(run)
    with socket.socket(socket.AF_UNIX) as leaving:
        leaving.bind("control.sock")
        leaving.listen()
        leaving.settimeout(20)

        def hang_up() -> None:
            try:
                for _ in range(3):
                    leaving.accept()[0].close()
            except OSError:
                pass

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert is_live(str(run))
        status = status_of(str(run))
        assert (status["stance"], status["gate"], status["supervisor"]) == ("GATE", 1, None)
        thread.join(30)
    with pytest.raises(wire.Gone):
        wire.ask(str(run), do="status")
