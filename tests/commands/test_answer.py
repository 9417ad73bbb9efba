"""The last lines of a command: verdicts and what to try next."""

import dataclasses

import pytest

from kd.commands.answer import advice
from kd.config import StudentConfig
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
)
GAIN = dataclasses.replace(LOSS, difference=Interval(0.05, 0.02, 0.08, 400))


def config(**settings: object) -> StudentConfig:
    return StudentConfig.parse(settings)


def test_a_verdict_has_its_difference_interval_and_both_accuracies() -> None:
    told = "student: -5.0 % points [-8.0, -2.0], n = 400 images: loss (55.0 % against 60.0 % of the control)"
    assert verdict_line(LOSS) == told


def test_a_gain_needs_no_advice() -> None:
    assert not advice([GAIN, GAIN], config(temperature=20))


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        (
            dataclasses.replace(LOSS, teacher=0.604),
            {"temperature": 20},
            "the teacher (60.4 %) is hardly better than the control",
        ),
        (LOSS, {"temperature": 20}, "try --temperature 4"),
        (LOSS, {"temperature": 0.5}, "try --temperature 4"),
        (LOSS, {"alpha": 0}, "try --alpha 0.9"),
        (LOSS, {"alpha": 1}, "try --alpha 0.9"),
        (LOSS, {}, "try --seeds 5"),
        (LOSS, {"seeds": 5}, "kd tune"),
    ],
)
def test_advice_follows_from_what_was_seen(change: Change, settings: dict[str, object], told: str) -> None:
    assert told in advice([GAIN, change], config(**settings))


def test_a_teacher_hardly_better_than_the_control_of_a_gain_is_no_reason() -> None:
    assert "seeds" in advice([dataclasses.replace(GAIN, teacher=0.6), LOSS], config())
