"""The wandb-shaped shim: numbers arrive as claims and in the record, the rest is refused or named, nothing leaves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import tenth.client.wandb as wandb
from client.fake_supervisor import Outcome
from client.test_huggingface import example, supervisor
from tenth.client import LoopError, Run


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    yield
    wandb.finish()


def logged(folder: Path, log: Callable[[Run], None]) -> tuple[Outcome, list[dict[str, float]]]:
    """What the supervisor heard, and what the record kept, of calls to the shim in a run of one step."""
    fake = supervisor(folder, "text", of=1)

    def train(run: Run) -> None:
        run.last_step(1)
        log(run)
        run.advance()
        (run.work / "checkpoint").mkdir()
        (run.work / "checkpoint" / "weights").write_bytes(b"1")
        run.checkpoint(run.work / "checkpoint")

    outcome = fake.in_this_process(train)
    rows = (fake.work / "metrics.jsonl").read_text().splitlines()
    return outcome, [json.loads(row)["values"] for row in rows]


def test_numbers_are_kept_nested_ones_by_their_path_and_the_rest_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def log(run: Run) -> None:
        with wandb.init("project", run=run, config={"lr": 0.1}, mode="online", tags=["x"]) as one:
            assert wandb.run is one
            assert (wandb.config.lr, one.config["lr"]) == (0.1, 0.1)
            wandb.watch(None)
            wandb.define_metric("*", step_metric="x")
            for loss in (torch.tensor(3.0, requires_grad=True), 2.0):
                wandb.log({"loss": loss, "train": {"lr": 0.5}, "ok": True, "note": "hi", "picture": wandb.Image(None)})
            assert wandb.summary["loss"] == 2.0
        assert wandb.run is None

    outcome, rows = logged(tmp_path, log)
    assert rows == [{"loss": 3.0, "train/lr": 0.5, "ok": 1.0}, {"loss": 2.0, "train/lr": 0.5, "ok": 1.0}]
    assert outcome.of("progress")[-1]["loss"] == 2.0
    said = capsys.readouterr().out
    assert said.count("'note' is not kept") == said.count("'picture' is not kept") == 1


def test_a_commit_gathers_and_a_spike_between_two_frames_is_in_the_record(tmp_path: Path) -> None:
    def log(run: Run) -> None:
        wandb.init(run=run)
        wandb.log({"a": 1.0}, commit=False)
        wandb.log({"b": 2.0})
        for number in range(200):
            wandb.log({"loss": 100.0 if number == 77 else 1.0, "tokens": 5})

    outcome, rows = logged(tmp_path, log)
    assert rows[0] == {"a": 1.0, "b": 2.0}
    assert [row["loss"] for row in rows[1:]].index(100.0) == 77
    assert len(rows) == 201
    assert 2 <= len(outcome.of("progress")) < 50
    assert outcome.of("progress")[-1]["metrics"] == {"log/tokens": 5.0} | {
        name: value for name, value in outcome.of("progress")[-1]["metrics"].items() if name in "ab"
    }


def test_a_hundred_names_at_once_do_not_break_the_channel(tmp_path: Path) -> None:
    def log(run: Run) -> None:
        wandb.init(run=run)
        wandb.log({f"name{number}" + "x" * 80: float(number) for number in range(100)})

    outcome, rows = logged(tmp_path, log)
    assert sum(len(row) for row in rows) == 100
    assert all(len(frame["metrics"]) <= 32 for frame in outcome.of("progress"))


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    for call in (lambda: wandb.log({"a": 1}), lambda: wandb.config, lambda: wandb.init("project")):
        with pytest.raises(LoopError) as caught:
            call()
        assert "wandb.init(run=run)" in caught.value.do

    def log(run: Run) -> None:
        wandb.init(run=run)
        refused: list[Callable[..., Any]] = [wandb.save, wandb.log_artifact]
        for call in refused:
            with pytest.raises(LoopError, match="no network"):
                call("x")
        run.report(loss=1.0)

    logged(tmp_path, log)


def test_code_that_imports_wandb_can_be_given_the_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", wandb)

    def log(run: Run) -> None:
        mine = wandb.init(run=run)
        others: dict[str, Any] = {}
        exec("import wandb\none = wandb.init(project='theirs')\nwandb.log({'x': 1.0})", others)
        assert others["one"] is mine

    _, rows = logged(tmp_path, log)
    assert rows == [{"x": 1.0}]


def test_the_example_learns_in_tenths_what_it_learns_in_one_piece(tmp_path: Path) -> None:
    train = example("wandb_shim").train
    whole, parts = supervisor(tmp_path / "1", "x", of=1), supervisor(tmp_path / "2", "x", of=4)
    whole.in_this_process(train)
    for _ in range(4):
        parts.in_this_process(train)
    assert whole.resume is not None
    assert parts.resume is not None
    assert (whole.resume / "model.safetensors").read_bytes() == (parts.resume / "model.safetensors").read_bytes()
