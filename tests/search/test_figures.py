"""What the figures of a study say."""

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution

from kd.search.figures import count_best, importances, on_front

BOTH: dict[str, BaseDistribution] = {name: FloatDistribution(0, 1) for name in ("alpha", "lr")}


def good_by_alpha_bad_by_lr(alpha: float, lr: float) -> float:
    """Return an accuracy that is above the others by alpha alone, and below them by lr alone."""
    return 0.5 + 0.4 * max(0.0, alpha - 0.8) / 0.2 - 0.4 * max(0.0, 0.2 - lr) / 0.2 * (alpha <= 0.8)


def study_of(accuracy: Callable[[float, float], float], *, pareto: bool) -> optuna.Study:
    study = optuna.create_study(directions=["maximize", "minimize"] if pareto else ["maximize"])
    for alpha, lr in np.random.default_rng(0).random((200, 2)):
        values = [accuracy(alpha, lr), *([1000.0] if pareto else [])]
        study.add_trial(optuna.create_trial(values=values, params={"alpha": alpha, "lr": lr}, distributions=BOTH))
    return study


@pytest.mark.parametrize("pareto", [False, True])
def test_what_tells_good_trials_from_others_is_important_and_what_tells_bad_ones_is_not(*, pareto: bool) -> None:
    shares = importances(study_of(good_by_alpha_bad_by_lr, pareto=pareto))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["alpha"] > 0.8
    turned = importances(study_of(lambda alpha, lr: 1 - good_by_alpha_bad_by_lr(alpha, lr), pareto=pareto))
    assert turned["lr"] > 0.8


def test_the_best_trials_are_a_tenth_and_five_at_least() -> None:
    assert [count_best(complete) for complete in (10, 50, 60, 200)] == [5, 5, 6, 20]


def test_the_front_has_the_trials_that_no_other_is_better_than() -> None:
    accuracies, sizes = [0.9, 0.9, 0.8, 0.7, 0.95, 0.95], [500, 400, 100, 200, 900, 900]
    assert on_front(accuracies, sizes) == [False, True, True, False, True, True]
