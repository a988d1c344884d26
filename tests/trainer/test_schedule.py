"""The schedule: between 0 and 1, never up again after the warm-up, and the same for a longer run until it decays."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from client.fake_supervisor import FakeSupervisor
from tenth.trainer.pretrain import pretrain
from tenth.trainer.schedule import scale
from trainer.tiny import TINY

SHARES = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (pair[0] / 100, pair[1] / 100))
STEPS = st.integers(0, 60)


@given(total=st.integers(1, 120), shares=SHARES, warmup_steps=STEPS, decay_steps=STEPS, floor=st.floats(0, 1))
def test_it_rises_once_and_then_only_falls(
    total: int, shares: tuple[float, float], warmup_steps: int, decay_steps: int, floor: float
) -> None:
    values = [scale(step, total, *shares, floor, warmup_steps, decay_steps) for step in range(total + 1)]
    assert all(0 < value <= 1 for value in values[:-1])
    rise = warmup_steps or total * shares[0]
    top = next((step for step in range(total) if step >= rise), total)
    assert all(a <= b for a, b in pairwise(values[:top]))
    assert all(a >= b for a, b in pairwise(values[top:]))
    if (decay_steps or shares[1] * total) and rise < total:
        assert values[-1] == floor


@given(
    total=st.integers(1, 200), more=st.integers(0, 200), warmup_steps=st.integers(1, 50),
    decay_steps=st.integers(1, 250), shares=SHARES, floor=st.floats(0, 1),
)  # fmt: skip
def test_a_longer_run_goes_the_same_way_until_the_shorter_decays(
    total: int, more: int, warmup_steps: int, decay_steps: int, shares: tuple[float, float], floor: float
) -> None:
    for step in range(total - decay_steps):
        short = scale(step, total, *shares, floor, warmup_steps, decay_steps)
        assert scale(step, total + more, *shares, floor, warmup_steps, decay_steps) == short
    for step in range(total):  # and it is never lower later on
        if warmup_steps <= total:
            short = scale(step, total, *shares, floor, warmup_steps, decay_steps)
            assert scale(step, total + more, *shares, floor, warmup_steps, decay_steps) >= short


def test_a_run_of_more_epochs_has_the_same_weights_before_the_decay(supervise: Callable[..., FakeSupervisor]) -> None:
    recipe = TINY + "[schedule]\nwarmup_steps = 3\ndecay_steps = 5\n"
    runs = [supervise(str(epochs), recipe=recipe, of=2, epochs=epochs) for epochs in (1, 3)]
    for alike in (True, False):  # the shorter one decays in its second half
        weights = []
        for run in runs:
            run.in_this_process(lambda run: pretrain(run, time.monotonic()))
            assert run.resume is not None
            weights.append((run.resume / "model.safetensors").read_bytes())
        assert (weights[0] == weights[1]) is alike
