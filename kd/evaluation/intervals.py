"""Intervals and tests behind every reported number: a difference without its spread is not reported.

Accuracies and their differences are fractions here; ``format_interval`` shows them in percent.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
BOOTSTRAP_SEED = 0
MAX_DECIMALS = 6

Values = Sequence[float] | npt.NDArray[np.floating]
Correct = npt.NDArray[np.bool_]  # (n,) which images were answered correctly


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval over n observations (images or seeds). The bounds are NaN where n is too small."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def is_known(self) -> bool:
        """Return whether there is an interval at all: a single seed has none."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def holds_zero(self) -> bool:
        """Return whether zero is not ruled out; an unknown interval rules nothing out."""
        return not (self.low > 0 or self.high < 0)


def wilson_interval(correct: int, n: int) -> Interval:
    """Return the share of correct answers with Wilson's score interval (Wilson 1927), which stays inside [0, 1].

    Raises:
        ValueError: n is 0, or ``correct`` is not in [0, n].
    """
    if n < 1 or not 0 <= correct <= n:
        msg = f"correct must be in [0, n] and n at least 1: correct={correct}, n={n}"
        raise ValueError(msg)
    from scipy import stats  # noqa: PLC0415 - a slow import, of no use to a training

    bounds = stats.binomtest(int(correct), int(n)).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(correct / n, float(bounds.low), float(bounds.high), int(n))


def score_interval(share: float, n: float) -> Interval:
    """Return Wilson's score interval of a share in [0, 1] over n images, neither of which need be of whole images.

    It is that of :func:`wilson_interval` where they are, and serves means over groups of images.
    """
    from scipy import stats  # noqa: PLC0415 - as above

    z2 = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), round(n))


def t_interval(values: Values) -> Interval:
    """Return the mean over seeds with Student's t interval.

    One value has NaN bounds; equal values have zero width.

    Raises:
        ValueError: ``values`` (n,) are empty, not finite, or not one-dimensional.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) == 0 or not np.isfinite(sample).all():
        msg = f"a t interval needs at least one value, all of them finite: {sample.tolist()}"
        raise ValueError(msg)
    n = len(sample)
    if n == 1:
        return Interval(float(sample[0]), math.nan, math.nan, 1)
    if np.ptp(sample) == 0:  # the rounding of a mean would give equal values a spread
        return Interval(float(sample[0]), float(sample[0]), float(sample[0]), n)
    from scipy import stats  # noqa: PLC0415 - a slow import, of no use to a training

    mean = float(sample.mean())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * stats.sem(sample))
    return Interval(mean, mean - half, mean + half, n)


def share_interval(shares: Values) -> Interval:
    """Return the mean of shares over seeds with its t interval, whose bounds are cut where no share can be: below 0, above 1.

    For the arguments and errors see :func:`t_interval`.
    """
    found = t_interval(shares)
    low, high = (min(max(bound, 0.0), 1.0) for bound in (found.low, found.high))
    return Interval(found.mean, low, high, found.n)


def paired_difference(a: Values, b: Values) -> Interval:
    """Return the t interval of a - b, where a (n,) and b (n,) are values of the same seeds in the same order.

    Raises:
        ValueError: they differ in length, are empty, or are not finite.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        msg = f"paired values need one partner each: {first.shape} against {second.shape}"
        raise ValueError(msg)
    return t_interval(first - second)


def ratio_interval(pairs: Sequence[tuple[float, float]]) -> Interval:
    """Return the ratio of two means by Fieller's method (1954): of pairs of numerator and denominator, one per seed.

    The mean of ratios would be at the mercy of a single small denominator. The bounds are the ratios r for which the mean of
    ``numerator - r denominator`` can't be told from 0; they are NaN for one pair, and where a denominator of 0 can't be ruled
    out. The ratio itself is NaN where the mean denominator is not above 0: there is nothing to have a share of.

    Raises:
        ValueError: there is no pair, or not all are finite.
    """
    above, below = (t_interval([pair[place] for pair in pairs]) for place in (0, 1))
    ratio = above.mean / below.mean if below.mean > 0 else math.nan
    n = len(pairs)
    if n == 1 or not below.low > 0:
        return Interval(ratio, math.nan, math.nan, n)
    from scipy import stats  # noqa: PLC0415 - a slow import, of no use to a training

    covariance = np.cov(np.asarray(pairs, dtype=np.float64), rowvar=False)  # (2, 2)
    spread = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) ** 2 / n * covariance
    a, b, c = below.mean**2 - spread[1, 1], above.mean * below.mean - spread[0, 1], above.mean**2 - spread[0, 0]
    half = math.sqrt(max(0.0, b * b - a * c))
    return Interval(ratio, float((b - half) / a), float((b + half) / a), n)


def paired_bootstrap(before: Correct, after: Correct, *, seed: int, resamples: int = 10_000) -> Interval:
    """Return the difference in accuracy, after - before, with the paired percentile bootstrap over images.

    A resample of images changes the difference through its numbers of mended and broken images alone, and those are
    multinomial: drawing them is the bootstrap itself, without its loops (Efron and Tibshirani 1993, chapter 13).

    Args:
        before: whether each image was answered correctly before a change, (n,).
        after: whether each was after the change, (n,).
        seed: seed of the resamples.
        resamples: how many are drawn.

    Raises:
        ValueError: the shapes differ, or n is 0.
    """
    _, mended, broken, n = _paired_counts(before, after)
    drawn = np.random.default_rng(seed).multinomial(n, np.array([mended, broken, n - mended - broken]) / n, resamples)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / n, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval((mended - broken) / n, float(low), float(high), n)


def paired_relative_gain(before: Correct, after: Correct, *, seed: int, resamples: int = 10_000) -> Interval:
    """Return the relative gain in accuracy, after / before - 1, with its paired bootstrap.

    Table 4 of Hinton et al. (2015) reports it. All is NaN where no image was right before, since then the ratio has no value.
    For the arguments and errors see :func:`paired_bootstrap`.
    """
    kept, mended, broken, n = _paired_counts(before, after)
    if kept + broken == 0:
        return Interval(math.nan, math.nan, math.nan, n)
    shares = np.array([kept, mended, broken, n - kept - mended - broken]) / n
    drawn = np.random.default_rng(seed).multinomial(n, shares, resamples)
    drawn = drawn[drawn[:, 0] + drawn[:, 2] > 0]  # a resample with nothing right before has no ratio
    gains = (drawn[:, 1] - drawn[:, 2]) / (drawn[:, 0] + drawn[:, 2])
    low, high = np.quantile(gains, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval((mended - broken) / (kept + broken), float(low), float(high), n)


def mcnemar(before: Correct, after: Correct) -> float:
    """Return the two-sided exact p-value of McNemar's test (1947) that as many images were mended as broken.

    It is 1.0 where no answer changed. For the arguments and errors see :func:`paired_bootstrap`.
    """
    _, mended, broken, _ = _paired_counts(before, after)
    if mended + broken == 0:
        return 1.0
    from scipy import stats  # noqa: PLC0415 - a slow import, of no use to a training

    return float(stats.binomtest(mended, mended + broken, 0.5).pvalue)


def paired_t_test(a: Values, b: Values) -> float:
    """Return the two-sided p-value of Student's paired test that a and b, values of the same seeds, have one mean.

    It is below 0.05 just where zero lies outside the interval of :func:`paired_difference`, whose arguments and errors it has;
    NaN for one seed; 0 or 1 where all differences are equal.
    """
    difference = paired_difference(a, b)
    if difference.n == 1:
        return math.nan
    if difference.low == difference.high:
        return 1.0 if difference.mean == 0 else 0.0
    from scipy import stats  # noqa: PLC0415 - a slow import, of no use to a training

    with warnings.catch_warnings():  # of differences that are equal but for rounding, as those of a few seeds may well be
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.ttest_rel(a, b).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for all tests of one table (Holm 1979), in the same order.

    Comparisons whose adjusted value is at most 0.05 are, with a probability of 95 % or more, all of them true, however
    the tests depend on one another. NaN, a test that could not be made, stays NaN and counts for nothing.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(values), math.nan)
    order = np.argsort(values)[: int(np.isfinite(values).sum())]  # NaN stands last
    left = len(order) - np.arange(len(order))  # how many tests are not yet decided, this one among them
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(left * values[order]))
    return [float(value) for value in adjusted]


def format_interval(interval: Interval, unit: str = "%", *, signed: bool = True) -> str:
    """Write the interval as text: "+1.2 % [0.3, 2.1], n = 5".

    A unit that starts with "%" shows fractions in percent, any other shows the values as they are. The width of the interval
    decides on the number of decimals, which is always enough to see on which side of zero a bound lies.
    """
    scale = unit_scale(unit)
    mean, low, high = (scale * value for value in (interval.mean, interval.low, interval.high))
    n = f"n = {interval.n:,}"
    if not math.isfinite(mean):
        return f"no value, {n}"
    decimals = _decimals(mean, low, high)
    text = f"{mean:{'+' if signed else ''}z.{decimals}f} {unit}".rstrip()
    bounds = f"[{low:z.{decimals}f}, {high:z.{decimals}f}]" if interval.is_known else "(no interval)"
    return f"{text} {bounds}, {n}"


def verdict(interval: Interval, adjusted_p: float | None = None) -> str:
    """Name a difference in a score where more is better: gain, loss, or null result where the interval holds zero.

    Args:
        interval: of the difference.
        adjusted_p: its p-value among all of a table (:func:`holm`); above 0.05 the difference is a null result as well.
    """
    if not interval.is_known:
        return "no interval"
    if interval.holds_zero or (adjusted_p is not None and not adjusted_p <= 1 - CONFIDENCE):
        return "null result"
    return "gain" if interval.mean > 0 else "loss"


def unit_scale(unit: str) -> float:
    """Return the factor of values shown in a unit: 100 for "%" and "% points", else 1."""
    return 100.0 if unit.startswith("%") else 1.0


def _paired_counts(before: Correct, after: Correct) -> tuple[int, int, int, int]:
    """Count the images right both times, mended (wrong, then right), broken (right, then wrong), and all of them."""
    first, second = np.asarray(before, dtype=np.bool_), np.asarray(after, dtype=np.bool_)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        msg = f"before and after must be (n,) with n at least 1: {first.shape} and {second.shape}"
        raise ValueError(msg)
    return int((first & second).sum()), int((~first & second).sum()), int((first & ~second).sum()), len(first)


def _decimals(mean: float, low: float, high: float) -> int:
    half = (high - low) / 2
    if not half > 0:  # no interval, or one of no width: three significant digits
        return min(max(1, 2 - math.floor(math.log10(abs(mean)))) if mean else 1, MAX_DECIMALS)
    decimals = max(1, -math.floor(math.log10(half)))
    bounds = [value for value in (low, high) if round(value, MAX_DECIMALS) != 0]
    while decimals < MAX_DECIMALS and any(round(value, decimals) == 0 for value in bounds):
        decimals += 1
    return min(decimals, MAX_DECIMALS)
