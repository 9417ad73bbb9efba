"""Intervals and tests against values by hand and slower, plainer versions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd.evaluation.intervals import (
    Interval,
    format_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_difference,
    paired_relative_gain,
    paired_t_test,
    ratio_interval,
    score_interval,
    share_interval,
    t_interval,
    unit_scale,
    verdict,
    wilson_interval,
)

NAN = math.nan


def answers(kept: int, mended: int, broken: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Build before and after (n,) with these numbers of images, in a fixed but mixed order."""
    before = np.array([True] * kept + [False] * mended + [True] * broken + [False] * wrong)
    after = np.array([True] * kept + [True] * mended + [False] * broken + [False] * wrong)
    order = np.random.default_rng(3).permutation(len(before))
    return before[order], after[order]


def plain_bootstrap(
    before: np.ndarray, after: np.ndarray, statistic: Callable[..., float], resamples: int = 4_000
) -> np.ndarray:
    """Draw images with replacement, one resample at a time."""
    rng = np.random.default_rng(11)
    drawn = [rng.integers(0, len(before), len(before)) for _ in range(resamples)]
    return np.quantile([statistic(before[rows], after[rows]) for rows in drawn], [0.025, 0.975])


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (1, 3), (912, 1000)])
def test_wilson_interval_is_the_closed_form(correct: int, n: int) -> None:
    z, p = 1.959963984540054, correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = wilson_interval(correct, n)
    assert interval.mean == p
    assert interval.n == n
    assert interval.low == pytest.approx(centre - half, abs=1e-9)
    assert interval.high == pytest.approx(centre + half, abs=1e-9)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (1, 3), (912, 1000)])
def test_the_interval_of_a_share_is_that_of_whole_counts(correct: int, n: int) -> None:
    whole, shared = wilson_interval(correct, n), score_interval(correct / n, n)
    assert [shared.low, shared.high] == pytest.approx([whole.low, whole.high], abs=1e-9)
    assert 0 <= shared.low <= shared.mean <= shared.high <= 1
    wider = score_interval(correct / n, n / 2)
    assert wider.high - wider.low > shared.high - shared.low


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"n={n}"):
        wilson_interval(correct, n)


def test_t_interval_by_hand() -> None:
    # mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.776445
    interval = t_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)
    assert (interval.mean, interval.n) == (3, 5)
    assert interval.low == pytest.approx(3 - half, abs=1e-5)
    assert interval.high == pytest.approx(3 + half, abs=1e-5)


def test_one_value_has_a_mean_and_no_interval() -> None:
    interval = t_interval([0.25])
    assert (interval.mean, interval.n, interval.is_known) == (0.25, 1, False)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.holds_zero  # nothing is ruled out


@settings(deadline=None)
@given(st.floats(-1, 1), st.integers(2, 9))
def test_equal_values_have_zero_width(value: float, n: int) -> None:
    assert t_interval([value] * n) == Interval(value, value, value, n)


@pytest.mark.parametrize("values", [[], [0.1, NAN], [math.inf, 1.0], [[0.1], [0.2]]])
def test_t_interval_refuses_what_has_no_mean(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="at least one value"):
        t_interval(values)


def test_paired_difference_uses_the_pairing() -> None:
    # Seeds differ by far more than the two systems: unpaired intervals would overlap widely.
    a, b = np.array([0.91, 0.80, 0.70]), np.array([0.90, 0.78, 0.67])
    interval = paired_difference(a, b)
    assert interval.mean == pytest.approx(0.02)
    half = 4.302653 * 0.01 / math.sqrt(3)  # t(0.975, 2); the differences are 0.01, 0.02, 0.03
    assert interval.low == pytest.approx(0.02 - half, abs=1e-6)
    assert interval.high == pytest.approx(0.02 + half, abs=1e-6)
    assert paired_difference(b, a).mean == pytest.approx(-0.02)


def test_paired_difference_refuses_values_without_a_partner() -> None:
    with pytest.raises(ValueError, match="partner"):
        paired_difference([0.1, 0.2], [0.1])


def test_an_interval_of_shares_ends_where_shares_end() -> None:
    assert share_interval([0.0, 0.2]) == Interval(0.1, 0.0, 1.0, 2)  # 0.1 +- 12.7 * 0.1
    assert share_interval([0.5, 0.51, 0.52]) == t_interval([0.5, 0.51, 0.52])
    assert not share_interval([0.5]).is_known


def test_the_paired_t_test_by_hand() -> None:
    # Differences 0.01, 0.02, 0.03: t = 0.02 / (0.01 / sqrt(3)); with 2 degrees of freedom p is 1 - t / sqrt(2 + t^2).
    t = 2 * math.sqrt(3)
    assert paired_t_test([0.91, 0.80, 0.70], [0.90, 0.78, 0.67]) == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert paired_t_test([0.92, 0.90, 0.91], [0.82, 0.80, 0.81]) < 1e-9  # equal but for rounding, and nothing warns of it
    assert paired_t_test([0.5, 0.75], [0.25, 0.5]) == 0.0  # without a spread no other test is left
    assert paired_t_test([0.5, 0.6], [0.5, 0.6]) == 1.0
    assert math.isnan(paired_t_test([0.5], [0.4]))


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_the_paired_t_test_and_the_interval_agree(differences: list[float]) -> None:
    zeros = [0.0] * len(differences)
    p = paired_t_test(differences, zeros)
    assert (p < 0.05) is (not paired_difference(differences, zeros).holds_zero) or p == pytest.approx(0.05, abs=1e-6)


def test_holm_by_hand() -> None:
    # 4 * 0.005; 3 * 0.01; 2 * 0.03; 1 * 0.04 is smaller than the one before, which it takes.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    tested = holm([NAN, 0.02, 0.5])  # what could not be tested takes nothing from the others
    assert math.isnan(tested[0])
    assert tested[1:] == pytest.approx([0.04, 0.5])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_his_steps_reject(p_values: list[float]) -> None:
    rejected = set()
    for step, which in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[which] * (len(p_values) - step) > 0.05:
            break
        rejected.add(which)
    assert {which for which, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


@pytest.mark.parametrize("counts", [(120, 30, 15, 35), (150, 3, 9, 38), (0, 1, 0, 99)])
def test_paired_bootstrap_is_the_plain_bootstrap(counts: tuple[int, int, int, int]) -> None:
    before, after = answers(*counts)
    interval = paired_bootstrap(before, after, seed=0)
    low, high = plain_bootstrap(before, after, lambda b, a: a.mean() - b.mean())
    assert interval.mean == pytest.approx(after.mean() - before.mean())
    assert interval.n == len(before)
    assert interval.low == pytest.approx(low, abs=0.0101)  # the difference moves in steps of 0.005 to 0.01
    assert interval.high == pytest.approx(high, abs=0.0101)
    assert interval.low <= interval.mean <= interval.high


def test_paired_bootstrap_is_narrower_than_an_unpaired_one_would_be() -> None:
    before, after = answers(500, 10, 5, 485)
    interval = paired_bootstrap(before, after, seed=0)
    standard_error = math.sqrt(15 / 1000 - 0.005**2) / math.sqrt(1000)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_without_a_change_the_difference_is_exactly_zero(correct: list[bool]) -> None:
    same = np.array(correct)
    assert paired_bootstrap(same, same, seed=1) == Interval(0.0, 0.0, 0.0, len(correct))
    assert mcnemar(same, same) == 1.0


def test_all_mended() -> None:
    before, after = np.zeros(7, dtype=bool), np.ones(7, dtype=bool)
    assert paired_bootstrap(before, after, seed=1) == Interval(1.0, 1.0, 1.0, 7)


def test_the_seed_decides_the_bootstrap_and_the_order_of_images_does_not() -> None:
    before, after = answers(120, 30, 15, 35)
    first = paired_bootstrap(before, after, seed=5, resamples=300)
    order = np.random.default_rng(0).permutation(len(before))
    assert paired_bootstrap(before[order], after[order], seed=5, resamples=300) == first
    others = [paired_bootstrap(before, after, seed=seed, resamples=300) for seed in range(6, 16)]
    assert any(other != first for other in others)


def test_relative_gain_by_hand_and_by_the_plain_bootstrap() -> None:
    before, after = answers(70, 20, 10, 100)  # 80 right before, 90 right after
    interval = paired_relative_gain(before, after, seed=0)
    low, high = plain_bootstrap(before, after, lambda b, a: a.mean() / b.mean() - 1)
    assert interval.mean == pytest.approx(0.125)
    assert interval.low == pytest.approx(low, abs=0.02)
    assert interval.high == pytest.approx(high, abs=0.02)


def test_relative_gain_has_no_value_where_nothing_was_right_before() -> None:
    interval = paired_relative_gain(*answers(0, 2, 0, 5), seed=0)
    assert math.isnan(interval.mean)
    assert not interval.is_known
    assert interval.n == 7


def test_relative_gain_leaves_out_resamples_without_a_ratio() -> None:
    interval = paired_relative_gain(*answers(1, 1, 0, 1), seed=0)  # 8 of 27 resamples have nothing right before
    assert interval.mean == 1.0
    assert interval.low == 0.0
    assert interval.high == 2.0


@pytest.mark.parametrize(
    ("mended", "broken", "p"),
    [(9, 1, 22 / 1024), (1, 9, 22 / 1024), (5, 5, 1.0), (0, 0, 1.0), (1, 0, 1.0), (6, 0, 2 / 64)],
)
def test_mcnemar_exact(mended: int, broken: int, p: float) -> None:
    assert mcnemar(*answers(20, mended, broken, 4)) == pytest.approx(p)


@pytest.mark.parametrize("function", [mcnemar, lambda b, a: paired_bootstrap(b, a, seed=0)])
@pytest.mark.parametrize(("before", "after"), [([True], [True, False]), ([], []), ([[True]], [[True]])])
def test_paired_scores_refuse_what_is_not_paired(function: Callable[..., object], before: list[Any], after: list[Any]) -> None:
    with pytest.raises(ValueError, match="before and after"):
        function(np.array(before, dtype=bool), np.array(after, dtype=bool))


@pytest.mark.parametrize(
    ("interval", "holds"),
    [
        (Interval(0.1, 0.05, 0.15, 9), False),
        (Interval(-0.1, -0.15, -0.05, 9), False),
        (Interval(0.1, -0.01, 0.21, 9), True),
        (Interval(0.0, 0.0, 0.0, 9), True),
        (Interval(0.1, 0.0, 0.2, 9), True),
        (Interval(0.1, NAN, NAN, 1), True),
    ],
)
def test_holds_zero(interval: Interval, *, holds: bool) -> None:
    assert interval.holds_zero is holds


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Interval(0.1, 0.05, 0.15, 9), "gain"),
        (Interval(-0.1, -0.15, -0.05, 9), "loss"),
        (Interval(0.1, -0.01, 0.21, 9), "null result"),
        (Interval(0.0, 0.0, 0.0, 9), "null result"),
        (Interval(0.1, NAN, NAN, 1), "no interval"),
    ],
)
def test_verdict(interval: Interval, words: str) -> None:
    assert verdict(interval) == words


@pytest.mark.parametrize(("adjusted_p", "words"), [(0.04, "gain"), (0.05, "gain"), (0.06, "null result"), (NAN, "null result")])
def test_one_difference_of_many_needs_a_small_p_value_as_well(adjusted_p: float, words: str) -> None:
    assert verdict(Interval(0.1, 0.05, 0.15, 9), adjusted_p) == words


@pytest.mark.parametrize(
    ("interval", "unit", "text"),
    [
        (Interval(0.012, 0.003, 0.021, 5), "%", "+1.2 % [0.3, 2.1], n = 5"),
        (Interval(-0.012, -0.021, -0.003, 10_000), "% points", "-1.2 % points [-2.1, -0.3], n = 10,000"),
        (Interval(0.0008, -0.0002, 0.0018, 5), "%", "+0.08 % [-0.02, 0.18], n = 5"),  # a narrow interval has more
        (Interval(0.01, 0.0003, 0.0197, 5), "%", "+1.00 % [0.03, 1.97], n = 5"),  # 0.0 would hide a gain
        (Interval(0.01, -0.0003, 0.0203, 5), "%", "+1.00 % [-0.03, 2.03], n = 5"),
        (Interval(0.0, 0.0, 0.0, 4), "%", "+0.0 % [0.0, 0.0], n = 4"),
        (Interval(-0.3123, -0.3145, -0.3, 5), "nats", "-0.312 nats [-0.315, -0.300], n = 5"),
        (Interval(2.5, 1.5, 3.5, 5), "", "+2.5 [1.5, 3.5], n = 5"),
        (Interval(0.312, NAN, NAN, 1), "nats", "+0.312 nats (no interval), n = 1"),
        (Interval(NAN, NAN, NAN, 7), "%", "no value, n = 7"),
        (Interval(0.1, 0.1 - 1e-17, 0.1 + 1e-16, 3), "nats", "+0.100000 nats [0.100000, 0.100000], n = 3"),
    ],
)
def test_format_interval(interval: Interval, unit: str, text: str) -> None:
    assert format_interval(interval, unit) == text


def test_format_interval_without_a_sign() -> None:
    assert format_interval(wilson_interval(912, 1000), signed=False) == "91.2 % [89.3, 92.8], n = 1,000"


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(1e-5, 1))
def test_format_never_hides_the_side_of_zero_a_bound_is_on(mean: float, half: float) -> None:
    interval = Interval(mean, mean - half, mean + half, 5)
    low, high = (float(bound) for bound in format_interval(interval).split("[")[1].split("]")[0].split(", "))
    for exact, shown in ((interval.low, low), (interval.high, high)):
        if abs(exact) > 1e-8:
            assert np.sign(shown) == np.sign(exact)


def test_unit_scale() -> None:
    assert (unit_scale("%"), unit_scale("% points"), unit_scale("nats"), unit_scale("")) == (100, 100, 1, 1)


def test_a_ratio_of_means_is_not_the_mean_of_ratios() -> None:
    pairs = [(1.0, 2.0), (3.0, 3.0), (2.0, 4.0)]
    found = ratio_interval(pairs)
    assert (found.mean, found.n) == (6 / 9, 3)


def test_bounds_of_a_ratio_are_where_the_difference_is_barely_told_from_zero() -> None:
    pairs = [(0.8, 1.1), (1.2, 1.3), (0.7, 0.8), (0.9, 1.2)]
    found = ratio_interval(pairs)
    assert found.low < found.mean < found.high
    for bound in (found.low, found.high):
        at_bound = t_interval([above - bound * below for above, below in pairs])
        assert min(abs(at_bound.low), abs(at_bound.high)) == pytest.approx(0, abs=1e-9)


def test_a_share_of_nothing_has_no_value_and_of_what_may_be_nothing_no_bounds() -> None:
    assert math.isnan(ratio_interval([(0.1, 0.0)]).mean)
    assert math.isnan(ratio_interval([(0.1, -0.2), (0.3, 0.1)]).mean)
    one = ratio_interval([(0.1, 0.2)])
    assert (one.mean, one.is_known, one.n) == (0.5, False, 1)
    doubtful = ratio_interval([(0.1, 0.1), (0.3, -0.05), (0.2, 0.4)])
    assert doubtful.mean > 0
    assert not doubtful.is_known
    equal = ratio_interval([(0.5, 2.0), (0.5, 2.0)])
    assert (equal.mean, equal.low, equal.high) == (0.25, 0.25, 0.25)
