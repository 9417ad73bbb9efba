"""Which trials count."""

import optuna
import pytest
from optuna.trial import TrialState

from kd.search.attributes import END, SURPLUS
from kd.search.state import all_trials, count_finished, is_surplus

# A heartbeat is the business of Study.optimize; these tests begin trials by hand.
pytestmark = pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")


def test_trials_that_count_are_those_that_nobody_need_do(study: optuna.Study) -> None:
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial = study.ask()
        study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state=state)
    for reason in ("loss is nan", SURPLUS):
        trial = study.ask()
        trial.set_user_attr(END, reason)
        study.tell(trial, state=TrialState.FAIL)
    study.ask()
    assert count_finished(all_trials(study)) == 3  # complete, pruned, and the one of a loss that is not finite


def test_the_trial_one_too_many_is_surplus(study: optuna.Study) -> None:
    first, second, third = study.ask(), study.ask(), study.ask()
    assert [is_surplus(study, trial.number, 2) for trial in (first, second, third)] == [False, False, True]
    study.tell(first, state=TrialState.FAIL)  # lost with its worker: the third takes its place
    assert not is_surplus(study, third.number, 2)
