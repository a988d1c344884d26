"""Alarms find what is planted in a stream, keep quiet without it, and hold the levels that they state."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tenth.alarms import GUARANTEED, NOMINAL, Coin, Drift, Rate, Spike


def noise(seed: int, steps: int = 1_000) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).standard_normal(steps)


def steps(detector: Spike | Drift, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[int]:
    return [alarm.step for value in values.tolist() if (alarm := detector.see(value))]


def test_a_spike_is_found_at_once_and_a_slow_rise_is_not() -> None:
    values = noise(1)
    values[500] += 12
    assert steps(Spike(), values) == [500]
    values = noise(1) + np.linspace(0, 4, 1_000)
    assert steps(Spike(), values) == []


def test_a_value_that_is_no_number_is_a_spike_from_the_first_step_and_leaves_no_trace() -> None:
    spike = Spike(window=4)
    alarm = spike.see(math.nan)
    assert alarm is not None
    assert (alarm.step, alarm.kind) == (0, NOMINAL)
    assert [spike.see(value) for value in (1.0, 1.1, 0.9, 1.0)] == [None] * 4
    assert spike.see(2.0) is not None
    assert Drift().see(math.inf) is None


def test_equal_values_are_no_alarm() -> None:
    assert steps(Spike(), np.ones(500)) == []
    assert steps(Drift(), np.ones(400)) == []


@pytest.mark.parametrize(("height", "length", "delay"), [(2.5, 40, 25), (1.0, 400, 120)])
def test_a_burst_is_found_while_it_lasts(height: float, length: int, delay: int) -> None:
    for seed in range(3):
        values = noise(seed)
        values[500 : 500 + length] += height
        hits = [step for step in steps(Drift(), values) if 500 <= step < 500 + length]
        assert hits
        assert hits[0] - 500 <= delay


def test_without_a_burst_drift_is_silent() -> None:
    assert sum(len(steps(Drift(), noise(seed))) for seed in range(5)) <= 2  # 5,000 steps at one in 10,000


def test_falling_values_are_no_drift() -> None:
    assert steps(Drift(), noise(3) - np.linspace(0, 6, 1_000)) == []


def test_the_audit_alarms_on_too_many_bad_samples_and_once_only() -> None:
    test = Rate(at_most=0.001, level=0.01)
    alarms = [alarm for _ in range(60) for bad in [False] * 19 + [True] if (alarm := test.see(bad))]
    assert len(alarms) == 1
    assert alarms[0].kind == GUARANTEED
    assert alarms[0].value >= 100


def test_the_audits_e_value_is_a_supermartingale_at_the_edge_and_below_it() -> None:
    for rate in (0.05, 0.01):
        test = Rate(at_most=0.05)
        for judged in [False, True, False, False, True]:
            before = test.evidence
            outcomes = []
            for bad in (False, True):
                twin = Rate(at_most=0.05)
                twin._log, twin._seen = test._log.copy(), test._seen
                twin.see(bad)
                outcomes.append(twin.evidence)
            expected = (1 - rate) * outcomes[0] + rate * outcomes[1]
            assert expected <= before * (1 + 1e-9)
            if rate == 0.05:
                assert expected == pytest.approx(before)
            test.see(judged)


def test_the_bound_shrinks_as_three_over_n_does_and_covers_what_was_seen() -> None:
    test = Rate(at_most=0.01)
    assert test.bound() == 1.0
    bounds = []
    for _ in range(3):
        for _ in range(300):
            test.see(False)
        bounds.append(test.bound())
    assert bounds == sorted(bounds, reverse=True)
    assert 3 / 900 < bounds[-1] < 10 / 900
    test.see(True)
    assert test.bound() > bounds[-1]


def test_a_coin_that_is_foretold_is_found_and_another_is_not() -> None:
    random = np.random.default_rng(5)
    fair, leaked = Coin(), Coin()
    alarms = []
    for _ in range(400):
        fell, other, leaks = bool(random.random() < 0.5), bool(random.random() < 0.5), bool(random.random() < 0.7)
        assert fair.see(fell, other) is None
        if alarm := leaked.see(fell, fell if leaks else not fell):
            alarms.append(alarm)
    assert len(alarms) == 1
    assert fair.see(True, None) is None
    assert fair.evidence < 10


def test_false_alarms_of_guaranteed_tests_stay_below_their_level() -> None:
    random = np.random.default_rng(6)
    raised = 0
    for _ in range(200):
        test = Coin(level=0.05)
        raised += any(test.see(fell, True) for fell in (random.random(200) < 0.5).tolist())
    assert raised <= 0.05 * 200 + 3 * math.sqrt(0.05 * 0.95 * 200)
