"""Comparisons of two systems: paired differences, over images for one seed and over seeds for several."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from torch import Tensor

from kd.evaluation.intervals import (
    BOOTSTRAP_SEED,
    Interval,
    Values,
    format_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_difference,
    paired_t_test,
    share_interval,
    t_interval,
    verdict,
    wilson_interval,
)


@dataclass(frozen=True)
class Comparison:
    """The accuracy of two systems on test, and the paired difference: ``after`` is compared with ``before``."""

    before: Interval
    after: Interval
    difference: Interval
    p_value: float
    """McNemar's over images, that of Student's paired test over seeds."""
    over: Literal["images", "seeds"] = "images"
    """The unit of n."""
    adjusted_p: float | None = None
    """The p-value among all comparisons of its table (:func:`corrected`); None: it stands alone."""

    @property
    def verdict(self) -> str:
        """Return the verdict on the difference: gain, loss, null result or no interval."""
        return verdict(self.difference, self.adjusted_p)

    @property
    def difference_text(self) -> str:
        """Return the difference in percentage points, with its interval and n."""
        return difference_text(self.difference, self.over)

    @property
    def p_text(self) -> str:
        """Return the p-value by which the verdict is given."""
        return f"{self.p_value if self.adjusted_p is None else self.adjusted_p:.3g}"

    def __str__(self) -> str:
        return judged_text(self.difference, self.over, self.adjusted_p)


C = TypeVar("C", bound=Comparison)


def difference_text(difference: Interval, over: str) -> str:
    """Return a difference in percentage points, with its interval, and n with its unit."""
    return f"{format_interval(difference, '% points')} {over}"


def judged_text(difference: Interval, over: str, adjusted_p: float | None) -> str:
    """Return a difference with its verdict, and the p-value where the verdict is not what the interval alone says."""
    told = f"{difference_text(difference, over)}: {verdict(difference, adjusted_p)}"
    alone = adjusted_p is None or verdict(difference) == verdict(difference, adjusted_p)
    return told if alone else f"{told} (p = {adjusted_p:.3g} among all comparisons)"


def accuracy_interval(seeds: Sequence[Tensor]) -> Interval:
    """Return the accuracy by the images, (N,) bool, that each seed has right: over images for one seed, else over seeds."""
    if len(seeds) == 1:
        return wilson_interval(int(seeds[0].sum()), len(seeds[0]))
    return share_interval(_accuracies(seeds))


def compare_correct(seeds: Sequence[tuple[Tensor, Tensor]]) -> Comparison:
    """Compare two systems by the images, (N,) bool, that each has right: pairs of (before, after), one per seed."""
    befores, afters = zip(*seeds, strict=True)
    if len(seeds) > 1:
        return compare_values(_accuracies(befores), _accuracies(afters))
    before, after = (correct.numpy() for correct in seeds[0])
    return Comparison(
        accuracy_interval(befores),
        accuracy_interval(afters),
        paired_bootstrap(before, after, seed=BOOTSTRAP_SEED),
        mcnemar(before, after),
    )


def compare_values(before: Values, after: Values) -> Comparison:
    """Compare two systems by a score of each, (n,), of the same seeds in the same order; more is better.

    One seed has a difference without an interval, and the verdict says so.

    Raises:
        ValueError: they differ in length, are empty, or are not finite.
    """
    difference, p_value = paired_difference(after, before), paired_t_test(after, before)
    return Comparison(t_interval(before), t_interval(after), difference, p_value, "seeds")


def corrected(comparisons: Sequence[C]) -> list[C]:
    """Return the comparisons of one table, each with its p-value adjusted for their number, by which its verdict is given."""
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [dataclasses.replace(one, adjusted_p=p) for one, p in zip(comparisons, adjusted, strict=True)]


def _accuracies(seeds: Sequence[Tensor]) -> list[float]:
    return [correct.double().mean().item() for correct in seeds]
