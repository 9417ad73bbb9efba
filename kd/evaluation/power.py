"""How many paired seeds would show a difference, before they are trained."""

import math

import numpy as np

from kd.evaluation.intervals import CONFIDENCE, Interval, Values

POWER = 0.8
"""Probability to find a difference that is there, as most studies are planned (Cohen 1988)."""
MIN_SEEDS = 2
"""Seeds below which there is no interval."""
MAX_EFFECT = 1e6
"""Ratio of a difference to its spread above which power is 1, and below whose inverse it is that of no difference."""


def power_of(seeds: int, difference: float, spread: float, level: float = CONFIDENCE) -> float:
    """Return the probability that so many paired seeds show a difference: that its interval leaves out zero.

    The paired t statistic then is noncentral, and its square follows a noncentral F distribution, both of whose tails count.

    Args:
        seeds: how many, 2 or more.
        difference: the true mean of the paired differences; its sign does not matter.
        spread: the standard deviation of the paired differences over seeds, in the same unit.
        level: the confidence of the interval.

    Raises:
        ValueError: fewer than 2 seeds, a spread that is not positive, a level outside (0, 1), or a value that is not finite.
    """
    _check(difference, spread, level)
    if seeds < MIN_SEEDS:
        msg = f"an interval needs {MIN_SEEDS} seeds or more: {seeds}"
        raise ValueError(msg)
    from scipy import stats  # noqa: PLC0415 - a slow import, of no use to a training

    effect = min(max(abs(difference / spread), 1 / MAX_EFFECT), MAX_EFFECT)  # scipy has no value at 0
    return float(stats.ncf.sf(stats.f.ppf(level, 1, seeds - 1), 1, seeds - 1, seeds * effect**2))


def seeds_for(difference: float, spread: float, power: float = POWER, level: float = CONFIDENCE) -> int:
    """Return how many paired seeds show a difference with this probability; 2 where there is no spread.

    For the arguments see :func:`power_of`.

    Raises:
        ValueError: a difference of 0, a power or level outside (0, 1), a negative spread, or a value that is not finite.
    """
    if spread == 0 and difference != 0:  # any difference then stands out
        spread = abs(difference) / MAX_EFFECT
    _check(difference, spread, level)
    if difference == 0 or not 0 < power < 1:
        msg = f"no number of seeds has this power: a difference of {difference}, power={power}"
        raise ValueError(msg)
    high = MIN_SEEDS
    while power_of(high, difference, spread, level) < power:
        high *= 2
    low = max(MIN_SEEDS, high // 2)
    while low < high:
        middle = (low + high) // 2
        if power_of(middle, difference, spread, level) < power:
            low = middle + 1
        else:
            high = middle
    return high


def spread_interval(values: Values) -> Interval:
    """Return the standard deviation of values over seeds with its interval, by the chi-square distribution.

    The bounds are NaN for one value, as is the spread; of few seeds the interval is wide.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = len(sample)
    if n < MIN_SEEDS:
        return Interval(math.nan, math.nan, math.nan, n)
    from scipy import stats  # noqa: PLC0415 - as above

    spread = float(sample.std(ddof=1))
    low, high = (spread * math.sqrt((n - 1) / stats.chi2.ppf(q, n - 1)) for q in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2))
    return Interval(spread, low, high, n)


def _check(difference: float, spread: float, level: float) -> None:
    if not (math.isfinite(difference) and 0 < spread < math.inf and 0 < level < 1):
        msg = f"power needs finite values, a positive spread and a level in (0, 1): {difference=}, {spread=}, {level=}"
        raise ValueError(msg)
