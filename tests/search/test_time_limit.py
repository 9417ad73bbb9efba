"""The time limit of a study."""

import time

import optuna
import pytest

from kd.search.time_limit import TimeLimit, set_time_limit


def test_a_clock_that_is_set_back_does_not_put_off_the_limit(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = TimeLimit(study)
    assert not limit.is_up()
    set_time_limit(study, 3600)
    assert not limit.is_up()
    set_time_limit(study, 0.2)
    assert not limit.is_up()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86400)
    time.sleep(0.21)
    assert limit.is_up()
    assert limit.is_reached()
    set_time_limit(study, 3600)
    assert not limit.is_up()


def test_a_process_that_begins_after_the_limit_begins_no_trial(study: optuna.Study) -> None:
    set_time_limit(study, 1e-9)
    assert TimeLimit(study).is_up()
    set_time_limit(study, 0)
    assert not TimeLimit(study).is_up()
