"""The number of paired seeds against published tables and simulated experiments."""

import math

import numpy as np
import pytest
from scipy import stats

from kd.evaluation.power import power_of, seeds_for, spread_interval


@pytest.mark.parametrize(
    ("effect", "power", "seeds"),
    [(0.5, 0.8, 34), (0.8, 0.8, 15), (1.0, 0.8, 10), (0.5, 0.95, 54), (0.2, 0.8, 199)],  # G*Power 3.1, paired t, two-sided
)
def test_the_number_of_seeds_is_that_of_published_tables(effect: float, power: float, seeds: int) -> None:
    assert seeds_for(effect, 1.0, power) == seeds
    assert seeds_for(-0.003 * effect, 0.003, power) == seeds  # neither the unit nor the sign matters
    assert power_of(seeds, effect, 1.0) >= power > power_of(seeds - 1, effect, 1.0)


@pytest.mark.parametrize(("seeds", "effect"), [(2, 1.0), (5, 1.0), (5, 0.0), (12, -0.9)])
def test_power_is_the_share_of_simulated_experiments_that_show_the_difference(seeds: int, effect: float) -> None:
    drawn = np.random.default_rng(0).normal(effect, 1.0, (100_000, seeds))
    t = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / math.sqrt(seeds))
    shown = (np.abs(t) > stats.t.ppf(0.975, seeds - 1)).mean()
    assert power_of(seeds, effect, 1.0) == pytest.approx(shown, abs=0.005)


def test_extremes_of_the_spread_have_a_number_too() -> None:
    assert seeds_for(0.1, 0.0) == seeds_for(1.0, 1e-200) == seeds_for(1e-200, 0.0) == 2
    normal = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 1e12
    assert seeds_for(1e-6, 1.0) == pytest.approx(normal, rel=1e-5)
    assert seeds_for(1.0, 1.0, level=0.99) > seeds_for(1.0, 1.0, level=0.9)


@pytest.mark.parametrize(
    ("difference", "spread", "power", "level"),
    [
        (0.0, 1.0, 0.8, 0.95),
        (0.0, 0.0, 0.8, 0.95),
        (1.0, -1.0, 0.8, 0.95),
        (math.nan, 1.0, 0.8, 0.95),
        (1.0, math.inf, 0.8, 0.95),
        (1.0, 1.0, 1.0, 0.95),
        (1.0, 1.0, 0.8, 1.0),
    ],
)
def test_what_no_number_of_seeds_shows_is_refused(difference: float, spread: float, power: float, level: float) -> None:
    with pytest.raises(ValueError, match="power"):
        seeds_for(difference, spread, power, level)
    with pytest.raises(ValueError, match="2 seeds or more: 1"):
        power_of(1, 1.0, 1.0)


def test_the_interval_of_a_spread_by_hand() -> None:
    # Variance 2.5 of 1 to 5; chi-square of 4 degrees of freedom: 11.1433 at 97.5 %, 0.484419 at 2.5 %.
    interval = spread_interval([1, 2, 3, 4, 5])
    assert interval.mean == pytest.approx(math.sqrt(2.5))
    assert interval.n == 5
    assert interval.low == pytest.approx(math.sqrt(10 / 11.14329))
    assert interval.high == pytest.approx(math.sqrt(10 / 0.4844186))
    assert not spread_interval([1.0]).is_known
    assert math.isnan(spread_interval([]).mean)
