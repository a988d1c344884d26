"""The comparison with other trainers is fair: same tokens, targets, size, evaluation; and its arithmetic holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.fake_supervisor import FakeSupervisor
from house.repo import ROOT
from tenth.client import Run
from tenth.trainer import loop, pretrain, session
from tenth.trainer.model import Shape, Transformer

sys.path.append(str(ROOT / "benchmarks"))
from peers import data, figures, gpu, qwen3
from peers.evaluation import evaluate
from peers.meter import Meter, Plan
from peers.recipe import recipe, write_recipe


@pytest.fixture
def shared(tmp_path: Path) -> data.Shared:
    """Forty short documents, prepared."""
    source = tmp_path / "source"
    source.mkdir()
    for i in range(40):
        (source / f"{i:02d}.txt").write_text("".join(f"line {n} of {i}: {n * i % 97} words\n" for n in range(20)))
    return data.prepare(tmp_path / "shared", source, recipe(gpu.TINY))


def test_all_contenders_read_what_tenth_reads(shared: data.Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenth's own trainer, given the lease that it gets in the benchmark, against the array that the peers read."""
    write_recipe(shared.folder / "recipe.toml", gpu.TINY)
    seen: list[Any] = []

    class Seen(Exception):
        pass

    def look(*words: Any) -> Any:
        training = session.restore(*words)
        seen.extend(training.data.batches(0))
        raise Seen

    monkeypatch.setattr(loop, "restore", look)

    def train(run: Run) -> None:
        with pytest.raises(Seen):
            pretrain.pretrain(run, 0.0)

    supervisor = FakeSupervisor(
        shared.folder, shared.folder / "recipe.toml", shared.listing, shared.root, of=1, seed=data.SEED
    )
    supervisor.in_this_process(train)
    rows, batch = shared.train(), shared.facts["batch"]
    assert len(seen) == -(-len(rows) // batch) > 10
    chunks = qwen3.Chunks(rows)
    for step, (inputs, targets) in enumerate(seen):
        for at in range(len(inputs)):
            theirs = chunks[step * batch + at]
            assert theirs["input_ids"].tolist() == inputs[at].tolist()
            assert theirs["shift_labels"].tolist() == targets[at].tolist()


def test_no_held_out_window_is_trained_on(shared: data.Shared) -> None:
    windows, rows = shared.held_out(), shared.train()
    assert windows.shape[1] == shared.facts["shape"]["context"] + 1
    trained = rows[:, :-1].astype(np.uint16).tobytes()
    assert not [window for window in windows if window.tobytes() in trained]


def random_pair() -> tuple[Transformer, Any]:
    shape = Shape(vocabulary=97, layers=2, width=64, heads=2, kv_heads=2, head_width=32, mlp_width=64, context=32)
    ours = Transformer(shape)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    theirs = qwen3.make(vars(shape))
    missing = theirs.load_state_dict(ours.state_dict(), strict=True)
    assert not missing.missing_keys
    return ours, theirs


def test_the_same_weights_are_given_the_same_loss() -> None:
    ours, theirs = random_pair()
    windows = np.random.default_rng(5).integers(0, 97, (20, 33)).astype(np.uint16)
    sizes = np.arange(97)
    mine = evaluate(lambda ids: ours.logits(ours(ids)), windows, sizes)
    other = evaluate(qwen3.logits_of(theirs, bfloat16=False), windows, sizes)
    assert mine == pytest.approx(other, abs=1e-3)
    assert mine["nats"] > 1.0


def test_the_models_have_as_many_parameters() -> None:
    ours, theirs = random_pair()
    assert qwen3.parameters(ours) == qwen3.parameters(theirs)


def test_bits_per_byte_follow_from_the_bytes_of_the_targets() -> None:
    windows = np.array([[0, 1, 2, 1]], dtype=np.uint16)
    found = evaluate(lambda ids: torch.zeros(*ids.shape, 4), windows, np.array([0, 3, 5, 7]))
    assert found["nats"] == pytest.approx(np.log(4))
    assert found["bits_per_byte"] == pytest.approx(3 * 2 / (3 + 5 + 3))


def test_looking_is_not_on_the_clock(shared: data.Shared, tmp_path: Path) -> None:
    now = [100.0]
    plan = Plan("x", str(shared.folder), str(shared.root), str(tmp_path / "out"), str(tmp_path), 5, 100.0, 10.0, 90.0)
    meter = Meter(plan, lambda: now[0])

    def logits(ids: torch.Tensor) -> torch.Tensor:
        now[0] += 1000.0
        return torch.zeros(*ids.shape, shared.facts["vocabulary"])

    meter.begin(1, logits)
    stops = []
    for _ in range(5):
        now[0] += 11.0
        stops.append(meter.step(2.0))
    assert stops == [False, False, False, False, True]
    assert meter.seconds == pytest.approx(55.0)
    meter.end()


def lines(step: float, looks: list[tuple[float, float]] | None = None) -> list[Any]:
    rows: list[Any] = [{"what": "began", "since_start": 2.0, "parameters": 9}]
    rows += [{"what": "step", "step": n, "seconds": 5 + n * step, "processor_seconds": n * step, "loss": 3.0}
             for n in range(1, 21)]  # fmt: skip
    rows += [
        {"what": "look", "step": 1, "seconds": at, "nats": nats, "bits_per_byte": nats} for at, nats in looks or []
    ]
    return [*rows, {"what": "ended", "steps": 20, "planned": 20, "peak_kib": 2048, "children_kib": 0}]


def test_a_leg_comes_to_its_median_step() -> None:
    leg = figures.summary(lines(0.5), 2048)
    assert (leg["tokens_per_second"], leg["peak_mib"], leg["steps"]) == (4096.0, 2.0, 20)
    assert figures.steps_that_fit([leg], 480.0) == int(0.98 * (480 - 5.5) / 0.5)
    assert figures.mfu(leg | {"peak_flop": [4e9, 6e9]}, 1e6) == pytest.approx(0.8192)
    with pytest.raises(ValueError, match="not ended"):
        figures.summary(lines(0.5)[:-1], 2048)


def test_ratios_pair_legs_of_one_round_and_time_to_a_loss_is_read_between_looks() -> None:
    legs = {"a": {1: {"tokens_per_second": 6}, 2: {"tokens_per_second": 9}}, "b": {2: {"tokens_per_second": 6}}}
    assert figures.ratios(legs, "a", "b") == [1.5]
    looks = figures.summary(lines(0.5, [(10.0, 4.0), (20.0, 3.0), (30.0, 2.0)]), 2048)["looks"]
    assert figures.time_to(looks, 2.5) == pytest.approx(25.0)
    assert figures.time_to(looks, 1.0) is None


def test_a_disturbed_leg_is_marked() -> None:
    quiet = {"busy_before": 0.01, "others": 0.02, "peak_flop": [9.5, 10.0]}
    assert not figures.disturbed(quiet, 10.0)
    assert figures.disturbed(quiet | {"others": 0.3}, 10.0)
    assert figures.disturbed(quiet | {"peak_flop": [8.0, 10.0]}, 10.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_benchmark_is_refused() -> None:
    with pytest.raises(SystemExit, match="no CUDA device"):
        gpu.main([])


def test_the_gpu_benchmark_runs_small(shared: data.Shared, tmp_path: Path) -> None:
    """Real processes, tenth's trainer and Hugging Face's, on the processor."""
    found = gpu.main(["--smoke", "--place", str(tmp_path / "place"), "--source", str(shared.root)])
    assert {name: leg[1]["steps"] for name, leg in found.items()} == {"tenth": 6, "trainer-plain": 6}
    assert found["tenth"][1]["parameters"] == found["trainer-plain"][1]["parameters"]
