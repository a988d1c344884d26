"""Are the scores of a forecast what their definitions say, and is the automatic forecaster worth its name?"""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest

from tenth.errors import WrongInput
from tenth.forecasts.automatic import automatic, naive
from tenth.forecasts.told import Told, brier

ODD = Told((0.1, 0.3, 0.8), (1.0, 1.5, 4.0))
NORMAL = Told(
    *zip(*[(level, NormalDist(2, 0.5).inv_cdf(level)) for level in (n / 40 for n in range(1, 40))], strict=True)
)


@pytest.mark.parametrize("told", [ODD, NORMAL])
def test_probability_and_quantile_are_each_others_inverse_and_agree_with_the_density(told: Told) -> None:
    for number in range(1, 1000):
        level = number / 1000
        value = told.quantile(level)
        assert told.chance_below(value) == pytest.approx(level)
        slope = (told.chance_below(value + 1e-6) - told.chance_below(value - 1e-6)) / 2e-6
        if min(abs(value - one) for one in told.values) > 1e-5:
            assert told.log_score(value) == pytest.approx(-math.log(slope), rel=1e-3)


@pytest.mark.parametrize("value", [-1.0, 1.2, 1.5, 3.0, 9.0])
def test_the_crps_is_the_squared_distance_of_the_distribution_functions(value: float) -> None:
    width = 0.002
    grid = [-20 + width * (number + 0.5) for number in range(int(60 / width))]
    integral = sum((ODD.chance_below(x) - (x >= value)) ** 2 for x in grid) * width
    assert ODD.crps(value) == pytest.approx(integral, abs=0.01)


def test_the_crps_of_a_normal_forecast_is_known_in_closed_form() -> None:
    """Gneiting and Raftery, equation 21."""
    unit = NormalDist()
    for value in (1.2, 2.0, 2.9):
        z = (value - 2) / 0.5
        exact = 0.5 * (z * (2 * unit.cdf(z) - 1) + 2 * unit.pdf(z) - 1 / math.sqrt(math.pi))
        assert NORMAL.crps(value) == pytest.approx(exact, rel=0.03)


def test_how_far_out_a_value_is() -> None:
    assert ODD.p_value(ODD.quantile(0.005)) == pytest.approx(0.01)
    assert ODD.p_value(ODD.quantile(0.995)) == pytest.approx(0.01)
    assert ODD.p_value(ODD.quantile(0.5)) == pytest.approx(1.0)
    assert brier(0.9, happened=True) == pytest.approx(0.01)


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"0.5": 1},
        {"0.05": 1, "0.95": 1},
        {"0.05": 2, "0.95": 1},
        {"0": 1, "0.5": 2},
        {"0.1": 1, "0.5": math.nan},
    ],
)
def test_what_is_no_forecast_is_refused(given: object) -> None:
    with pytest.raises(WrongInput, match="forecast"):
        Told.read(given)


def test_the_automatic_forecaster_follows_a_power_law_and_says_how_sure_it_is() -> None:
    noise = random.Random(3)
    curve = [2 + step**-0.4 + noise.gauss(0, 0.004) for step in range(1, 41)]
    mine, theirs, inside = 0.0, {"persistence": 0.0, "extrapolation": 0.0}, 0
    for gate in range(2, 40):
        told = automatic(curve[:gate])
        assert told is not None
        mine += told.crps(curve[gate])
        inside += told.quantile(0.05) <= curve[gate] <= told.quantile(0.95)
        for name, one in naive(curve[:gate]).items():
            theirs[name] += one.crps(curve[gate])
    assert mine < 0.9 * min(theirs.values())
    assert 30 <= inside <= 38


def test_too_short_a_history_is_not_forecast_and_a_flat_one_is() -> None:
    assert automatic([1.0]) is None
    assert naive([1.0]) == {}
    told = automatic([1.0, 1.0])
    assert told is not None
    assert told.quantile(0.5) == pytest.approx(1.0)
