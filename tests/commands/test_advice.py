"""What to try after a loss or a null result, from what was seen."""

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kd.commands.advice import combination_advice, distillation_advice, training_advice
from kd.config import StudentConfig
from kd.distillation.results import Trained
from kd.evaluation.intervals import Interval
from kd.reports.changes import Change, verdict_line

LOSS = Change(
    label="student",
    beside="control",
    before=Interval(0.60, 0.55, 0.65, 400),
    after=Interval(0.55, 0.50, 0.60, 400),
    difference=Interval(-0.05, -0.08, -0.02, 400),
    p_value=0.01,
    teacher=0.80,
    classes=10,
    images=400,
)
GAIN = dataclasses.replace(LOSS, difference=Interval(0.05, 0.02, 0.08, 400))
NULL = dataclasses.replace(LOSS, difference=Interval(0.01, -0.02, 0.04, 400))
COMBINED = dataclasses.replace(LOSS, label="combined", beside="generalist", teacher=None)


def config(**settings: object) -> StudentConfig:
    return StudentConfig.parse(settings)


def combination(used: float, **by_correction: float) -> Any:  # noqa: ANN401 - what of a combination is looked at
    """Return a combination of a used accuracy on val, with those of the corrections."""

    def scored(accuracy: float) -> SimpleNamespace:
        return SimpleNamespace(accuracy=accuracy)

    corrections = {name: SimpleNamespace(val=scored(accuracy)) for name, accuracy in by_correction.items()}
    return SimpleNamespace(corrections=corrections, val=SimpleNamespace(combined=scored(used)))


def test_a_verdict_has_its_difference_interval_and_both_accuracies() -> None:
    told = "student: -5.0 % points [-8.0, -2.0], n = 400 images: loss (55.0 % against 60.0 % of the control)"
    assert verdict_line(LOSS) == told


def test_a_gain_needs_no_advice() -> None:
    assert not distillation_advice([GAIN, GAIN], config(temperature=20))
    assert not combination_advice([dataclasses.replace(COMBINED, difference=GAIN.difference), LOSS], [combination(0.5)])


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        (dataclasses.replace(LOSS, teacher=0.60), {"temperature": 20}, "the teacher (60.0 %) is no better than the control"),
        (
            dataclasses.replace(LOSS, teacher=0.604),
            {"temperature": 20},
            "the teacher (60.4 %) is hardly better than the control",
        ),
        (
            dataclasses.replace(NULL, teacher=0.61, after=Interval(0.61, 0.5, 0.7, 400)),
            {},
            "student (61.0 %) is as good as its teacher (61.0 %), so nothing is left to learn",
        ),
        # 40 of 400 is one in ten; Wilson's interval of 48 is 9.2 to 15.6 %, and of 60 11.8 to 18.9 %.
        (
            dataclasses.replace(LOSS, teacher=0.12),
            {"temperature": 20},
            "student the teacher (12.0 %) can't be told from chance (1 of 10 classes): train it for longer (--teacher-epochs)",
        ),
        (dataclasses.replace(LOSS, teacher=0.12), {"teacher": "a.pt2"}, "can't be told from chance (1 of 10 classes): name a"),
        (dataclasses.replace(NULL, after=Interval(0.12, 0.09, 0.16, 400)), {}, "student (12.0 %) can't be told from chance"),
        (dataclasses.replace(NULL, after=Interval(0.12, 0.09, 0.16, 400)), {"alpha": 1}, "try --alpha 0.9"),
        (dataclasses.replace(NULL, after=Interval(0.15, 0.11, 0.19, 400)), {}, "try --seeds 5"),
        (LOSS, {"temperature": 20}, "try --temperature 4"),
        (LOSS, {"temperature": 1}, "try --temperature 4"),
        (LOSS, {"alpha": 0}, "try --alpha 0.9"),
        (LOSS, {"alpha": 1}, "try --alpha 0.9"),
        (LOSS, {}, "student may need more epochs with soft targets (--epochs)"),
        (NULL, {}, "try --seeds 5"),
        (NULL, {"seeds": 5}, "kd tune"),
    ],
)
def test_advice_follows_from_what_was_seen(change: Change, settings: dict[str, object], told: str) -> None:
    assert told in distillation_advice([GAIN, change], config(**settings))


def test_the_first_net_that_missed_is_looked_at_and_no_gain_before_it() -> None:
    weak_gain, weak_loss = (dataclasses.replace(change, teacher=0.6) for change in (GAIN, LOSS))
    assert "seeds" in distillation_advice([weak_gain, NULL, weak_loss], config())


def test_specialists_that_know_their_classes_no_better_than_the_generalist_are_told() -> None:
    own = dataclasses.replace(GAIN, label="specialist 0", after=Interval(0.8, 0.7, 0.9, 100), teacher=0.85)
    told = combination_advice([COMBINED, own], [combination(0.5, fit=0.5, none=0.6)])
    assert told.startswith("specialist 0 knows its own classes no better than the generalist (80.0 % and 85.0 %)")


def test_a_generalist_that_answers_as_by_chance_is_told_first() -> None:
    weak = dataclasses.replace(COMBINED, before=Interval(0.12, 0.09, 0.16, 400))
    told = combination_advice([weak, LOSS], [combination(0.5, fit=0.5, none=0.6)])
    assert told.startswith("the generalist (12.0 %) can't be told from chance (1 of 10 classes): train it for longer")


@pytest.mark.parametrize(
    ("accuracy", "told"), [(0.12, "12.0 % can't be told from chance (1 of 10 classes): train for"), (0.15, "")]
)
def test_a_net_that_answers_as_by_chance_is_told(accuracy: float, told: str) -> None:
    task = SimpleNamespace(classes=range(10), test=range(400))
    advice = training_advice(cast("Trained", SimpleNamespace(test=SimpleNamespace(accuracy=accuracy), task=task)))
    assert advice.startswith(told)
    assert bool(advice) == bool(told)


def test_a_correction_that_is_better_on_val_is_told() -> None:
    told = combination_advice([COMBINED], [combination(0.5, fit=0.5, none=0.6)])
    assert told == "with --dustbin-correction none the combination is better on val (60.0 % and 50.0 %)"
    assert "seeds" in combination_advice([COMBINED], [combination(0.5, fit=0.5, none=0.5)])
    several = dataclasses.replace(COMBINED, over="seeds")
    assert "--groups" in combination_advice([several], [combination(0.5, fit=0.5)])
