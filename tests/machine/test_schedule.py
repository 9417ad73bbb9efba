"""The place of a training among all, and how long all that is left will take, with a clock that the test moves."""

import pytest

from kd.machine import schedule as module
from kd.machine.schedule import BETWEEN_SECONDS, Planned, Schedule, about, current, scheduled


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def train(schedule: Schedule, clock: Clock, epochs: int, seconds: float) -> None:
    schedule.begin(epochs)
    for _ in range(epochs):
        clock.now += seconds
        schedule.end_epoch()


def test_the_time_left_is_what_was_measured_times_what_is_left(clock: Clock) -> None:
    schedule = Schedule([Planned(10, 4.0), Planned(5, 1.0), Planned(5, 1.0)])
    schedule.begin(10)
    assert schedule.seconds_left() is None
    clock.now += 8
    schedule.end_epoch()
    # 9 more epochs of 8 s; two nets of 5 epochs that cost a quarter, 2 s; and what follows each of three trainings.
    assert schedule.seconds_left() == pytest.approx(9 * 8 + 2 * 5 * 2 + 3 * BETWEEN_SECONDS)


def test_within_an_epoch_its_share_counts(clock: Clock) -> None:
    schedule = Schedule([Planned(3, 1.0), Planned(2, 1.0)])
    schedule.begin(3)
    clock.now += 2
    assert schedule.seconds_left() is None
    # A quarter took 2 s, an epoch takes 8 s: 2.75 of them are left, and two of the other net.
    assert schedule.seconds_left(0.25) == pytest.approx(4.75 * 8 + 2 * BETWEEN_SECONDS)
    clock.now += 4
    schedule.end_epoch()  # it took 6 s
    assert schedule.seconds_left(0.5) == pytest.approx((1.5 + 2) * 6 + 2 * BETWEEN_SECONDS)


def test_what_is_computed_before_a_training_counts(clock: Clock) -> None:
    schedule = Schedule([Planned(1, 4.0), Planned(1, 4.0, before=2.0)])
    train(schedule, clock, 1, 8)
    assert schedule.seconds_left() == pytest.approx(8 + 4 + 2 * BETWEEN_SECONDS)


def test_a_cost_that_was_measured_is_no_longer_guessed(clock: Clock) -> None:
    schedule = Schedule([Planned(1, 4.0), Planned(2, 1.0), Planned(2, 1.0)])
    train(schedule, clock, 1, 8)
    clock.now += 10  # scoring, figures, export
    train(schedule, clock, 2, 5)
    assert schedule.seconds_left() == pytest.approx(2 * 5 + 2 * 10)


def test_a_resumed_training_has_fewer_epochs_left(clock: Clock) -> None:
    schedule = Schedule([Planned(10, 1.0)])
    schedule.begin(3)
    clock.now += 2
    schedule.end_epoch()
    assert schedule.seconds_left() == pytest.approx(2 * 2 + BETWEEN_SECONDS)


def test_the_place_is_among_all_that_are_known(clock: Clock) -> None:
    schedule = Schedule([Planned(1, 1.0), Planned(1, 1.0)])
    places = []
    for _ in range(2):
        train(schedule, clock, 1, 1)
        places.append(schedule.place())
    schedule.expect([Planned(1, 2.0)] * 3)
    for _ in range(4):  # the last one was not foreseen
        train(schedule, clock, 1, 1)
        places.append(schedule.place())
    assert places == ["1 of 2", "2 of 2", "3 of 5", "4 of 5", "5 of 5", "6 of 6"]
    alone = Schedule([Planned(1, 1.0)])
    alone.begin(1)
    assert not alone.place()


def test_a_schedule_holds_inside_its_block() -> None:
    outer, inner = Schedule([]), Schedule([])
    with scheduled(outer):
        with scheduled(inner):
            assert current() is inner
        assert current() is outer
    assert current() is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "less than 1 min"),
        (59, "less than 1 min"),
        (60, "about 1 min"),
        (12.4 * 60, "about 12 min"),
        (60 * 60, "about 1 h"),
        (2 * 3600 + 11 * 60, "about 2 h 10 min"),
        (26 * 3600, "about 26 h"),
    ],
)
def test_times_are_told_as_roughly_as_they_are_known(seconds: float, told: str) -> None:
    assert about(seconds) == told


def test_no_time_is_told_with_sixty_minutes() -> None:
    assert not [seconds for seconds in range(0, 40_000, 7) if "60 min" in about(seconds)]
