"""``tenth alarms``: what a trainer reports is judged step by step, and pulls the cord where the charter asks for it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from cli.conftest import REPO, STEADY, Shell, write_project
from sinks.test_sinks import leased, reached, write_log
from tenth.cli.judge.alarming import Look
from tenth.cli.live import raised
from tenth.cli.verbs import main
from tenth.client.record import Record

SPIKING = REPO / "tests" / "trainers" / "spiking.py"


def reported(run: Path, losses: dict[int, float], gate: int = 1) -> None:
    (run / "work").mkdir(exist_ok=True)
    record = Record(run / "work", gate)
    for step, loss in losses.items():
        record.add(step, {"loss": loss, "lr": 0.1})
    record.flush()


def noisy(steps: range, seed: int = 0) -> dict[int, float]:
    noise = random.Random(seed)
    return {step: 2.0 + 0.1 * noise.random() for step in steps}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_log(tmp_path / "poet-1", leased(1, 1), reached(1, 400), leased(2, 2), ("closed", {"outcome": "released"}))
    return tmp_path / "poet-1"


def test_a_spike_and_a_value_that_is_no_number_are_found_at_their_steps(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported(run, noisy(range(1, 300)) | {200: 5.0, 250: math.nan})
    for options in ([], ["--follow"]):
        assert main(["alarms", str(run), "--json", *options]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        rows = rows if options else rows[0]["alarms"]
        spikes = [(row["series"], row["step"], row["kind"]) for row in rows if row["rule"] == "spike"]
        assert ("loss", 200, "nominal") in spikes
        assert ("loss", 250, "nominal") in spikes
        assert all(row["step"] in (200, 250) for row in rows if row["series"] == "loss")
    kept = raised.standing(run)
    assert (kept["count"], kept["followed"]) == (0, False), "without a charter there is nothing to stand by"
    assert main(["alarms", str(run), "--of", "lr"]) == 0
    assert capsys.readouterr().out == "299 values of lr\n"


def test_steps_that_are_trained_again_begin_a_new_stream(run: Path) -> None:
    """Back at the checkpoint the loss is as high as it was there: that is no alarm."""
    reported(run, {step: value * (4 - step / 100) for step, value in noisy(range(1, 301)).items()})
    look = Look(run, ["loss"])
    assert look.new() == []
    reported(run, {step: value * (4 - step / 100) for step, value in noisy(range(1, 301), 1).items()})
    assert look.new() == []
    reported(run, {301: 30.0})
    assert [(one.step, one.rule) for one in look.new()] == [(301, "spike")]


def test_one_follower_writes_and_others_only_look(run: Path) -> None:
    (run / "charter.toml").write_text((REPO / "docs" / "charter.md").read_text().split("```toml\n")[1].split("```")[0])
    reported(run, noisy(range(1, 200)) | {150: 9.0})
    found = Look(run, ["loss"]).new()
    first, second = raised.Keeper(run), raised.Keeper(run)
    for one in found:
        second.keep(one)
    assert raised.standing(run)["count"] == 0
    for one in found:
        first.keep(one)
    standing = raised.standing(run)
    assert (standing["count"], standing["followed"], standing["newest"]["step"]) == (1, True, 150)
    assert "step 150 of loss" in raised.words(standing, live=True)


def test_a_charter_may_have_alarms_pull_the_cord(shell: Shell) -> None:
    write_project(shell)
    charter = shell.folder / "charter.toml"
    text = charter.read_text().replace(str(STEADY), str(SPIKING)).replace("STEPS =", 'SPIKE = "200", STEPS =')
    charter.write_text(text.replace("[quarantine]", '[watch]\nalarms = ["loss"]\n\n[quarantine]'))
    assert "alarms of loss pull the cord" in shell.ok("check", "charter.toml").out
    run = Path(shell.begin()["path"])
    for name in ("ada", "bob"):
        shell.ok("consent", "--yes", "--as", name)
    shell.stance("HALTED")
    pulls = [entry["body"]["by"]["name"] for entry in entries(run) if entry["event"] == "pulled"]
    assert pulls[0] == "alarms", (run / "alarms.log").read_text()
    shell.until(lambda _: raised.standing(run)["count"] > 0)
    status = shell("status", "--json").json
    assert status["alarms"]["newest"]["step"] in range(200, 203)
    assert status["alarms"]["followed"]
    assert "alarms" in shell("status").out


def test_a_watcher_that_is_lost_is_missed(shell: Shell) -> None:
    write_project(shell)
    charter = shell.folder / "charter.toml"
    charter.write_text(charter.read_text().replace("[quarantine]", '[watch]\nalarms = ["loss"]\n\n[quarantine]'))
    run = Path(shell.begin()["path"])
    shell.until(lambda _: raised.standing(run)["followed"])
    os.kill(watcher_of(run), signal.SIGKILL)
    shell.stance("HALTED")
    assert [entry["body"]["by"]["name"] for entry in entries(run) if entry["event"] == "pulled"] == ["alarms"]
    said = "the watcher of alarms ended with status -9"  # once the stop is on record
    shell.until(lambda _: said in (run / "alarms.log").read_text())


def watcher_of(run: Path) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"alarms" in words and os.fsencode(run) in words:
                return int(folder.name)
    raise AssertionError("nobody watches")


def entries(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log" / "entries.jsonl").read_text().splitlines()]


def test_without_numpy_there_are_no_alarms_and_no_run_that_needs_them(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tenth.alarms", None)
    assert main(["alarms", str(run)]) == 1
    assert "numpy is not installed" in capsys.readouterr().err
