"""``tenth forecast``: filed sealed at one gate, opened at the next, and scored."""

from __future__ import annotations

import json

import pytest

from cli.conftest import Shell, write_project
from tenth.cli.verbs import main


def test_a_forecast_is_filed_opened_and_scored(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_project(shell)
    shell.begin()
    monkeypatch.chdir(shell.folder)
    for name in ("HOME", "TENTH_HOME"):
        monkeypatch.setenv(name, shell.environment[name])

    def tenth(*words: str) -> str:
        assert main(list(words)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    ada = ("--as", "ada", "--yes")
    assert main(["forecast", "--expect", "loss=1,2,3", *ada]) == 1
    assert "names no panel" in capsys.readouterr().err
    words = ("--expect", "size.files=0.5,1,2", "--halted", "0.1")
    assert "gate 1" in tenth("forecast", *words, *ada, "--dry-run")
    assert not (shell.home / "tenth" / "forecasts").exists()
    tenth("forecast", *words, *ada)
    assert main(["forecast", "--reveal", *ada]) == 1
    assert "no sealed forecast" in capsys.readouterr().err
    for name in ("ada", "bob"):
        tenth("consent", "--yes", "--as", name)
    shell.stance("GATE", 1)
    assert "sealed" in tenth("forecast")
    tenth("forecast", "--reveal", *ada)
    rows = {row["question"]: row for row in json.loads(tenth("forecast", "--json"))["forecasts"]}
    assert (rows["size.files"]["by"], rows["size.files"]["came"]) == ("ada", 1.0)
    assert rows["halted"]["brier"] == pytest.approx(0.01)
    assert "ada: 2 resolved" in tenth("forecast")
    tenth("verify")
