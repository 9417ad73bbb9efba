"""How sure the best trial is, in words and numbers worked out by hand."""

from collections.abc import Sequence

import optuna
import pytest
from optuna.distributions import FloatDistribution

from kd.config import TuneConfig
from kd.search.attributes import PARAMETERS
from kd.search.candidate import Guide
from kd.search.certainty import ValImages, certainty, certainty_text, scored_images


def study_of(trials: Sequence[tuple[float, int]]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    alpha = FloatDistribution(0, 1)
    for accuracy, size in trials:
        attributes = {PARAMETERS: size}
        study.add_trial(
            optuna.create_trial(value=accuracy, params={"alpha": 0.5}, distributions={"alpha": alpha}, user_attrs=attributes)
        )
    return study


def told(trials: Sequence[tuple[float, int]], images: int = 100) -> str:
    sure = certainty(study_of(trials), ValImages(images))
    assert sure is not None
    return certainty_text(sure)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([(0.5, 9)], "trial 0: val accuracy 50.0 % [40.4, 59.6], n = 100 val images"),
        ([(0.9, 9), (0.5, 9)], "trial 0: val accuracy 90.0 % [82.6, 94.5], n = 100 val images"),
        ([(0.9, 9), (0.9, 8)], "; 1 trial ties with it: the smallest is taken. 1 of 1 other complete trials is inside"),
        (
            [(0.9, 9), (0.9, 9), (0.9, 9)],
            "90.0 % [82.6, 94.5], n = 100 val images; 2 trials tie with it: the oldest is taken",
        ),
        ([(0.9, 9), (0.9, 9), (0.9, 10)], "; 2 trials tie with it: the oldest of the smallest is taken"),
        (
            [(0.9, 9), (0.83, 9), (0.82, 9)],
            "n = 100 val images. 1 of 2 other complete trials is inside that interval: their order may be",
        ),
        ([(0.9, 9), (0.83, 9), (0.84, 9)], "2 of 2 other complete trials are inside that interval"),
    ],
)
def test_ties_and_the_interval_of_the_best_are_said(trials: Sequence[tuple[float, int]], expected: str) -> None:
    assert expected in told(trials)


def test_a_study_without_a_complete_trial_has_no_best() -> None:
    assert certainty(study_of([]), ValImages(100)) is None


def test_images_are_those_of_val_and_for_specialists_those_that_have_the_same_variance(guide: Guide) -> None:
    labels = guide.workspace.dataset.val.labels
    for objective in ("student", "combined"):
        assert scored_images(TuneConfig.parse({"objective": objective}), guide) == ValImages(len(labels))
    first, second = (sum(int(label) in group for label in labels) for group in guide.groups.values())
    # The variance of the mean of two shares p is p (1 - p) (1 / n_1 + 1 / n_2) / 4.
    images = scored_images(TuneConfig.parse({}), guide)
    assert 1 / images.in_effect == pytest.approx((1 / first + 1 / second) / 4)
    assert images.groups == (first, second)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (ValImages(143), "n = 143 val images"),
        (ValImages(29, (29,)), "n = 29 val images"),
        (ValImages(60, (30, 30)), "n = 60 val images"),
        # 4 / (1 / 20 + 1 / 60) = 60
        (ValImages(60, (20, 60)), "n = 60 in effect: 80 val images in 2 groups that weigh the same"),
    ],
)
def test_it_is_said_what_n_counts(images: ValImages, told: str) -> None:
    sure = certainty(study_of([(0.5, 9)]), images)
    assert sure is not None
    assert certainty_text(sure).endswith(told)
