"""Many ranks, many pieces: the trajectory of one rank and one piece, and the same bits whenever it is interrupted."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from client.fake_supervisor import FakeSupervisor, Outcome, write_listing
from tenth.client import Run
from tenth.trainer import checkpoint
from tenth.trainer.errors import CheckpointError, RecipeError
from tenth.trainer.model import Shape, Transformer
from tenth.trainer.pretrain import pretrain
from tenth.trainer.shards import open_prepared
from trainer.tiny import BFLOAT16, TINY

Supervise = Callable[..., FakeSupervisor]
FLOAT32 = TINY.replace("[train]", '[train]\nprecision = "float32"').replace("batch = 4", "batch = 16")
LARGE = FLOAT32.replace("batch = 16", "batch = 48")


def recipe(lines: str, base: str = FLOAT32) -> str:
    return base.replace("[train]", f"[train]\n{lines}")


def here(run: Run) -> None:
    pretrain(run, time.monotonic())


def end(supervisor: FakeSupervisor) -> dict[str, Tensor]:
    """Weights and optimizer memory at the last gate, from one file or from parts."""
    assert supervisor.resume is not None
    found = checkpoint.load(supervisor.resume)
    return {**found.weights, **{f"optimizer {key}": tensor for key, tensor in found.optimizer.items()}}


def train(supervisor: FakeSupervisor, tenths: int = 1) -> Outcome:
    for _ in range(tenths):
        outcome = supervisor.one_tenth()
        assert outcome.status == 0, outcome.output
    return outcome


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=2e-3, atol=2e-4, msg=lambda text, n=name: f"{n}: {text}")


def different(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]


SHARDED = 'ranks = 2\nparallel = "fsdp"'
PIECES = "accumulate = 2\nrecompute = true"


def assert_same_way(alone: FakeSupervisor, many: FakeSupervisor) -> Outcome:
    """A few steps; the weights and the loss of one process, to what another order of float32 sums leaves of them."""
    expected, outcome = alone.in_this_process(here).of("progress")[-1], train(many)
    found = outcome.of("progress")[-1]
    assert found["step"] == expected["step"] >= 4
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert found["metrics"]["grad_norm"] == pytest.approx(expected["metrics"]["grad_norm"], rel=1e-3)
    assert found["tokens"] == expected["tokens"]
    assert_near(end(alone), end(many))
    return outcome


# Every rank is a process that imports torch, seconds of processor time: so one test tells several things of its ranks.


def test_replicated_on_three_ranks_it_goes_the_way_of_one_and_ends_bitwise_the_same_in_two_tenths(
    supervise: Supervise,
) -> None:
    """In two pieces each; three, since sums of two come to the same in any order."""
    lines = recipe(f"ranks = 3\n{PIECES}", LARGE)
    alone, parts, whole = (
        supervise("alone", LARGE, of=2),
        supervise("parts", lines, of=2),
        supervise("whole", lines, of=1),
    )
    assert_same_way(alone, parts)
    train(parts), train(whole)
    assert different(end(whole), end(parts)) == []


def test_sharded_on_two_ranks_it_goes_the_way_of_one_and_ends_bitwise_the_same_after_a_kill(
    supervise: Supervise,
) -> None:
    """With a tied head, in two pieces, and with samples; each holds its share, and the checkpoint is in parts."""
    tied = LARGE.replace("[model]", "[model]\ntied = true")
    lines = recipe(f"{SHARDED}\n{PIECES}", tied)
    alone, whole = supervise("alone", tied, of=2), supervise("whole", lines, of=1)
    parts = supervise("parts", lines, of=2, samples_per_minute=6000)
    outcome = assert_same_way(alone, parts)
    assert outcome.of("sample")
    everything = sum(tensor.nbytes for name, tensor in end(alone).items() if "random" not in name)
    held = [int(word) for word in re.findall(r"rank \d of 2 holds (\d+) bytes", outcome.output)]
    assert len(held) == 2
    assert max(held) < 0.55 * everything
    assert sum(held) == pytest.approx(everything, rel=0.01)

    with training(parts) as (process, _):
        others = children(process.pid)
        process.send_signal(signal.SIGKILL)
    assert len(others) == 1
    gone(others)
    train(parts), train(whole)
    assert different(end(whole), end(parts)) == []
    assert whole.resume is not None
    assert_in_parts(whole.resume)


def assert_in_parts(folder: Path) -> None:
    """As `transformers` reads them; each part has about its share of the bytes, and none may be missing."""
    names = {path.name for path in folder.iterdir()}
    for kind in ("model", "optimizer"):
        parts = [f"{kind}-0000{part}-of-00002.safetensors" for part in (1, 2)]
        assert {*parts, f"{kind}.safetensors.index.json"} <= names
        assert f"{kind}.safetensors" not in names
        sizes = [sum(t.nbytes for t in load_file(folder / part).values()) for part in parts]
        assert max(sizes) < 0.6 * sum(sizes)
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    name = "model.layers.1.mlp.up_proj.weight"
    theirs = pytest.importorskip("transformers").AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(theirs.get_parameter(name), load_file(folder / index[name])[name])
    torn = folder / index[name]
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="SafetensorError"):
        checkpoint.load(folder)
    torn.unlink()
    with pytest.raises(CheckpointError, match=torn.name):
        checkpoint.load(folder)


@pytest.mark.parametrize("base", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
def test_pieces_weigh_what_counts_in_them(supervise: Supervise, corpus: Path, base: str) -> None:
    """An excluded document takes targets out of some pieces and not of others."""
    whole, pieces = supervise("whole", base), supervise("pieces", recipe("accumulate = 4", base))
    for supervisor in (whole, pieces):
        supervisor.in_this_process(here)
        (cache,) = (supervisor.work / "cache").glob("corpus-*")
        gone = list(open_prepared(cache).documents.names())[:9]
        supervisor.data = write_listing(corpus, supervisor.run / "data.2.jsonl", leave_out=gone)
    losses = [supervisor.in_this_process(here).of("progress")[-1]["loss"] for supervisor in (whole, pieces)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if base == FLOAT32 else 3e-2)
    if base == FLOAT32:
        assert_near(end(whole), end(pieces))


def test_recomputing_changes_no_bit_and_keeps_less(supervise: Supervise) -> None:
    plain, again = supervise("plain", FLOAT32), supervise("again", recipe("recompute = true"))
    plain.in_this_process(here), again.in_this_process(here)
    assert different(end(plain), end(again)) == []
    kept = {}
    for recompute in (False, True):
        model = Transformer(Shape(257, 4, 64, 4, 4, 16, 192, 64))
        model.recompute = recompute
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.nbytes) or t, lambda t: t):
            model(torch.zeros(4, 64, dtype=torch.int64))
        kept[recompute] = sum(sizes)
    assert kept[True] < kept[False] / 4


def test_any_number_of_ranks_goes_on_from_a_checkpoint(supervise: Supervise) -> None:
    """Sharded on three, alone, sharded on two: as if it had been alone all the time."""
    alone, moving = supervise("alone", LARGE), supervise("moving", LARGE)
    for lines in (SHARDED.replace("2", "3"), "", SHARDED):
        alone.in_this_process(here)
        moving.recipe.write_text(recipe(lines, LARGE))
        train(moving) if lines else moving.in_this_process(here)
    assert_near(end(alone), end(moving))


@contextmanager
def training(supervisor: FakeSupervisor) -> Iterator[tuple[subprocess.Popen[str], TextIO]]:
    """A trainer that has made its first step of a tenth, and its channel."""
    process, ours = supervisor.start([sys.executable, "-m", "tenth.trainer", "pretrain", "recipe.toml"])
    with ours, process, ours.makefile("rw") as channel:
        assert json.loads(channel.readline())["frame"] == "hello"
        channel.write(json.dumps(supervisor.lease()) + "\n")
        channel.flush()
        assert json.loads(channel.readline())["frame"] == "progress"
        yield process, channel
        process.wait(20)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(running(pid) for pid in processes):
        time.sleep(0.02)
    assert not any(running(pid) for pid in processes)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_rank_that_dies_is_named_and_ends_the_lease(supervise: Supervise) -> None:
    supervisor = supervise("run", recipe("ranks = 2", FLOAT32.replace("batch = 16", "batch = 2")), of=1)
    with training(supervisor) as (process, channel):
        (other,) = children(process.pid)
        os.kill(other, signal.SIGKILL)
        frames = [json.loads(line)["frame"] for line in channel]
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "found: rank 1 was ended by SIGKILL" in output
    assert "saved" not in frames
    gone([other])


@pytest.mark.parametrize(
    ("lines", "found"),
    [("ranks = 3", "train.batch = 16"), ("accumulate = 32", "train.batch = 16"), ('parallel = "tp"', "train.parallel")],
)
def test_ranks_that_cannot_share_are_refused(supervise: Supervise, lines: str, found: str) -> None:
    with pytest.raises(RecipeError) as caught:
        supervise("run", recipe(lines)).in_this_process(here)
    assert found in caught.value.found


@pytest.mark.parametrize("parts", [1, 2], ids=["whole", "in parts"])
def test_a_checkpoint_that_the_disk_does_not_take_leaves_the_one_before(tmp_path: Path, parts: int) -> None:
    model = Transformer(Shape(257, 2, 64, 4, 4, 16, 192, 64))
    weights = checkpoint.weights_of(model)

    def write() -> None:
        writers = [checkpoint.Writer(tmp_path / "checkpoint", part, parts) for part in range(parts)]
        writers[0].begin()
        for part, writer in enumerate(writers):
            writer.tensors(dict(list(weights.items())[part::parts]), {})
        writers[0].finish(model.shape, {}, 0, ())

    write()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(CheckpointError, match="could not be written"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not different(checkpoint.load(tmp_path / "checkpoint").weights, weights)
    write()
    assert not (tmp_path / "checkpoint.partial").exists()
