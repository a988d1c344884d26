"""`tenth metrics`: one reading of a run at rest, or following one until nobody holds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sinks.test_sinks import leased, reached, write_log
from tenth.cli.verbs import main
from tenth.client.record import Record


@pytest.mark.parametrize("options", [[], ["--follow"]])
def test_the_verb_writes_every_step_and_says_where(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "poet-1"
    write_log(run, leased(1, 1), reached(1, 3), ("closed", {"outcome": "released"}))
    (run / "work").mkdir()
    record = Record(run / "work", 1)
    for step in (1, 2, 3):
        record.add(step, {"loss": 100.0 if step == 2 else 1.0})
    record.flush()
    assert main(["metrics", str(run), "--to", "jsonl", "--out", str(tmp_path / "out"), "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out) == {"steps": 3, "open": str(tmp_path / "out" / "poet-1.jsonl")}
    rows = [json.loads(line) for line in (tmp_path / "out" / "poet-1.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows] == [1.0, 100.0, 1.0]
    assert rows[2]["tenth/device_seconds"] == 10.0


def test_an_unknown_tracker_and_a_missing_run_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", str(tmp_path), "--to", "clay-tablets"]) == 2
    assert main(["metrics", str(tmp_path / "nowhere"), "--to", "csv"]) == 1
    assert "clay-tablets" in capsys.readouterr().err
