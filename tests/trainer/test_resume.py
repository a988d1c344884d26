"""Interrupted equals uninterrupted, bitwise on CPU, over real trainer processes (promise 11)."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor

from client.fake_supervisor import FakeSupervisor, write_listing
from tenth.client import Run
from tenth.trainer import backward as training
from tenth.trainer.errors import DivergenceError, TrainerError
from tenth.trainer.pretrain import pretrain
from tenth.trainer.shards import open_prepared
from trainer.tiny import ADAMW, BFLOAT16, TINY

Supervise = Callable[..., FakeSupervisor]


def weights(supervisor: FakeSupervisor) -> bytes:
    assert supervisor.resume is not None
    return (supervisor.resume / "model.safetensors").read_bytes() + (
        supervisor.resume / "optimizer.safetensors"
    ).read_bytes()


def here(run: Run) -> None:
    pretrain(run, time.monotonic())


@pytest.mark.parametrize("recipe", [TINY, BFLOAT16, ADAMW], ids=["muon", "bfloat16", "adamw"])
def test_an_epoch_in_tenths_is_the_epoch_in_one(supervise: Supervise, recipe: str) -> None:
    whole, parts = supervise("whole", recipe, of=1), supervise("parts", recipe, of=3, samples_per_minute=60_000)
    whole.in_this_process(here)
    losses = []
    for _ in range(3):
        torch.rand(3)  # whatever else the process did
        outcome = parts.in_this_process(here)
        assert outcome.of("sample")  # sampling touches nothing
        losses.append(outcome.of("progress")[-1]["loss"])
    assert weights(whole) == weights(parts)
    assert losses[-1] < losses[0]


def test_the_command_does_the_same_lease_by_lease(supervise: Supervise) -> None:
    here_alone, command = supervise("here"), supervise("command", prompts=("line ", "\x1b[2J"), samples_per_minute=6000)
    for _ in range(2):
        here_alone.in_this_process(here)
        outcome = command.one_tenth()
        assert outcome.status == 0, outcome.output
    assert weights(here_alone) == weights(command)
    assert [outcome.frames[0]["frame"], *(f["frame"] for f in outcome.frames[-2:])] == ["hello", "saved", "done"]
    assert {s["prompt"] for s in outcome.of("sample")} == {"line ", "\x1b[2J"}


def test_the_frames_of_a_tenth_tell_what_was_done(supervise: Supervise) -> None:
    supervisor = supervise("run")
    outcome = supervisor.in_this_process(here)
    last = outcome.of("progress")[-1]
    assert last["step"] == outcome.of("done")[0]["position"]["step"]
    assert last["tokens"] == last["step"] * 4 * 32
    assert last["flop"] > 0
    assert {"grad_norm", "tokens_per_second", "bits_per_byte", "mfu"} <= last["metrics"].keys()
    assert supervisor.resume is not None
    assert {p.name for p in supervisor.resume.iterdir()} == {
        "model.safetensors", "optimizer.safetensors", "state.json", "config.json", "tokenizer.json", "numbering.bin",
    }  # fmt: skip


def test_two_epochs_read_two_orders_and_go_on(supervise: Supervise) -> None:
    supervisor = supervise("run", of=1, epochs=2)
    first, second = supervisor.in_this_process(here), supervisor.in_this_process(here)
    assert second.of("progress")[0]["loss"] < first.of("progress")[0]["loss"]


def test_excluding_a_document_keeps_the_gates_where_they_were(supervise: Supervise, corpus: Path) -> None:
    other, supervisor = supervise("other", of=1), supervise("run", of=3)
    supervisor.in_this_process(here)
    (cache,) = (supervisor.work / "cache").glob("corpus-*")
    gone = open_prepared(cache).documents.name(0)
    supervisor.data = write_listing(corpus, supervisor.run / "data.2.jsonl", leave_out=[gone])
    end = other.in_this_process(here).of("done")
    (corpus / gone).unlink()
    shutil.rmtree(supervisor.work / "cache")
    supervisor.in_this_process(here)
    assert supervisor.in_this_process(here).of("done") == end


def test_killed_while_it_saves_it_leaves_nothing_and_goes_on(supervise: Supervise) -> None:
    """Kill the trainer at two files of the checkpoint: no frame tells of it, and the repeated tenth is the same."""
    quiet, killed = supervise("quiet", of=2), supervise("killed", of=2)
    quiet.in_this_process(here), killed.in_this_process(here)
    killed_at_all = 0
    for name in ("model.safetensors", "state.json"):
        shutil.rmtree(killed.work / "checkpoint.partial", ignore_errors=True)  # so that the wait below sees this one
        process, ours = killed.start([sys.executable, "-m", "tenth.trainer", "pretrain", "recipe.toml"])
        with ours, process, ours.makefile("rw") as channel:
            assert json.loads(channel.readline())["frame"] == "hello"
            channel.write(json.dumps(killed.lease()) + "\n")
            channel.flush()
            deadline = time.monotonic() + 60
            partial = killed.work / "checkpoint.partial" / name
            while time.monotonic() < deadline and process.poll() is None and not partial.exists():
                time.sleep(0.0002)
            process.send_signal(signal.SIGKILL)
            frames = [json.loads(line)["frame"] for line in channel]
        killed_at_all += "saved" not in frames
        if "saved" not in frames and (killed.work / "checkpoint").exists():
            # Renamed but not yet announced: whole, and never accepted.
            load_file(killed.work / "checkpoint" / "model.safetensors")
    assert killed_at_all >= 1
    quiet.in_this_process(here), killed.in_this_process(here)
    assert weights(quiet) == weights(killed)
    assert not (killed.work / "checkpoint.partial").exists()
    assert not list((killed.work / "cache").glob("*.partial"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("torn", "SafetensorError"),
        ("gone", "model.safetensors"),
        ("depth", "model.layers.2"),
        ("width", "lm_head.weight is (257, 32) there, (257, 48)"),
        ("adamw", "tensors do not fit"),
        ("batch", "train.batch changed from 4 to 8"),
    ],
)
def test_what_does_not_fit_is_refused(supervise: Supervise, damage: str, said: str) -> None:
    supervisor = supervise("run")
    supervisor.in_this_process(here)
    assert supervisor.resume is not None
    model = supervisor.resume / "model.safetensors"
    if damage == "torn":
        model.write_bytes(model.read_bytes()[:-100])
    elif damage == "gone":
        model.unlink()
    else:
        old, new = {
            "depth": ("depth = 2", "depth = 3"), "width": ("width = 32", "width = 48"),
            "adamw": ("[train]", '[optim]\nmatrices = "adamw"\n[train]'), "batch": ("batch = 4", "batch = 8"),
        }[damage]  # fmt: skip
        supervisor.recipe.write_text(TINY.replace(old, new, 1))
    with pytest.raises(TrainerError) as caught:
        supervisor.in_this_process(here)
    assert said in caught.value.found
    assert caught.value.refused
    assert caught.value.do


def test_the_command_prints_an_error_in_three_parts(supervise: Supervise) -> None:
    outcome = supervise("run", TINY.replace("depth", "dpeth")).one_tenth()
    assert outcome.status == 1
    assert "found: the unknown key model.dpeth\n  do: did you mean model.depth?" in outcome.output
    assert "Traceback" not in outcome.output


def test_a_loss_that_is_no_number_is_skipped_then_ends_the_lease(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, calls = training.linear_cross_entropy, []

    def bad_from_the_third(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        calls.append(weight.detach().clone())
        loss = good(hidden, weight, targets)
        return loss * float("nan") if len(calls) in (3, 5, 6, 7) else loss

    monkeypatch.setattr(training, "linear_cross_entropy", bad_from_the_third)
    recipe = TINY.replace("[train]", "[train]\nskip_nonfinite = 3")
    supervisor = supervise("run", recipe, of=1)
    with pytest.raises(DivergenceError, match="3 steps in a row"):
        supervisor.in_this_process(here)
    assert len(calls) == 7
    assert torch.equal(calls[2], calls[3])  # the third step changed nothing
    assert not torch.equal(calls[3], calls[4])
    assert torch.equal(calls[4], calls[6])
    assert supervisor.resume is None
